import { describe, expect, test } from 'vitest';
import { iptablesServices } from '../../src/decode/rules/iptables-services.js';
import { readNftJson } from '../../src/decode/rules/nft-json.js';
import { nftServices } from '../../src/decode/rules/nft-services.js';
import type { ServiceRecord } from '../../src/model/cluster.js';
import type { InputEvent } from '../../src/model/event.js';
import type { IptablesBackend, RuleSet } from '../../src/model/ruleset.js';
import { RuleSurvey } from '../../src/pipeline/rule-survey.js';
import { dumpOf } from '../decode/rules/dumps.js';
import { IPVS_RULES } from '../decode/rules/ipvs.js';
import { type Port, writeRules } from '../decode/rules/kube-proxy.js';
import { listRules } from '../decode/rules/kube-proxy-nft.js';
import { BASE, OPEN } from '../decode/rules/services.js';

type RulesEvent = Extract<InputEvent, { type: 'rules' }>;

function event(rules: RuleSet, more: Partial<RulesEvent> = {}): RulesEvent {
  const services = rules.kind === 'iptables' ? iptablesServices(rules) : nftServices(rules);
  return { type: 'rules', rules, services, ...more };
}

function iptables(
  nat: readonly string[],
  backend: IptablesBackend = 'nft',
  more: Partial<RulesEvent> = {},
): RulesEvent {
  const version = backend === 'legacy' ? '1.6.1' : '1.8.9';
  return event({ ...dumpOf(nat), backend, version }, more);
}

const KUBE = writeRules([{ ...BASE, ...OPEN }], { minor: 30 }).nat;
const NFT = readNftJson(Buffer.from(listRules([BASE], { minor: 33 }).json)).rules;
const nftables = (): InputEvent[] => NFT.map((rules) => event(rules));
const CILIUM = ['-A PREROUTING -j CILIUM_PRE_nat', '-A CILIUM_PRE_nat -j RETURN'];

/** What is said of the rules, as `code: detail`. */
function said(events: readonly InputEvent[], survey = new RuleSurvey()): string[] {
  for (const one of events) survey.take(one);
  return notices(survey.conclude());
}

function notices(events: readonly InputEvent[]): string[] {
  return events.flatMap((one) =>
    one.type === 'notice' ? `${one.notice.code}: ${one.notice.detail}` : [],
  );
}

describe('which rules are used', () => {
  test('one back end: what printed them, and how many Service addresses each family has', () => {
    const six = writeRules(
      [{ ...BASE, clusterIP: 'fd00::9', endpoints: [{ ip: 'fd00::1', port: 1, here: true }] }],
      { minor: 30, family: 6 },
    ).nat;
    const v6 = event({ ...dumpOf(six), family: 6, backend: 'nft', version: '1.8.9' });
    expect(said([iptables(KUBE), v6])).toEqual([
      "rules-read: kube-proxy's rules are in iptables (nft), printed by iptables-save 1.8.9: 5 Service addresses of IPv4, 1 Service address of IPv6",
    ]);
  });

  test('nftables mode', () => {
    expect(said(nftables())).toEqual([
      "rules-read: kube-proxy's rules are in nftables, printed by nft 1.0.6: 1 Service address of IPv4",
    ]);
  });

  test('a back end without kube-proxy is not worth a word', () => {
    expect(said([iptables(KUBE), iptables([], 'legacy')]).length).toBe(1);
    expect(said([iptables(['-A PREROUTING -j DOCKER', '-A DOCKER -j RETURN'])])).toEqual([]);
  });

  test.each([
    [
      'both back ends of iptables',
      [iptables(KUBE, 'legacy'), iptables(KUBE)],
      'iptables (legacy) and iptables (nft)',
    ],
    [
      'a mode that was changed without cleaning up',
      [...nftables(), iptables(KUBE)],
      'iptables (nft) and nftables',
    ],
  ])('%s: each is said, and that all are in force, in any order', (_, events, places) => {
    const all = said(events);
    expect(all.map((text) => text.split(':')[0])).toEqual([
      'rules-read',
      'rules-read',
      'rules-in-several-places',
    ]);
    expect(all[2]).toContain(`are in ${places}, and all of them are in force`);
    expect(said([...events].reverse())).toEqual(all);
  });

  test('rules of two nodes are no mixture', () => {
    const all = said([
      iptables(KUBE, 'legacy', { node: 'node1' }),
      iptables(KUBE, 'nft', { node: 'node2' }),
    ]);
    expect(all).toEqual([
      expect.stringContaining('rules on node1 are in iptables (legacy)'),
      expect.stringContaining('rules on node2 are in iptables (nft)'),
    ]);
  });

  test('it is said once, and later only what is new', () => {
    const survey = new RuleSurvey();
    expect(said([iptables(KUBE)], survey).length).toBe(1);
    expect(survey.conclude()).toEqual([]);
    expect(notices(survey.take(iptables(KUBE, 'nft', { time: 5n })))).toEqual([]);
    const [, ...later] = survey.take(iptables(KUBE, 'legacy', { time: 7n }));
    expect(later).toMatchObject([
      { notice: { code: 'rules-read', time: 7n } },
      { notice: { code: 'rules-in-several-places', time: 7n } },
    ]);
  });
});

describe('who stands in the place of kube-proxy’s chains', () => {
  test('ipvs, by the rules and by the kernel, is said once', () => {
    const survey = new RuleSurvey();
    const kernel: InputEvent = {
      type: 'notice',
      notice: { code: 'proxy-mode-ipvs', detail: 'kube-ipvs0' },
    };
    expect(said([iptables(IPVS_RULES)], survey)).toEqual([
      expect.stringMatching(/^proxy-mode-ipvs: kube-proxy runs in ipvs mode/),
    ]);
    expect(survey.take(kernel)).toEqual([]);
    const other = new RuleSurvey();
    expect(other.take(kernel)).toEqual([kernel]);
    expect(said([iptables(IPVS_RULES)], other)).toEqual([]);
  });

  test('Cilium without kube-proxy, but not beside it, in whatever mode that runs', () => {
    expect(said([iptables(CILIUM)])).toEqual([
      expect.stringMatching(/^proxy-replaced: Cilium has chains here and kube-proxy has none/),
    ]);
    expect(said([iptables([...CILIUM, ...KUBE])])).toEqual([expect.stringMatching(/^rules-read/)]);
    expect(said([iptables(CILIUM), ...nftables()])).toEqual([
      expect.stringMatching(/^rules-read: .* nftables/),
    ]);
  });
});

describe('names', () => {
  const record = (
    p: Pick<Port, 'namespace' | 'name' | 'portName' | 'protocol'>,
  ): ServiceRecord => ({
    kind: 'service',
    uid: '',
    namespace: p.namespace,
    name: p.name,
    type: 'ClusterIP',
    clusterIPs: [],
    externalIPs: [],
    loadBalancerIPs: [],
    loadBalancerSourceRanges: [],
    ports: [{ ...(p.portName !== '' && { name: p.portName }), protocol: p.protocol, port: 1 }],
  });
  const list = (...items: ServiceRecord[]): InputEvent => ({
    type: 'cluster',
    change: { op: 'list', kind: 'service', items },
  });
  const bare = (nat: readonly string[]): string[] =>
    nat.map((rule) => rule.replace(/-m comment --comment (?:"[^"]*"|\S+) /, ''));
  const forged = (nat: readonly string[]): string[] =>
    nat.map((rule) => rule.replaceAll('shop/web', 'other/svc'));
  const namesIn = (events: readonly InputEvent[]): string[][] =>
    events.flatMap((one) =>
      one.type === 'rules'
        ? [
            one.services.map(
              ({ service: s, nameUnverified }) =>
                `${s === undefined ? '-' : `${s.namespace}/${s.name}:${s.portName ?? ''}`}${nameUnverified ? '?' : ''}`,
            ),
          ]
        : [],
    );

  test.each([
    ['a named port', 30, 'http', 'shop/web:http'],
    ['the unnamed port since 1.20', 30, '', 'shop/web:'],
    ['the unnamed port up to 1.19', 19, '', 'shop/web:'],
  ])('%s without any comment is named by its hash', (_, minor, portName, name) => {
    const port = { ...BASE, portName };
    const rules = iptables(bare(writeRules([port], { minor }).nat));
    expect(namesIn([rules])).toEqual([['-']]);
    const before = new RuleSurvey();
    before.prepare([list(record({ ...BASE, name: 'else' }), record(port))]);
    expect(namesIn(before.take(rules))).toEqual([[name]]);
    // The cluster is known only later: the rules are told again.
    const after = new RuleSurvey();
    expect(namesIn(after.take(rules))).toEqual([['-']]);
    const told = after.take(list(record(port)));
    expect(namesIn(told)).toEqual([[name]]);
    expect(told).toMatchObject([{ type: 'cluster' }, { type: 'rules', again: true }]);
    expect(after.take(list(record(port))).length).toBe(1);
    expect(
      namesIn(after.take({ type: 'cluster', change: { op: 'delete', item: record(port) } })),
    ).toEqual([['-']]);
  });

  test('a comment that the hash denies is said, and not believed where the cluster is known', () => {
    const rules = iptables(forged(writeRules([BASE], { minor: 30 }).nat));
    const alone = new RuleSurvey();
    expect(namesIn(alone.take(rules))).toEqual([['other/svc:http?']]);
    expect(notices(alone.conclude())).toEqual([
      expect.stringMatching(/^rules-read/),
      expect.stringMatching(
        /^service-name-unverified: of 1 Service address in iptables \(nft\), IPv4, .*\(first: other\/svc at 10\.96\.0\.9 port 80\)/,
      ),
    ]);
    const known = new RuleSurvey();
    known.prepare([list(record(BASE))]);
    expect(namesIn(known.take(rules))).toEqual([['shop/web:http']]);
    const elsewhere = new RuleSurvey();
    elsewhere.prepare([list(record({ ...BASE, namespace: 'other', name: 'svc' }))]);
    expect(namesIn(elsewhere.take(rules))).toEqual([['-']]);
  });

  test('the name in a chain of nftables mode is held against its hash', () => {
    const listing = listRules([BASE], { minor: 33 }).json;
    const read = (json: string): RulesEvent[] =>
      readNftJson(Buffer.from(json)).rules.map((rules) => event(rules));
    const [forgedRules] = read(listing.replaceAll('-shop/web/', '-other/svc/'));
    if (forgedRules === undefined) throw new Error('no rules');
    const known = new RuleSurvey();
    known.prepare([list(record(BASE))]);
    expect(namesIn(known.take(forgedRules))).toEqual([['shop/web:http']]);
    expect(namesIn(new RuleSurvey().take(forgedRules))).toEqual([['other/svc:http?']]);
  });

  test('rules whose names fit go on as they are', () => {
    const rules = iptables(KUBE);
    const survey = new RuleSurvey();
    survey.prepare([list(record({ ...BASE, name: 'else' }))]);
    const [only, ...more] = survey.take(rules);
    expect(only).toBe(rules);
    expect(more).toEqual([]);
    expect(survey.take(list(record(BASE))).length).toBe(1);
  });
});
