import { expect, test } from 'vitest';
import { Connection, Numbers, UNSAID } from '../../src/correlate/connection.js';
import { outcomeIn, reasonIn, sayingOf, verdictIn } from '../../src/correlate/saying.js';
import { OUTCOMES, type Reason, VERDICTS } from '../../src/model/attribution.js';

const REASONS = [
  'no-endpoints',
  'no-evidence',
  'unknown-service-address',
  'filtered',
  'lost',
  'time-too-coarse',
  'conntrack-disagrees',
  'packets-disagree',
  'rules-disagree',
] as const satisfies readonly Reason[];

test('verdict, reason and outcome come out of their number as they went in, each with one of its own', () => {
  const seen = new Set<number>();
  for (const verdict of [undefined, ...VERDICTS]) {
    for (const reason of [undefined, ...REASONS]) {
      for (const outcome of OUTCOMES) {
        const saying = sayingOf({ verdict, reason, outcome });
        expect([verdictIn(saying), reasonIn(saying), outcomeIn(saying)]).toEqual([
          verdict,
          reason,
          outcome,
        ]);
        seen.add(saying);
      }
    }
  }
  expect(seen.size).toBe((VERDICTS.length + 1) * (REASONS.length + 1) * OUTCOMES.length);
  expect([verdictIn(UNSAID), reasonIn(UNSAID), outcomeIn(UNSAID)]).toEqual([
    undefined,
    undefined,
    'open',
  ]);
});

test('what shares a word of a connection does not change what lies beside it', () => {
  const c = new Connection(1, new Numbers());
  c.begin(7, 6, 6);
  expect(c).toMatchObject({ family: 6, protocol: 6, zone: -1, conntrackId: -1, retransmits: 0 });
  expect(c).toMatchObject({ timeSource: 'packet', answeredBefore: false, leftSeen: false });
  c.timeSource = 'listing';
  c.leftSeen = true;
  c.conntrackId = 0xffffffff;
  c.zone = 0xffff;
  c.retransmits = 3;
  c.laterEntries = 70_000;
  expect(c).toMatchObject({ family: 6, timeSource: 'listing', answeredBefore: false });
  expect(c).toMatchObject({ leftSeen: true, conntrackId: 0xffffffff, zone: 0xffff });
  expect(c).toMatchObject({ retransmits: 3, laterEntries: 0xffff });
  c.retransmits = 1_000_000;
  c.timeSource = 'conntrack';
  c.leftSeen = false;
  c.conntrackId = -1;
  expect(c).toMatchObject({ retransmits: 0xffff, laterEntries: 0xffff, timeSource: 'conntrack' });
  expect(c).toMatchObject({ leftSeen: false, conntrackId: -1, family: 6 });
});

test('a connection of the same place has nothing of the one before', () => {
  const c = new Connection(0, new Numbers());
  const fresh = new Connection(0, new Numbers());
  c.begin(1, 17, 6);
  Object.assign(c, { zone: 5, interfaceIn: 3, interfaceOut: 4, vantage: 2, missing: 6 });
  Object.assign(c, { answeredBefore: true, leftSeen: true, timeSource: 'listing', staleLookAt: 9 });
  Object.assign(c, { original: { packets: 1, bytes: 2 }, earlier: ['10.0.0.1:80'], judged: 3 });
  c.begin(2, 6, 4);
  fresh.begin(2, 6, 4);
  const all = Object.keys(Object.getOwnPropertyDescriptors(Connection.prototype));
  for (const name of all as (keyof Connection)[]) {
    if (typeof c[name] !== 'function') expect(c[name], name).toEqual(fresh[name]);
  }
});
