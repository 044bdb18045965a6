import { describe, expect, test } from 'vitest';
import { endpointCounters } from '../../../src/decode/rules/endpoint-counters.js';
import { IptablesSaveReader } from '../../../src/decode/rules/iptables-save.js';

function read(...rules: readonly string[]): [string, object][] | undefined {
  const chains = new Set(rules.map((rule) => /-A (\S+)/.exec(rule)?.[1] ?? ''));
  const text = ['*nat', ...[...chains].map((name) => `:${name} - [0:0]`), ...rules, 'COMMIT', ''];
  return dump(text.join('\n'));
}

function dump(text: string): [string, object][] | undefined {
  const reader = new IptablesSaveReader();
  reader.feed(new TextEncoder().encode(text));
  reader.end();
  const [rules] = reader.dumps;
  if (rules === undefined) throw new Error('no dump');
  const counters = endpointCounters(rules);
  return counters && [...counters];
}

describe('what a dump counted for each endpoint', () => {
  test.each<[string, readonly string[], [string, object][]]>([
    [
      'is what its DNAT rule counted, not the rule that marks for masquerade',
      [
        '[7:420] -A KUBE-SEP-A -s 10.244.1.4/32 -m comment --comment "default/nginx" -j KUBE-MARK-MASQ',
        '[5:300] -A KUBE-SEP-A -p tcp -m comment --comment "default/nginx" -m tcp -j DNAT --to-destination 10.244.1.4:80',
      ],
      [['KUBE-SEP-A', { address: '10.244.1.4:80', packets: 5 }]],
    ],
    [
      'is there without an address where iptables could not print it',
      ['[5:300] -A KUBE-SEP-A -p tcp -m tcp -j DNAT'],
      [['KUBE-SEP-A', { packets: 5 }]],
    ],
    [
      'is left out where it counted nothing',
      ['[0:0] -A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination 10.244.1.4:80'],
      [],
    ],
    [
      'is of endpoints only',
      [
        '[9:540] -A KUBE-SVC-A -j KUBE-SEP-A',
        '[9:540] -A CNI-DN-A -p tcp -m tcp -j DNAT --to-destination 10.244.1.4:80',
        '[9:540] -A KUBE-SEP-A -m comment --comment "a -j DNATURAL comment" -j ACCEPT',
      ],
      [],
    ],
  ])('%s', (_, rules, counters) => {
    expect(read(...rules)).toEqual(counters);
  });

  test('is not known of a dump without counters', () => {
    expect(read('-A KUBE-SEP-A -p tcp -j DNAT --to-destination 10.244.1.4:80')).toBeUndefined();
  });

  test('is not known of a dump without nat', () => {
    expect(dump('*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n')).toBeUndefined();
  });
});
