import { expect, it } from 'vitest';
import { filesOf, replay, score } from './scenario.js';

const REQUESTS = 12;

/** What `demo` replays where it cannot build a node. */
it('the shipped tutorial is told as it was, each request with all four kinds of evidence', async () => {
  const { code, lines } = await replay(filesOf('tutorial', [/./]));
  expect(code).toBe(0);
  const result = score('tutorial', lines, true);
  expect(result).toMatchObject({ served: REQUESTS, complaints: [], failed: 0 });
  const last = lines.filter((line) => line.type === 'close');
  expect(last.map((line) => line.evidence)).toEqual(
    Array(REQUESTS).fill(['conntrack', 'packets', 'rules', 'cluster']),
  );
});

it.each([
  ['packets', /^capture\.pcapng/],
  ['conntrack', /^conntrack-events/],
])(
  'the shipped tutorial is told as it was from %s alone, with rules and API objects',
  async (what, evidence) => {
    const { lines } = await replay(filesOf('tutorial', [evidence, /tables-save/, /^api\//]));
    expect(score('tutorial', lines, what === 'packets')).toMatchObject({
      served: REQUESTS,
      complaints: [],
    });
  },
);
