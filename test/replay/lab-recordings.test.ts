import { describe, expect, it } from 'vitest';
import { filesOf, replay, score } from './scenario.js';

/** What `test/support/record-lab.ts` made: one file that holds the case, and the truth. */
const RECORDINGS = [
  { name: 'nodeport', requests: 12, seen: 12 },
  // One socket that asked twenty times is one flow.
  { name: 'dns', requests: 32, seen: 13 },
  { name: 'rolling', requests: 32, seen: 32 },
  { name: 'stale', requests: 6, seen: 5 },
  { name: 'ipv6', requests: 12, seen: 12 },
  { name: 'nftables', requests: 12, seen: 12 },
] as const;

describe.each(RECORDINGS)('the recording lab/$name', ({ name, requests, seen }) => {
  it('is told as it was, from the one file alone', async () => {
    const { code, lines } = await replay(filesOf(`lab/${name}`, [/./]));
    expect(code).toBe(0);
    expect(score(`lab/${name}`, lines, true)).toMatchObject({
      served: requests,
      complaints: [],
      failed: 0,
    });
    expect(lines.at(-1)).toMatchObject({
      type: 'summary',
      connections: { seen, attributed: seen },
      losses: 0,
    });
  });
});
