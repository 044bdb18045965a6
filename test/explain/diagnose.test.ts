import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { IptablesSaveReader } from '../../src/decode/rules/iptables-save.js';
import { diagnose } from '../../src/explain/diagnose.js';
import { explainCase } from '../../src/explain/explain.js';
import { exploreWalk } from '../../src/explain/walk/explore.js';
import type { Attribution } from '../../src/model/attribution.js';
import type { Case } from '../../src/model/case.js';
import type { Finding } from '../../src/model/finding.js';
import type { NftJson, RuleSet } from '../../src/model/ruleset.js';
import { casesOf } from '../support/case.js';
import { codesInSource } from './codes.js';

const FAULTS = 'test/explain/data/faults';
const BYPASSED = 'test/explain/data/bypassed';
const PCAPS = 'pcaps/1.30-iptables-nft';
const NO_ENDPOINTS = `${PCAPS}/05-no-endpoints`;
const NODE_PORTS = `${PCAPS}/04-nodeport-lb-external`;
/** All that these need of a large folder. */
const FEW: Readonly<Record<string, readonly string[]>> = {
  [NODE_PORTS]: [
    'api',
    'net',
    'pods',
    'eth0.pcap.gz',
    'client.pcap.gz',
    'conntrack-events.txt.gz',
    'iptables-save.before.txt.gz',
  ],
};

type Chooser = (attribution: Attribution) => boolean;

const to =
  (service: string, outcome?: Attribution['outcome']): Chooser =>
  (it) =>
    it.service?.name === service && (outcome === undefined || it.outcome === outcome);

const recordings = new Map<string, Promise<readonly Case[]>>();

function cases(folder: string): Promise<readonly Case[]> {
  const known = recordings.get(folder) ?? read(folder);
  recordings.set(folder, known);
  return known;
}

function read(folder: string): Promise<readonly Case[]> {
  const inputs = FEW[folder];
  return casesOf(folder, () => true, { node: 'node1', ...(inputs !== undefined && { inputs }) });
}

async function caseOf(folder: string, pick: Chooser): Promise<Case> {
  const found = (await cases(folder)).find(({ attribution }) => pick(attribution));
  if (found === undefined) throw new Error(`${folder} has no such connection`);
  return found;
}

function findingsOf(one: Case): readonly Finding[] {
  return explainCase(one, exploreWalk).findings;
}

const codesOf = (one: Case): string[] => findingsOf(one).map(({ code }) => code);

/** The lists that the kernel's `recent` match held before the last connection to shop/sticky. */
function withRecent(one: Case): Case {
  const path = new URL('data/faults/recent.txt.gz', import.meta.url);
  const [list = '', ...lines] = gunzipSync(readFileSync(path)).toString().trim().split('\n');
  const held = lines.flatMap((line) => /^src=(\S+)/.exec(line)?.[1] ?? []);
  const recent = new Map([[list, new Map(held.map((ip, i) => [ip, i] as const))]]);
  return { ...one, node: { ...one.node, recent }, recentCapacity: held.length };
}

/** The endpoint that was chosen, with other conditions. */
function withEndpoint(one: Case, conditions: { ready: boolean; terminating: boolean }): Case {
  const endpoints = one.cluster.endpoints.map((endpoint) =>
    endpoint.addresses.includes(one.attribution.backend?.ip ?? '')
      ? { ...endpoint, ...conditions, serving: true }
      : endpoint,
  );
  return { ...one, cluster: { ...one.cluster, endpoints } };
}

const same = (one: Case): Case => one;

interface Row {
  readonly code: string;
  readonly folder: string;
  readonly fault: Chooser;
  readonly healthy: Chooser;
  /** What evidence must say somewhere. */
  readonly says: RegExp;
  /** Of states that cannot be made here: what is changed in a recorded case, and in the healthy one. */
  readonly made?: (one: Case) => Case;
  readonly kept?: (one: Case) => Case;
}

const web = to('web');

const TABLE = { time: 0n, max: 65_536, count: 900, drop: 3, earlyDrop: 7, insertFailed: 12 };
const withTable =
  (after: Partial<typeof TABLE>) =>
  (one: Case): Case => ({
    ...one,
    conntrackTable: { before: TABLE, after: { ...TABLE, ...after } },
  });
const steady = withTable({ count: 1_200 });

const ROWS: readonly Row[] = [
  {
    code: 'no-endpoints',
    folder: NO_ENDPOINTS,
    fault: to('none', 'rejected'),
    healthy: to('manual'),
    says: /no endpoints.*KUBE-SERVICES/,
  },
  {
    code: 'local-policy-without-endpoint',
    folder: FAULTS,
    fault: to('local'),
    healthy: web,
    says: /endpoints are on node2; this node is node1/,
  },
  {
    code: 'source-ranges',
    folder: NODE_PORTS,
    fault: (it) => it.service?.name === 'lb-cluster' && it.reason === 'filtered',
    healthy: to('lb-cluster', 'established'),
    says: /the client is 192\.168\.77\./,
  },
  {
    code: 'closed-service-port',
    folder: NO_ENDPOINTS,
    fault: (it) => it.service?.name === 'none' && it.reason === 'no-evidence',
    healthy: to('none', 'rejected'),
    says: /has these tcp ports/,
  },
  {
    code: 'endpoint-not-ready',
    folder: FAULTS,
    fault: to('unready'),
    healthy: web,
    says: /not ready/,
  },
  {
    code: 'endpoint-terminating',
    folder: FAULTS,
    fault: web,
    healthy: web,
    made: (one) => withEndpoint(one, { ready: false, terminating: true }),
    kept: (one) => withEndpoint(one, { ready: true, terminating: false }),
    says: /terminating, still serving/,
  },
  {
    code: 'stale-udp-entry',
    folder: FAULTS,
    fault: (it) => it.protocol === 'udp' && it.backend?.ip === '10.244.1.2',
    healthy: (it) => it.protocol === 'udp' && it.backend?.ip === '10.244.1.3',
    says: /datagrams to 10\.244\.1\.2:5353 after that/,
  },
  {
    code: 'stale-tcp-entry',
    folder: FAULTS,
    fault: (it) => it.service?.name === 'leaves' && it.backend?.ip === '10.244.1.2',
    healthy: (it) => it.service?.name === 'leaves' && it.backend?.ip === '10.244.1.3',
    says: /10\.244\.1\.2:7272 \(shop\/web-1\) is no endpoint any more/,
  },
  {
    code: 'unanswered-by-pod',
    folder: FAULTS,
    fault: to('mute'),
    healthy: web,
    says: /no SYN-ACK came in on veth/,
  },
  {
    code: 'answer-lost-on-node',
    folder: FAULTS,
    fault: to('answer-lost'),
    healthy: web,
    says: /no SYN-ACK went out on veth/,
  },
  {
    code: 'syn-lost-on-node',
    folder: FAULTS,
    fault: to('syn-lost'),
    healthy: web,
    says: /--dport 4040 -j DROP/,
  },
  {
    code: 'unanswered-beyond-node',
    folder: FAULTS,
    fault: to('mute'),
    healthy: to('mute'),
    made: (one) => ({ ...one, node: { ...one.node, name: 'node2', addresses: new Set() } }),
    says: /the endpoint is on node1/,
  },
  {
    code: 'unanswered',
    folder: FAULTS,
    fault: to('mute'),
    healthy: to('mute'),
    made: unseenAtPod,
    says: /was not captured/,
  },
  {
    code: 'refused-by-pod',
    folder: FAULTS,
    fault: to('refuses'),
    healthy: web,
    says: /RST from it: it came in on veth/,
  },
  {
    code: 'refused-by-node',
    folder: FAULTS,
    fault: to('rejected'),
    healthy: to('refuses'),
    says: /--dport 6060 -j REJECT/,
  },
  {
    code: 'refused',
    folder: FAULTS,
    fault: to('refuses'),
    healthy: to('refuses'),
    made: unseenAtPod,
    says: /was not captured/,
  },
  {
    code: 'reset-by-pod',
    folder: FAULTS,
    fault: to('pod-resets'),
    healthy: web,
    says: /came in on veth/,
  },
  {
    code: 'reset-by-client',
    folder: FAULTS,
    fault: to('client-resets'),
    healthy: web,
    says: /came in on veth/,
  },
  {
    code: 'reset-by-node',
    folder: FAULTS,
    fault: to('node-resets'),
    healthy: to('pod-resets'),
    says: /never came in on veth/,
  },
  {
    code: 'reset',
    folder: FAULTS,
    fault: to('pod-resets'),
    healthy: to('pod-resets'),
    made: unseenAtPod,
    says: /not both ends/,
  },
  {
    code: 'retransmit-to-other-endpoint',
    folder: FAULTS,
    fault: to('rerolled'),
    healthy: to('mute'),
    says: /sent to 10\.244\.1\.3:2020/,
  },
  {
    code: 'opening-retransmitted',
    folder: FAULTS,
    fault: to('mute'),
    healthy: web,
    says: /sent again 1 time, first after 1\.0\d s/,
  },
  {
    code: 'source-port-clash',
    folder: FAULTS,
    fault: (it) => it.client.port === 50_001,
    healthy: (it) =>
      it.service?.name === 'solo' && it.client.port !== 50_001 && it.client.ip !== it.backend?.ip,
    says: /no rule that its first packet met masquerades/,
  },
  {
    code: 'masquerade',
    folder: FAULTS,
    fault: (it) => it.client.ip === '192.168.77.1' && it.service?.name === 'web',
    healthy: (it) => it.client.ip !== '192.168.77.1' && it.service?.name === 'web',
    says: /MASQUERADE --random-fully/,
  },
  {
    code: 'hairpin',
    folder: FAULTS,
    fault: (it) => it.service?.name === 'solo' && it.client.ip === '10.244.1.2',
    healthy: (it) => it.service?.name === 'solo' && it.client.ip !== '10.244.1.2',
    says: /both 10\.244\.1\.2/,
  },
  {
    code: 'affinity',
    folder: FAULTS,
    fault: to('sticky'),
    healthy: web,
    says: /ClientIP for 600 s/,
  },
  {
    code: 'affinity-list-full',
    folder: FAULTS,
    fault: lastSticky,
    healthy: to('sticky'),
    made: withRecent,
    says: /holds 100 addresses of at most 100, and not 10\.244\.1\.5/,
  },
  {
    code: 'affinity-not-kept',
    folder: FAULTS,
    fault: lastSticky,
    healthy: to('sticky'),
    says: /10\.244\.1\.\d:8080/,
  },
  {
    code: 'reply-bypassed-nat',
    folder: BYPASSED,
    fault: (it) => it.client.ip === '10.244.1.6',
    healthy: (it) => it.client.ip === '10.244.1.5',
    says: /the client waits for one from 10\.96\.0\.10:80/,
  },
  {
    code: 'invalid-answered-by-rst',
    folder: FAULTS,
    fault: to('flushed'),
    healthy: to('client-resets'),
    says: /which it had never addressed/,
  },
  {
    code: 'entry-deleted',
    folder: FAULTS,
    fault: to('flushed'),
    healthy: web,
    says: /caused by a program/,
  },
  {
    code: 'picked-up-mid-stream',
    folder: NO_ENDPOINTS,
    fault: to('dying'),
    healthy: to('manual'),
    says: /./,
  },
  {
    code: 'conntrack-table-full',
    folder: FAULTS,
    fault: web,
    healthy: web,
    made: withTable({ count: 65_536, drop: 40 }),
    kept: steady,
    says: /65536 entries of at most 65536/,
  },
  {
    code: 'conntrack-insert-failed',
    folder: FAULTS,
    fault: web,
    healthy: web,
    made: withTable({ insertFailed: 14 }),
    kept: steady,
    says: /grew by 2/,
  },
  {
    code: 'endpoint-missing-in-rules',
    folder: FAULTS,
    fault: to('drifts'),
    healthy: web,
    says: /lists 10\.244\.1\.4:8080/,
  },
  {
    code: 'stale-endpoint-in-rules',
    folder: FAULTS,
    fault: to('drifts'),
    healthy: web,
    says: /10\.244\.1\.2:8080: the API does not list it/,
  },
  {
    code: 'stale-chain',
    folder: FAULTS,
    fault: web,
    healthy: web,
    made: (one) => ({ ...one, staleChains: ['KUBE-SEP-OLDOLDOLDOLDOLDO'] }),
    says: /KUBE-SEP-OLD.*no chain in force leads there/,
  },
  {
    code: 'service-not-in-api',
    folder: FAULTS,
    fault: web,
    healthy: web,
    made: ({ cluster: { service: _, ...cluster }, ...one }) => ({
      ...one,
      cluster: { ...cluster, missingService: { namespace: 'shop', name: 'web' } },
    }),
    says: /no Service shop\/web among those of shop/,
  },
  {
    code: 'kube-proxy-behind',
    folder: FAULTS,
    fault: (it) => it.service?.name === 'late' && it.backend?.ip === '10.244.1.2',
    healthy: (it) => it.service?.name === 'late' && it.backend?.ip === '10.244.1.3',
    says: /ms after that/,
  },
  {
    code: 'kube-proxy-version',
    folder: FAULTS,
    fault: web,
    healthy: web,
    made: (one) => ({ ...one, versions: { kubeProxy: 'v1.30.4', api: 'v1.36.0' } }),
    kept: (one) => ({ ...one, versions: { kubeProxy: 'v1.33.1', api: 'v1.36.0' } }),
    says: /v1\.36\.0/,
  },
  {
    code: 'evidence-conflicts',
    folder: FAULTS,
    fault: web,
    healthy: web,
    made: conflicting,
    says: /packets says 10\.244\.1\.9:8080/,
  },
  {
    code: 'views-disagree',
    folder: FAULTS,
    fault: web,
    healthy: web,
    made: (one) => ({
      ...one,
      attribution: { ...one.attribution, backend: { ip: '10.244.1.9', port: 8080 } },
    }),
    says: /the header ends at 10\.244\.1\.9:8080/,
  },
  {
    code: 'masquerade-unexplained',
    folder: FAULTS,
    fault: (it) => it.service?.name === 'web' && it.client.ip !== '192.168.77.1',
    healthy: web,
    made: (one) => ({
      ...one,
      attribution: { ...one.attribution, source: { ip: '10.244.1.1', port: 1_234 } },
    }),
    says: /not masqueraded/,
  },
];

/** The last connection to shop/sticky was given another endpoint than those before. */
function lastSticky(it: Attribution): boolean {
  return it.service?.name === 'sticky' && it.connection === lastStickyId;
}
let lastStickyId = '';

/** Without what the Pod's interface showed. */
function unseenAtPod(one: Case): Case {
  const far = one.podInterfaces?.backend;
  return {
    ...one,
    packets: one.packets.filter((packet) => packet.interface !== far),
    looked: { ...one.looked, interfaces: one.looked.interfaces.filter((name) => name !== far) },
  };
}

function conflicting(one: Case): Case {
  const { backend: known, ...attribution } = one.attribution;
  const backend = known ?? one.attribution.destination;
  const claims = [
    { evidence: 'conntrack', backend },
    { evidence: 'packets', backend: { ip: '10.244.1.9', port: 8080 } },
  ] as const;
  return { ...one, attribution: { ...attribution, verdict: 'conflict', claims } };
}

describe('each finding', async () => {
  const sticky = (await cases(FAULTS)).filter(
    ({ attribution }) =>
      attribution.service?.name === 'sticky' && attribution.client.ip === '10.244.1.5',
  );
  lastStickyId = sticky.at(-1)?.attribution.connection ?? '';

  it('has a row here', () => {
    expect(ROWS.map(({ code }) => code).sort()).toEqual(codesInSource());
  });

  it.each(ROWS)('$code is found where its fault was made, and not beside it', async (row) => {
    const faulty = (row.made ?? same)(await caseOf(row.folder, row.fault));
    const found = findingsOf(faulty).find(({ code }) => code === row.code);
    expect(found, codesOf(faulty).join()).toBeDefined();
    expect(found?.evidence.map(({ says }) => says).join('\n')).toMatch(row.says);
    expect(found?.meaning).not.toBe('');
    expect(found?.next.length).toBeGreaterThan(0);
    const healthy = (row.kept ?? same)(await caseOf(row.folder, row.healthy));
    expect(codesOf(healthy)).not.toContain(row.code);
  });
});

describe('diagnoses', () => {
  it('find nothing in connections that had nothing', async () => {
    const plain = (await cases(FAULTS)).filter(
      ({ attribution }) =>
        attribution.service?.name === 'web' && attribution.client.pod !== undefined,
    );
    expect(plain.length).toBe(4);
    expect(plain.map(codesOf)).toEqual([[], [], [], []]);
    const seed = await casesOf(`${PCAPS}/01c-seed-acct-timestamp`, undefined, { node: 'node1' });
    expect(seed.length).toBeGreaterThan(50);
    expect(seed.flatMap(codesOf)).toEqual([]);
  });

  it('tell the gravest first', async () => {
    const weights = ['fault', 'odd', 'fact'];
    for (const one of await cases(FAULTS)) {
      const order = findingsOf(one).map(({ weight }) => weights.indexOf(weight));
      expect(order).toEqual([...order].sort());
    }
  });

  it.each([
    ['another node by its addresses', ['192.0.2.1'], ['192.0.2.9'], 'unanswered-beyond-node'],
    ['this node by its addresses', ['192.0.2.9'], ['192.0.2.9'], 'unanswered-by-pod'],
    ['a node that nobody knows', ['192.0.2.1'], [], 'unanswered'],
  ])('place an endpoint on %s where the node’s name is not known', async (_, own, its, code) => {
    const one = await caseOf(FAULTS, to('mute'));
    const { podInterfaces: _own, node: _node, ...rest } = one;
    const [node] = rest.cluster.nodes;
    if (node === undefined) throw new Error('no node');
    const nodes = its.length === 0 ? [] : [{ ...node, name: 'node1', addresses: its }];
    const unnamed: Case = {
      ...rest,
      cluster: { ...rest.cluster, nodes },
      node: { addresses: new Set(own) },
    };
    expect(codesOf(unnamed)).toContain(code);
  });

  it('count what one place saw, though a bridge and a second capture show it too', async () => {
    const one = await caseOf(FAULTS, to('syn-lost'));
    const again = one.packets.flatMap((packet) => [
      packet,
      { ...packet, interface: 'br0', time: packet.time + 4_000n },
      { ...packet, time: packet.time + 6_000n },
    ]);
    const says = (it: Case): unknown =>
      findingsOf(it).find(({ code }) => code === 'syn-lost-on-node')?.evidence;
    expect(says({ ...one, packets: again })).toEqual(says(one));
  });

  it('say of what is still open that nobody answered so far, and not that it failed', async () => {
    const one = await caseOf(FAULTS, to('mute'));
    const open = (it: Case): Case => ({
      ...it,
      attribution: { ...it.attribution, outcome: 'open' },
    });
    const [first] = findingsOf(open(one));
    expect(first).toMatchObject({ code: 'unanswered-by-pod', weight: 'odd' });
    expect(first?.evidence.at(-1)?.says).toMatch(/still open/);
    expect(codesOf(open(await caseOf(FAULTS, web)))).toEqual([]);
  });

  it('name no loss on the node where the Service has no endpoint', async () => {
    const one = await caseOf(NO_ENDPOINTS, to('none', 'rejected'));
    const silent: Case = {
      ...one,
      attribution: { ...one.attribution, outcome: 'unanswered' },
      packets: one.packets.filter(({ way }) => way === 'forward'),
      rules: [],
      entries: [],
    };
    expect(codesOf(silent)).toEqual(['no-endpoints']);
  });

  it('believe a refusal where the rules that are known are from before the endpoints went', async () => {
    const one = await caseOf(NO_ENDPOINTS, to('none', 'rejected'));
    const [entry] = (await caseOf(NO_ENDPOINTS, to('manual'))).entries;
    const late: Case = { ...one, entries: entry === undefined ? [] : [entry] };
    expect(late.entries[0]?.routes.length).toBeGreaterThan(0);
    expect(codesOf(late)).toEqual(['no-endpoints']);
    const unsaid = { ...late, packets: late.packets.filter(({ way }) => way === 'forward') };
    expect(codesOf(unsaid)).not.toContain('no-endpoints');
  });

  it('say that a refusal was not these rules, where none of them refuses', async () => {
    const one = await caseOf(NO_ENDPOINTS, to('none', 'rejected'));
    const without = (set: Case['rules'][number]): Case['rules'][number] =>
      set.kind === 'iptables'
        ? { ...set, tables: new Map([...set.tables].filter(([name]) => name === 'nat')) }
        : set;
    const remark = /none of the rules known for that moment refuses it/;
    const remarks = (it: Case): string => explainCase(it, exploreWalk).remarks.join();
    expect(remarks(one)).not.toMatch(remark);
    expect(remarks({ ...one, rules: one.rules.map(without) })).toMatch(remark);
  });

  it('take nothing from conntrack where only a capture lost packets', async () => {
    const one = await caseOf(FAULTS, to('rejected'));
    const losing = (source: 'capture' | 'netlink'): Case => ({
      ...one,
      losses: [{ source, count: 3, detail: 'packets dropped' }],
    });
    expect(codesOf(losing('capture'))).toContain('refused-by-node');
    expect(codesOf(losing('netlink'))).not.toContain('refused-by-node');
  });

  it('know an RST that a rule sends in the name of the Service', async () => {
    const one = await caseOf(FAULTS, to('rejected'));
    const reset = (direction: 'in' | 'out'): Case => ({
      ...one,
      attribution: { ...one.attribution, outcome: 'refused' },
      packets: one.packets.map((packet) => {
        if (packet.kind !== 'icmp-error') return packet;
        const { icmp: _, ...rest } = packet;
        return { ...rest, kind: 'rst', way: 'back', view: 'original', direction };
      }),
    });
    expect(codesOf(reset('out'))).toContain('refused-by-node');
    expect(codesOf(reset('in'))).not.toContain('refused-by-node');
  });

  it('know a lost answer by the endpoint that repeats it, though the client gave up at once', async () => {
    const one = await caseOf(FAULTS, to('answer-lost'));
    const [first] = one.packets.filter(({ kind }) => kind === 'syn');
    const { retransmits: _, ...attribution } = one.attribution;
    const once = one.packets.filter(
      ({ kind, time }) => kind !== 'syn' || time - (first?.time ?? 0n) < 10_000_000n,
    );
    const givenUp: Case = { ...one, attribution, packets: once };
    expect(codesOf(givenUp)).toContain('answer-lost-on-node');
    const answer = once.findIndex(({ kind }) => kind === 'syn-ack');
    const answeredOnce: Case = { ...givenUp, packets: once.slice(0, answer + 1) };
    expect(codesOf(answeredOnce)).not.toContain('answer-lost-on-node');
  });

  it('say what cannot be told where there was no evidence at all', async () => {
    const one = await caseOf(FAULTS, to('mute'));
    const blind: Case = {
      ...one,
      packets: [],
      conntrack: [],
      rules: [],
      entries: [],
      cluster: { endpoints: [], nodes: [] },
      looked: { packets: false, conntrack: false, rules: false, cluster: false, interfaces: [] },
    };
    expect(diagnose(blind, undefined).map(({ code }) => code)).toEqual([
      'unanswered',
      'opening-retransmitted',
    ]);
    expect(explainCase(blind, exploreWalk).remarks[0]).toMatch(
      /packets, conntrack, rules and the cluster had no part/,
    );
  });
});

describe('who drops INVALID packets', () => {
  const evidence = (one: Case): string =>
    findingsOf(one)
      .filter(({ code }) => code === 'invalid-answered-by-rst')
      .flatMap((found) => found.evidence.map(({ says }) => says))
      .join('\n');
  const withNft = (one: Case, right: NftJson, op = 'in'): Case => {
    const match: NftJson = { match: { op, left: { ct: { key: 'state' } }, right } };
    const expressions: NftJson[] = [match, { counter: { packets: 7, bytes: 400 } }, { drop: null }];
    const chain = { name: 'filter-forward', rules: [{ expressions }] };
    const rules: RuleSet = {
      kind: 'nftables',
      family: 4,
      backend: 'nft',
      chains: new Map([[chain.name, chain]]),
      sets: new Map(),
      maps: new Map(),
    };
    return { ...one, rules: [rules] };
  };

  it('is told of iptables, whoever wrote the rule', async () => {
    const one = await caseOf(FAULTS, to('flushed'));
    const dump = (rule: string): Case => {
      const reader = new IptablesSaveReader({ backend: 'nft' });
      const text = `*filter\n:FORWARD ACCEPT [0:0]\n:MINE - [0:0]\n[5:60] -A MINE ${rule}\nCOMMIT\n`;
      reader.feed(new TextEncoder().encode(text));
      reader.end();
      return { ...one, rules: reader.dumps };
    };
    const drops =
      'filter MINE holds a rule that drops INVALID packets, which has dropped 5 packets';
    for (const rule of ['-m state --state INVALID', '-m conntrack --ctstate INVALID,UNTRACKED']) {
      expect(evidence(dump(`${rule} -j DROP`))).toContain(drops);
    }
    for (const rule of [
      '-m conntrack --ctstate INVALID -j LOG',
      '-m conntrack ! --ctstate INVALID -j DROP',
    ]) {
      expect(evidence(dump(rule))).toContain(
        'no rule drops packets in state INVALID, of the tables that were read (filter)',
      );
    }
  });

  it('is told of kube-proxy’s table of mode nftables, and of no other', async () => {
    const one = await caseOf(FAULTS, to('flushed'));
    const drops =
      'table kube-proxy filter-forward holds a rule that drops INVALID packets, which has dropped 7 packets';
    for (const right of ['invalid', ['invalid', 'untracked'], { set: ['new', 'invalid'] }]) {
      expect(evidence(withNft(one, right))).toContain(drops);
    }
    for (const healthy of [withNft(one, 'new'), withNft(one, 'invalid', '!=')]) {
      expect(evidence(healthy)).toContain(
        'kube-proxy’s table has no rule that drops packets in state invalid; tables of other programs were not read',
      );
    }
  });
});

describe('kube-proxy’s version', () => {
  it.each([
    [
      'bounds that show it',
      { kubeProxyTo: '1.23', kubelet: 'v1.30.2' },
      '1.23 or older is at least 7 minor',
    ],
    ['a bound and the API’s word', { kubeProxyTo: '1.32', api: 'v1.36.0' }, 'at least 4 minor'],
    [
      'its word and the newest kubelet',
      { kubeProxy: 'v1.26.1', kubelet: 'v1.30.2' },
      'at least 4 minor',
    ],
    [
      'rules that only a newer one writes',
      { kubeProxyFrom: '1.36', api: 'v1.35.1' },
      '1.36 or newer is newer',
    ],
    [
      'its own word, whatever the bounds',
      { kubeProxy: 'v1.29.0', kubeProxyTo: '1.18', api: 'v1.30.0' },
      undefined,
    ],
    [
      'bounds within which it may go',
      { kubeProxyFrom: '1.25', kubeProxyTo: '1.32', kubelet: 'v1.35.0' },
      undefined,
    ],
    [
      'an older kubelet, which proves nothing',
      { kubeProxyFrom: '1.36', kubelet: 'v1.30.0' },
      undefined,
    ],
    ['one side only', { kubeProxyTo: '1.18' }, undefined],
    ['versions that are none', { kubeProxy: 'dirty', api: 'latest' }, undefined],
  ])('by %s', async (_, versions, says) => {
    const one = { ...(await caseOf(FAULTS, web)), versions };
    const found = findingsOf(one).find(({ code }) => code === 'kube-proxy-version');
    if (says === undefined) expect(found).toBeUndefined();
    else expect(found?.title).toContain(says);
  });

  it('is known by the rules of a recorded case', async () => {
    expect((await caseOf(FAULTS, web)).versions).toMatchObject({ kubeProxyFrom: '1.25' });
  });
});
