import { describe, expect, it } from 'vitest';
import { IptablesSaveReader } from '../../../src/decode/rules/iptables-save.js';
import { exploreWalk } from '../../../src/explain/walk/explore.js';
import { type WaysAssuming, waysOf } from '../../../src/sinks/explain/ways.js';

const INTERFACES = new Map([
  ['10.244.1.4', 'cali4'],
  ['10.244.1.5', 'cali5'],
]);

const BALANCE = [
  '-A PREROUTING -d 10.96.0.1/32 -m statistic --mode random --probability 0.5 -j DNAT --to-destination 10.244.1.4',
  '-A PREROUTING -d 10.96.0.1/32 -j DNAT --to-destination 10.244.1.5',
];

/** Where a packet to a Service with two endpoints ends, with these rules in mangle and FORWARD. */
function ways(mangle: readonly string[], forward: readonly string[]): readonly WaysAssuming[] {
  const reader = new IptablesSaveReader();
  const table = (name: string, chains: string, rules: readonly string[]): string =>
    [`*${name}`, ...chains.split(' ').map((it) => `:${it} ACCEPT`), ...rules, 'COMMIT', ''].join(
      '\n',
    );
  const text =
    table('mangle', 'PREROUTING', mangle) +
    table('nat', 'PREROUTING', BALANCE) +
    table('filter', 'FORWARD', forward);
  reader.feed(new TextEncoder().encode(text));
  reader.end();
  expect(reader.problems).toEqual([]);
  const packet = {
    protocol: 6,
    source: '10.244.1.9',
    destination: '10.96.0.1',
    port: 80,
    from: { kind: 'interface' },
  } as const;
  const possible = exploreWalk(reader.dumps, packet, {
    addresses: new Set(['192.0.2.1']),
    interfaceTo: (address) => INTERFACES.get(address),
  });
  return waysOf({ possible, knownBy: [] });
}

function shown(all: readonly WaysAssuming[]): string[] {
  return all.flatMap(({ assuming, ways: some }) => [
    ...assuming,
    ...some.map((it) => [it.percent, it.to, ...it.notes].join(' ').replace(/, line \d+/, '')),
  ]);
}

const BOTH = ['50% 10.244.1.4:80', '50% 10.244.1.5:80'];

describe('what nobody knows', () => {
  it('is said where it matters', () => {
    expect(shown(ways([], ['-A FORWARD -m set --match-set bad src -j DROP']))).toEqual([
      'Assuming that the ipset bad holds source 10.244.1.9:',
      '50% dropped after translation to 10.244.1.4:80 by filter FORWARD rule 1',
      '50% dropped after translation to 10.244.1.5:80 by filter FORWARD rule 1',
      'Otherwise, assuming that the ipset bad does not hold source 10.244.1.9:',
      ...BOTH,
    ]);
  });

  it('is not said where all answers lead to the same ends', () => {
    const marks = ['-A PREROUTING -i cali+ -j MARK --set-xmark 0x40000/0x40000'];
    const accepts = ['-A FORWARD -m set --match-set good src -j ACCEPT'];
    expect(shown(ways(marks, accepts))).toEqual(BOTH);
  });

  it('is not said where what is asked behind it matters', () => {
    const marks = ['-A PREROUTING -i cali+ -j MARK --set-xmark 0x40000/0x40000'];
    const drops = ['-A FORWARD -m set --match-set bad src -j DROP'];
    expect(shown(ways(marks, drops))).toEqual(shown(ways([], drops)));
  });

  it('excludes nothing else where it is about one of the endpoints', () => {
    const policies = [
      '-A FORWARD -o cali4 -m set --match-set web src -j DROP',
      '-A FORWARD -o cali5 -m set --match-set dev src -j DROP',
    ];
    const by = (rule: number): string => `by filter FORWARD rule ${rule}`;
    expect(shown(ways([], policies))).toEqual([
      `50% dropped after translation to 10.244.1.4:80 ${by(1)} if the ipset web holds source 10.244.1.9`,
      '50% 10.244.1.4:80 if the ipset web does not hold source 10.244.1.9',
      `50% dropped after translation to 10.244.1.5:80 ${by(2)} if the ipset dev holds source 10.244.1.9`,
      '50% 10.244.1.5:80 if the ipset dev does not hold source 10.244.1.9',
    ]);
  });

  it('needs no if where one of the endpoints asks nothing', () => {
    const policies = ['-A FORWARD -o cali4 -m set --match-set web src -j DROP'];
    expect(shown(ways([], policies))).toContain('50% 10.244.1.5:80');
  });
});
