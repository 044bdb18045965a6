import { describe, expect, it } from 'vitest';
import { diagnose } from '../../src/explain/doctor/diagnose.js';
import type { Diagnosis } from '../../src/model/doctor.js';
import { doctorJson, doctorText } from '../../src/sinks/doctor.js';
import { displayWidth } from '../../src/sinks/width.js';
import { HEALTHY, IPTABLES, nodeWith } from '../explain/doctor/facts.js';
import { expectGolden } from './golden.js';

const healthy = diagnose(HEALTHY);
/** Live works, and misses much. */
const poor = diagnose(
  nodeWith({
    process: {
      addon: {
        ok: false,
        reason: "whichpod's addon is not built; build it with: npm run build:native",
      },
      ring: undefined as never,
      netlink: undefined as never,
      buffer: undefined as never,
    },
    rules: {
      sets: [
        IPTABLES,
        { ...IPTABLES, backend: 'legacy', program: 'iptables-legacy-save', untracked: 4 },
      ],
      faults: [{ program: 'ip6tables-legacy-save', reason: 'not read in time', late: true }],
    },
    conntrack: {
      settings: { ...HEALTHY.conntrack.settings, events: 2, acct: 0, timestamp: 0, count: 251_000 },
      counters: { insert_failed: 21, drop: 0, early_drop: 0 },
    },
    cluster: {
      rights: [{ resource: 'pods', verb: 'watch', allowed: false }],
      nodeFound: false,
      nodeByAddress: 'worker-3',
      skew: { ms: -4_200, uncertaintyMs: 520 },
    },
  }),
);
/** A Pod without rights, and with a name that acts on terminals. */
const hopeless = diagnose(
  nodeWith({
    process: {
      uid: 65_534,
      effective: [],
      ring: { ok: false, reason: 'socket: EPERM', denied: true },
      netlink: { ok: false, reason: 'bind: EPERM', denied: true },
      buffer: undefined as never,
    },
    namespace: { initial: false, inPod: true },
    rules: { sets: [], proxyMode: undefined as never, proxyVersion: undefined as never },
    interfaces: {
      list: [
        { name: 'lo', up: true },
        { name: 'eth\u001b[2J0', kind: 'veth', leadsAway: true, up: true },
      ],
    },
    cluster: { fault: { kind: 'unreachable', reason: 'connect ECONNREFUSED 10.96.0.1:443' } },
  }),
);

const CASES: readonly (readonly [string, Diagnosis])[] = [
  ['healthy', healthy],
  ['poor', poor],
  ['hopeless', hopeless],
];

describe.each(CASES)('a %s node', (name, diagnosis) => {
  it.each([80, 120])('is told as recorded in %i columns', (columns) => {
    const text = doctorText(diagnosis, { columns, colors: false, verbose: false });
    expectGolden(new URL(`data/doctor-${name}-${columns}.txt`, import.meta.url), text);
    for (const line of text.split('\n')) expect(displayWidth(line)).toBeLessThanOrEqual(columns);
  });

  it('is told with how each fact was found', () => {
    const text = doctorText(diagnosis, { columns: 80, colors: false, verbose: true });
    expectGolden(new URL(`data/doctor-${name}-verbose.txt`, import.meta.url), text);
  });

  it('is told to programs as recorded', () => {
    const text = doctorJson(diagnosis);
    expect(text.indexOf('\n')).toBe(text.length - 1);
    expectGolden(
      new URL(`data/doctor-${name}.json`, import.meta.url),
      `${JSON.stringify(JSON.parse(text), null, 2)}\n`,
    );
  });

  it('has colours only where they are wanted', () => {
    const plain = doctorText(diagnosis, { columns: undefined, colors: false, verbose: true });
    const painted = doctorText(diagnosis, { columns: undefined, colors: true, verbose: true });
    const ESC = '\u001b';
    expect(plain).not.toContain(ESC);
    expect(painted).toContain(`${ESC}[`);
    expect(painted.replaceAll(new RegExp(`${ESC}\\[\\d+m`, 'g'), '')).toBe(plain);
  });
});

it('lines are as long as they are in a pipe, and no longer than can be read on a wide terminal', () => {
  const longest = (columns: number | undefined): number =>
    Math.max(
      ...doctorText(poor, { columns, colors: false, verbose: false })
        .split('\n')
        .map((line) => line.length),
    );
  expect(longest(undefined)).toBeGreaterThan(120);
  expect(longest(400)).toBeLessThanOrEqual(120);
});

it('a terminal that is too narrow for words gets lines that are wider', () => {
  const text = doctorText(healthy, { columns: 1, colors: false, verbose: false });
  expect(text.split('\n').length).toBeLessThan(200);
});
