import { describe, expect, it } from 'vitest';
import { createSink } from '../../src/sinks/create-sink.js';
import { attribution, SUMMARY, streams, summary } from './events.js';

async function shown(terminal: boolean, change = summary(), width?: number): Promise<string> {
  const to = streams({ terminal, columns: () => width });
  const sink = await createSink('summary', to);
  sink.write([attribution(), { type: 'notice', notice: { code: 'x', detail: 'y' } }, change]);
  await sink.end();
  expect(to.stderr.text).toBe('');
  return to.stdout.text;
}

describe('the summary', () => {
  it('is one line of NDJSON in a pipe, and nothing else is written', async () => {
    const text = await shown(false);
    expect(text.split('\n')).toHaveLength(2);
    expect(JSON.parse(text)).toEqual({ schema: 'whichpod/1', type: 'summary', ...SUMMARY });
  });

  it('is a block of aligned numbers on a terminal', async () => {
    expect(await shown(true, summary(), 80)).toBe(`
Connections             2,000
  attributed            1,990   99.5 %
  unattributed              8    0.4 %
  conflict                  2    0.1 %
  by reason
    no-endpoints            6    0.3 %
    no-evidence             2    0.1 %
    packets-disagree        2    0.1 %
Outcomes
  established           1,980   99.0 %
  refused                  12    0.6 %
  unanswered                8    0.4 %
Packets                12,345
Losses                      1
Direct to a Pod            12
No Service                  3
Open before the start       4
Duration                  30s
Every connection seen is counted once: 2,000 = 1,990 + 8 + 2 + 0
`);
  });

  it('is short when there is nothing to say', async () => {
    const none = summary({
      connections: {
        seen: 0,
        attributed: 0,
        unattributed: 0,
        conflict: 0,
        pending: 0,
        reasons: {},
        outcomes: {},
      },
      packets: { seen: 0, dropped: 0 },
      losses: 0,
      durationNs: 0,
      direct: 0,
      other: 0,
      existing: 0,
    });
    expect(await shown(true, none, 80)).toBe(`
Connections       0
  attributed      0
  unattributed    0
  conflict        0
Packets           0
Losses            0
Duration        0ns
Every connection seen is counted once: 0 = 0 + 0 + 0 + 0
`);
  });

  it('says so if it does not balance', async () => {
    const wrong = summary({ connections: { ...SUMMARY.connections, seen: 2001 } });
    expect(await shown(true, wrong, 80)).toContain(
      'The sum does not balance: 2,001 seen, 1,990 + 8 + 2 + 0 counted',
    );
  });

  it('fits any terminal', async () => {
    for (let width = 24; width < 100; width++) {
      for (const line of (await shown(true, summary(), width)).split('\n')) {
        expect(line.length).toBeLessThanOrEqual(width);
      }
    }
  });
});
