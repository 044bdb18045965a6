import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { IptablesSaveReader } from '../../src/decode/rules/iptables-save.js';
import { iptablesServices } from '../../src/decode/rules/iptables-services.js';
import { readNftJson } from '../../src/decode/rules/nft-json.js';
import { nftServices } from '../../src/decode/rules/nft-services.js';
import type { NftablesRules, RuleSet } from '../../src/model/ruleset.js';
import { staleChains } from '../../src/pipeline/stale-chains.js';

const PCAPS = fileURLToPath(new URL('../../pcaps', import.meta.url));
const SHOP = { namespace: 'shop', name: 'web' };

function dump(text: string): RuleSet {
  const reader = new IptablesSaveReader({ backend: 'nft' });
  reader.feed(new TextEncoder().encode(text));
  reader.end();
  const [rules] = reader.dumps;
  if (rules === undefined) throw new Error('no rules');
  return rules;
}

/** What stands in all recordings: rules as kube-proxy wrote them. */
function recorded(): readonly (readonly [string, readonly RuleSet[]])[] {
  const names = readdirSync(PCAPS, { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => /(?:iptables-save|nft)[^/]*\.(?:txt|json)\.gz$/.test(name))
    .map((name) => {
      const bytes = gunzipSync(readFileSync(join(PCAPS, name)));
      if (name.endsWith('.json.gz')) return [name, readNftJson(bytes).rules] as const;
      const reader = new IptablesSaveReader({ backend: 'unknown' });
      reader.feed(bytes);
      reader.end();
      return [name, reader.dumps] as const;
    });
}

const HEALTHY = [
  '*nat',
  ':PREROUTING ACCEPT [0:0]',
  ':KUBE-SERVICES - [0:0]',
  ':KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]',
  ':KUBE-SEP-BBBBBBBBBBBBBBBB - [0:0]',
  ':KUBE-SEP-CCCCCCCCCCCCCCCC - [0:0]',
  '-A PREROUTING -j KUBE-SERVICES',
  '-A KUBE-SERVICES -d 10.96.0.10/32 -m comment --comment "shop/web:http cluster IP" -j KUBE-SVC-AAAAAAAAAAAAAAAA',
  '-A KUBE-SVC-AAAAAAAAAAAAAAAA -m comment --comment "shop/web:http -> 10.244.1.2:80" -j KUBE-SEP-BBBBBBBBBBBBBBBB',
  '-A KUBE-SEP-BBBBBBBBBBBBBBBB -m comment --comment shop/web -j DNAT --to-destination 10.244.1.2:80',
];
const END = ['COMMIT', ''];
const withRules = (...more: string[]): RuleSet => dump([...HEALTHY, ...more, ...END].join('\n'));

describe('chains that nothing leads to', () => {
  it.each([
    ['of nobody: none', [], []],
    [
      'an endpoint’s chain without a jump to it',
      [
        '-A KUBE-SEP-CCCCCCCCCCCCCCCC -m comment --comment "shop/web:http" -j DNAT --to-destination 10.0.0.1:80',
      ],
      ['KUBE-SEP-CCCCCCCCCCCCCCCC'],
    ],
    [
      'chains that lead to each other only',
      [
        ':KUBE-SVC-DDDDDDDDDDDDDDDD - [0:0]',
        '-A KUBE-SVC-DDDDDDDDDDDDDDDD -m comment --comment "shop/web:old -> 10.0.0.1:80" -j KUBE-SEP-CCCCCCCCCCCCCCCC',
        '-A KUBE-SEP-CCCCCCCCCCCCCCCC -m comment --comment "shop/web:old" -j DNAT --to-destination 10.0.0.1:80',
      ],
      ['KUBE-SEP-CCCCCCCCCCCCCCCC', 'KUBE-SVC-DDDDDDDDDDDDDDDD'],
    ],
    [
      'another Service’s, whose name begins or ends with its name',
      [
        '-A KUBE-SEP-CCCCCCCCCCCCCCCC -m comment --comment "shop/web-2:http" -j DNAT --to-destination 10.0.0.1:80',
        ':KUBE-SEP-EEEEEEEEEEEEEEEE - [0:0]',
        '-A KUBE-SEP-EEEEEEEEEEEEEEEE -m comment --comment "eshop/web:http" -j DNAT --to-destination 10.0.0.1:80',
      ],
      [],
    ],
    [
      'one that is reached by goto',
      [
        '-A KUBE-SVC-AAAAAAAAAAAAAAAA -g KUBE-SEP-CCCCCCCCCCCCCCCC',
        '-A KUBE-SEP-CCCCCCCCCCCCCCCC -m comment --comment "shop/web:http" -j DNAT --to-destination 10.0.0.1:80',
      ],
      [],
    ],
  ])('%s', (_, more, stale) => {
    expect(staleChains(withRules(...more), SHOP)).toEqual(stale);
  });

  it('are none of any Service in any rules that kube-proxy wrote', () => {
    let services = 0;
    for (const [name, all] of recorded()) {
      for (const rules of all) {
        const names = new Map(
          (rules.kind === 'nftables' ? nftServices(rules) : iptablesServices(rules)).flatMap(
            ({ service }) =>
              service === undefined
                ? []
                : [[`${service.namespace}/${service.name}`, service] as const],
          ),
        );
        for (const service of [...names.values()].slice(0, 4)) {
          services++;
          expect([name, staleChains(rules, service)]).toEqual([name, []]);
        }
      }
    }
    expect(services).toBeGreaterThan(100);
  });

  it('are found in mode nftables when its map forgets them', () => {
    const found = recorded().flatMap(([, all]) => all);
    const rules = found.find((one): one is NftablesRules => one.kind === 'nftables');
    if (rules === undefined) throw new Error('no nftables among the recordings');
    const service = { namespace: 'default', name: 'nginx' };
    const own = [...rules.chains.keys()].filter((name) => name.includes('-default/nginx/'));
    expect(own.length).toBeGreaterThan(2);
    expect(staleChains({ ...rules, maps: new Map() }, service)).toEqual(own.sort());
  });
});
