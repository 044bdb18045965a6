import { describe, expect, test } from 'vitest';
import { kubeProxyVersions, losesMarks } from '../../../src/decode/rules/kube-proxy-version.js';
import { readNftJson } from '../../../src/decode/rules/nft-json.js';
import { ownersOf, untrackedIn } from '../../../src/decode/rules/other-owners.js';
import type { RuleSet } from '../../../src/model/ruleset.js';
import { dumpOf, onlyDump } from './dumps.js';
import { IPVS_RULES } from './ipvs.js';
import { writeRules } from './kube-proxy.js';
import { listRules } from './kube-proxy-nft.js';
import { BASE, OPEN, SERVICES } from './services.js';

function iptablesOf(minor: number): RuleSet {
  const { nat, filter } = writeRules([{ ...BASE, ...OPEN, external: 'Local' }], { minor });
  return dumpOf(nat, filter);
}

function nftOf(minor: number, services = [{ ...BASE }]): RuleSet {
  const [rules] = readNftJson(Buffer.from(listRules(services, { minor }).json)).rules;
  if (rules === undefined) throw new Error('no table');
  return rules;
}

/** With chains that kube-proxy declares whether or not a rule is in them. */
function declaring(rules: RuleSet, ...names: string[]): RuleSet {
  if (rules.kind === 'nftables') {
    const more = names.map((name) => [name, { name, rules: [] }] as const);
    return { ...rules, chains: new Map([...rules.chains, ...more]) };
  }
  const more = onlyDump(`*filter\n${names.map((name) => `:${name} - [0:0]\n`).join('')}COMMIT\n`);
  return { ...rules, tables: new Map([...rules.tables, ...more.tables]) };
}

const minorOf = (version: string | undefined, otherwise: number): number =>
  version === undefined ? otherwise : Number(version.split('.')[1]);

describe("kube-proxy's version by its rules", () => {
  test.each([14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 31, 33, 36])(
    'never excludes the version that wrote them: iptables, 1.%i',
    (minor) => {
      const { from, to } = kubeProxyVersions(iptablesOf(minor)) ?? {};
      expect(minorOf(from, 0)).toBeLessThanOrEqual(minor);
      expect(minorOf(to, 99)).toBeGreaterThanOrEqual(minor);
    },
  );

  test.each([29, 30, 31, 33, 35, 36])(
    'never excludes the version that wrote them: nftables, 1.%i',
    (minor) => {
      for (const [, port] of SERVICES) {
        const { from, to } = kubeProxyVersions(nftOf(minor, [{ ...BASE, ...port }])) ?? {};
        expect(minorOf(from, 0)).toBeLessThanOrEqual(minor);
        expect(minorOf(to, 99)).toBeGreaterThanOrEqual(minor);
      }
    },
  );

  test.each([
    ['iptables, 1.17', iptablesOf(17), { to: '1.18' }],
    ['iptables, 1.23', declaring(iptablesOf(23), 'KUBE-NODEPORTS'), { from: '1.21', to: '1.23' }],
    ['iptables, 1.24', iptablesOf(24), { from: '1.24' }],
    ['iptables, 1.36', declaring(iptablesOf(36), 'KUBE-PROXY-FIREWALL'), { from: '1.25' }],
    [
      'nftables, 1.31',
      declaring(nftOf(31), 'filter-output-post-dnat'),
      { from: '1.30', to: '1.32' },
    ],
    ['nftables, 1.33', declaring(nftOf(33), 'filter-prerouting-pre-dnat'), { from: '1.33' }],
    ['nftables, 1.36', nftOf(36), { from: '1.36' }],
    ['nobody', dumpOf([]), undefined],
    ['Docker', dumpOf(['-A PREROUTING -j DOCKER']), undefined],
  ])('%s', (_, rules, expected) => {
    expect(kubeProxyVersions(rules)).toEqual(expected);
  });
});

describe('rules that have lost their marks', () => {
  const whole =
    '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -m comment --comment "x" -j RETURN';
  test.each([
    ['none, in what 1.19 writes', iptablesOf(19), false],
    ['none, in what 1.36 writes', iptablesOf(36), false],
    ['none, in ipvs mode', dumpOf(IPVS_RULES), false],
    ['none where nothing is', dumpOf([]), false],
    ['none in nftables mode', nftOf(33), false],
    ['one that is whole', dumpOf([whole]), false],
    ['one that lets everything pass', dumpOf([whole.replace(/-m mark \S+ \S+ \S+ /, '')]), true],
  ])('%s', (_, rules, expected) => {
    expect(losesMarks(rules)).toBe(expected);
  });
});

describe('who else has chains', () => {
  test.each([
    ['nobody beside kube-proxy', iptablesOf(30), []],
    ['nobody in nftables mode', nftOf(33), []],
    [
      'flannel and Docker',
      dumpOf(
        ['-A POSTROUTING -j FLANNEL-POSTRTG', '-A OUTPUT -j DOCKER'].flatMap((rule) => [
          rule,
          rule.replace(/-A \S+ -j (\S+)/, '-A $1 -j RETURN'),
        ]),
      ),
      ['Docker', 'flannel'],
    ],
    ['Calico', dumpOf(['-A cali-PREROUTING -j RETURN']), ['Calico']],
    ['kube-router', dumpOf(['-A KUBE-ROUTER-INPUT -j RETURN']), ['kube-router']],
  ])('%s', (_, rules, expected) => {
    expect(ownersOf(rules)).toEqual(expected);
  });

  const raw = (...rules: string[]): RuleSet =>
    onlyDump(`*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n${rules.join('\n')}\nCOMMIT\n`);
  test.each([
    ['nothing is exempt from conntrack', raw('-A PREROUTING -i eth0 -j ACCEPT'), 0],
    [
      'NodeLocal DNSCache, older iptables',
      raw('-A PREROUTING -d 169.254.20.10/32 -p udp -m udp --dport 53 -j NOTRACK'),
      1,
    ],
    [
      'NodeLocal DNSCache, newer iptables',
      raw(
        '-A PREROUTING -d 169.254.20.10/32 -p udp -m udp --dport 53 -j CT --notrack',
        '-A OUTPUT -p tcp -m tcp --sport 53 -j CT --notrack',
      ),
      2,
    ],
    [
      'a helper is no exemption',
      raw('-A PREROUTING -p tcp -m tcp --dport 21 -j CT --helper ftp'),
      0,
    ],
    ['nor is there one without the table', dumpOf([]), 0],
    ['or in nftables mode', nftOf(33), 0],
  ])('%s', (_, rules, expected) => {
    expect(untrackedIn(rules)).toBe(expected);
  });
});
