import type { Attribution, PodRef } from '../../../src/model/attribution.js';
import type { Explanation } from '../../../src/model/explanation.js';
import type { Finding } from '../../../src/model/finding.js';
import type { Story } from '../../../src/model/story.js';
import type {
  Effect,
  FirstPacket,
  Share,
  WalkEnding,
  WalkedRule,
} from '../../../src/model/walk.js';
import { HOSTILE, NGINX, START } from '../events.js';

/** A rule set in kube-proxy's shape around one Service with four endpoints, small enough to be read. */
const SVC = 'KUBE-SVC-4N57TFCL4MD7ZTDA';
const QUARTER: Share = { parts: 1n, bits: 2 };
const THIRD: Share = { parts: 715_827_883n, bits: 31 };
const HALF: Share = { parts: 1n, bits: 1 };
const CHANCES = [QUARTER, THIRD, HALF];

const rule = (change: Partial<WalkedRule> & Pick<WalkedRule, 'chain' | 'text'>): WalkedRule => ({
  backend: 'nft',
  hook: 'prerouting',
  table: 'nat',
  depth: 0,
  position: 1,
  met: 'matched',
  effects: [],
  ...change,
});

const jump = (chain: string): Effect[] => [{ does: 'jump', chain }];

const others = (count: number): WalkedRule[] =>
  Array.from({ length: count }, (_, i) =>
    rule({
      chain: 'KUBE-SERVICES',
      depth: 1,
      position: i + 1,
      line: 101 + i,
      text: `-d 10.96.${i >> 8}.${i & 255}/32 -p tcp -m comment --comment "shop/other-${i} cluster IP" -m tcp --dport 80 -j KUBE-SVC-OTHER${i}`,
      met: 'passed',
      because: 'destination is another',
      packets: 0,
      bytes: 0,
    }),
  );

const policy = (hook: WalkedRule['hook'], table: string, chain: string): WalkedRule =>
  rule({ hook, table, chain, position: 0, text: 'policy ACCEPT', effects: [{ does: 'accept' }] });

const BEFORE: readonly WalkedRule[] = [
  policy('prerouting', 'mangle', 'PREROUTING'),
  rule({
    chain: 'PREROUTING',
    text: '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    packets: 12_407,
    bytes: 744_420,
    line: 31,
    effects: jump('KUBE-SERVICES'),
  }),
  ...others(4998),
  rule({
    chain: 'KUBE-SERVICES',
    depth: 1,
    position: 4999,
    line: 5099,
    text: `-d 10.111.248.8/32 -p tcp -m comment --comment "default/nginx:http cluster IP" -m tcp --dport 80 -j ${SVC}`,
    packets: 200,
    bytes: 12_000,
    effects: jump(SVC),
  }),
  rule({
    chain: SVC,
    depth: 2,
    line: 6001,
    text: '! -s 10.44.0.0/16 -d 10.111.248.8/32 -p tcp -m comment --comment "default/nginx:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ',
    packets: 0,
    bytes: 0,
    met: 'passed',
    because: 'the source is in 10.44.0.0/16',
  }),
];

interface Endpoint {
  readonly ip: string;
  readonly chain: string;
}

const ENDPOINTS: readonly Endpoint[] = [
  { ip: '10.44.0.1', chain: 'KUBE-SEP-RNUA2WF32F4IZIFK' },
  { ip: '10.44.0.3', chain: 'KUBE-SEP-IZW656N5ZXYN5BEC' },
  { ip: '10.44.1.7', chain: 'KUBE-SEP-OI7NWIH7RAT2AOGF' },
  { ip: '10.44.1.9', chain: 'KUBE-SEP-6TTN4SHIRO4JAVGT' },
];

const choice = (i: number, met: 'matched' | 'passed', name: string): WalkedRule => {
  const endpoint = ENDPOINTS[i];
  if (endpoint === undefined) throw new Error('no such endpoint');
  const chance = CHANCES[i];
  const random =
    chance === undefined
      ? ''
      : ` -m statistic --mode random --probability ${(Number(chance.parts) / 2 ** chance.bits).toFixed(11)}`;
  return rule({
    chain: SVC,
    depth: 2,
    position: i + 2,
    line: 6002 + i,
    text: `-m comment --comment "${name} -> ${endpoint.ip}:80"${random} -j ${endpoint.chain}`,
    packets: [47, 51, 46, 56][i] ?? 0,
    bytes: ([47, 51, 46, 56][i] ?? 0) * 60,
    met,
    ...(met === 'passed' && { because: 'not chosen by chance' }),
    ...(chance !== undefined && { chance }),
    effects: met === 'matched' ? jump(endpoint.chain) : [],
  });
};

const AFTER: readonly WalkedRule[] = [
  policy('forward', 'mangle', 'FORWARD'),
  rule({
    hook: 'forward',
    table: 'filter',
    chain: 'FORWARD',
    text: '-m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL',
    packets: 400,
    bytes: 24_000,
    effects: jump('KUBE-PROXY-FIREWALL'),
  }),
  rule({
    hook: 'forward',
    table: 'filter',
    chain: 'FORWARD',
    position: 2,
    text: '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
    packets: 5034,
    bytes: 425_003,
    effects: jump('KUBE-FORWARD'),
  }),
  rule({
    hook: 'forward',
    table: 'filter',
    chain: 'KUBE-FORWARD',
    depth: 1,
    text: '-m conntrack --ctstate INVALID -j DROP',
    met: 'passed',
    because: 'the state is NEW',
    packets: 1022,
    bytes: 73_619,
  }),
  policy('forward', 'filter', 'FORWARD'),
  rule({
    hook: 'postrouting',
    chain: 'POSTROUTING',
    text: '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
    packets: 407,
    bytes: 24_420,
    effects: jump('KUBE-POSTROUTING'),
  }),
  rule({
    hook: 'postrouting',
    chain: 'KUBE-POSTROUTING',
    depth: 1,
    text: '-m mark ! --mark 0x4000/0x4000 -j RETURN',
    packets: 407,
    bytes: 24_420,
    effects: [{ does: 'return' }],
  }),
  policy('postrouting', 'nat', 'POSTROUTING'),
];

function ending(i: number, name = 'default/nginx:http'): WalkEnding {
  const endpoint = ENDPOINTS[i];
  if (endpoint === undefined) throw new Error('no such endpoint');
  const steps = [...BEFORE];
  for (let k = 0; k < i; k++) steps.push(choice(k, 'passed', name));
  steps.push(
    choice(i, 'matched', name),
    rule({
      chain: endpoint.chain,
      depth: 3,
      text: `-s ${endpoint.ip}/32 -m comment --comment "${name}" -j KUBE-MARK-MASQ`,
      met: 'passed',
      because: `the source is not ${endpoint.ip}`,
      packets: 0,
      bytes: 0,
    }),
    rule({
      chain: endpoint.chain,
      depth: 3,
      position: 2,
      text: `-p tcp -m comment --comment "${name}" -m tcp -j DNAT --to-destination ${endpoint.ip}:80`,
      packets: 47,
      bytes: 2820,
      effects: [{ does: 'dnat', ip: endpoint.ip, port: 80 }],
    }),
    ...AFTER,
  );
  return {
    kind: 'endpoint',
    ip: endpoint.ip,
    port: 80,
    share: [QUARTER, { parts: 2_147_483_649n, bits: 33 }, QUARTER, QUARTER][i] ?? QUARTER,
    masquerade: 'no',
    mark: 0,
    path: ['KUBE-SERVICES', SVC, endpoint.chain],
    affinity: false,
    assuming: [],
    steps,
  };
}

const PACKET: FirstPacket = {
  protocol: 6,
  source: '10.44.0.9',
  sourcePort: 36_033,
  destination: '10.111.248.8',
  port: 80,
  from: { kind: 'interface', name: 'vethc1' },
};

const pod = (name: string, node: string): PodRef => ({ namespace: 'default', name, node });

const PODS: ReadonlyMap<string, PodRef> = new Map([
  ['10.44.0.1', pod('nginx-86c57db685-vskrb', 'node01')],
  ['10.44.0.3', pod('nginx-86c57db685-4fxkd', 'node01')],
  ['10.44.1.7', pod('nginx-86c57db685-zzq7p', 'node02')],
]);

const STORY: Story = {
  begin: START,
  places: [
    { role: 'client', name: 'vethc1', of: 'default/client' },
    { role: 'nat', name: 'conntrack' },
    { role: 'backend', name: 'vethp1', of: 'default/nginx-86c57db685-vskrb' },
    { role: 'uplink', name: 'eth0' },
  ],
  lines: [
    {
      time: START - 2_000_000_000n,
      sinceNs: -2_000_000_000,
      uncertaintyNs: 1_000_000_000,
      place: 1,
      what: 'rules changed',
      detail: '10.44.1.12:80 (default/nginx-86c57db685-old) is no endpoint any more',
      bad: false,
    },
    {
      time: START,
      sinceNs: 0,
      place: 0,
      way: 'forward',
      what: 'SYN',
      detail: '10.44.0.9:36033 > 10.111.248.8:80 seq 1234567890',
      bad: false,
    },
    {
      time: START + 20_000n,
      sinceNs: 20_000,
      place: 1,
      what: 'NEW → 10.44.0.1:80',
      detail: 'reply 10.44.0.1:80 > 10.44.0.9:36033',
      bad: false,
    },
    {
      time: START + 21_400n,
      sinceNs: 21_400,
      place: 2,
      way: 'forward',
      what: 'SYN',
      detail: '10.44.0.9:36033 > 10.44.0.1:80',
      bad: false,
    },
    {
      time: START + 1_003_000_000n,
      sinceNs: 1_003_000_000,
      place: 0,
      way: 'forward',
      what: 'SYN again',
      detail: '10.44.0.9:36033 > 10.111.248.8:80 seq 1234567890',
      bad: true,
    },
    {
      time: START + 1_003_310_000n,
      sinceNs: 1_003_310_000,
      place: 2,
      way: 'back',
      what: 'SYN-ACK',
      detail: '',
      bad: false,
    },
    {
      time: START + 1_003_312_000n,
      sinceNs: 1_003_312_000,
      place: 3,
      what: 'ICMP fragmentation needed',
      detail: 'type 3 code 4 from 192.168.77.1',
      bad: true,
    },
    {
      place: 1,
      what: 'DESTROY',
      detail: '5 packets, 361 bytes sent; 5 packets, 510 bytes received',
      bad: false,
    },
  ],
};

const FINDINGS: readonly Finding[] = [
  {
    code: 'syn-unanswered-at-pod',
    weight: 'fault',
    title: 'The first SYN reached default/nginx-86c57db685-vskrb, which did not answer it for 1 s',
    evidence: [
      {
        from: 'packets',
        says: 'the SYN left by vethp1 and no SYN-ACK came back before the retransmission',
        time: START + 21_400n,
      },
      { from: 'conntrack', says: 'the entry stayed in SYN_SENT' },
    ],
    meaning:
      "The packet was lost behind the node's rules: in the Pod's network namespace, or its listen queue was full.",
    next: [
      'kubectl -n default exec nginx-86c57db685-vskrb -- ss -ltn',
      'look at ListenOverflows in /proc/net/netstat of the Pod',
    ],
  },
  {
    code: 'rules-changed-meanwhile',
    weight: 'fact',
    title: 'The rules changed 2 s before',
    evidence: [{ from: 'rules', says: 'one endpoint fewer' }],
    meaning: 'An endpoint was removed.',
    next: [],
  },
];

const ENDINGS = [0, 1, 2, 3].map((i) => ending(i));
const [TAKEN] = ENDINGS;
if (TAKEN === undefined) throw new Error('no ending');

/** A connection that happened, with everything that an explanation can hold. */
export const HAPPENED: Explanation = {
  attribution: { ...NGINX, source: undefined, endTime: START + 3_000_000_000n, retransmits: 1 },
  walk: {
    possible: { packet: PACKET, endings: ENDINGS, remarks: [] },
    taken: TAKEN,
    knownBy: ["conntrack's reply tuple names 10.44.0.1:80", 'the translated SYN left by vethp1'],
    pods: PODS,
  },
  story: STORY,
  findings: FINDINGS,
  remarks: ['eth0 was not captured'],
};

/** One that could happen. */
export const COULD: Explanation = {
  walk: {
    possible: { packet: PACKET, endings: ENDINGS, remarks: [] },
    knownBy: [],
    pods: PODS,
  },
  findings: [],
  remarks: ["the node's own addresses are not known"],
};

/** Rejected by a rule, over IPv6, between names as long as Kubernetes allows. */
const LONG = 'a-very-long-name-as-long-as-a-label-may-ever-be-in-kubernetes-x';
const REJECTING = rule({
  hook: 'forward',
  table: 'filter',
  chain: 'KUBE-SERVICES',
  depth: 1,
  position: 3,
  line: 77,
  text: `-d fd00:10:96:ffff:ffff:ffff:ffff:ab8/128 -p tcp -m comment --comment "${LONG}/${LONG} has no endpoints" -m tcp --dport 443 -j REJECT --reject-with icmp6-port-unreachable`,
  packets: 4,
  bytes: 320,
  effects: [{ does: 'reject' }],
});
export const REJECTED: Explanation = {
  attribution: {
    ...NGINX,
    client: {
      ip: 'fd00:10:244:ffff:ffff:ffff:ffff:abc2',
      port: 65_535,
      pod: { namespace: LONG, name: LONG, node: LONG },
    },
    destination: { ip: 'fd00:10:96:ffff:ffff:ffff:ffff:ab8', port: 443 },
    service: { namespace: LONG, name: LONG, portName: 'https', via: 'clusterIP' },
    backend: undefined,
    source: undefined,
    verdict: 'unattributed',
    reason: 'no-endpoints',
    outcome: 'rejected',
    evidence: ['rules'],
    latency: undefined,
  } satisfies Attribution,
  walk: {
    possible: {
      packet: {
        ...PACKET,
        source: 'fd00:10:244:ffff:ffff:ffff:ffff:abc2',
        destination: 'fd00:10:96:ffff:ffff:ffff:ffff:ab8',
        port: 443,
      },
      endings: [
        {
          kind: 'rejected',
          share: { parts: 1n, bits: 0 },
          masquerade: 'no',
          mark: 0,
          path: ['KUBE-SERVICES'],
          affinity: false,
          assuming: [],
          decidedBy: REJECTING,
          steps: [
            rule({
              hook: 'forward',
              table: 'filter',
              chain: 'FORWARD',
              text: '-m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
              effects: jump('KUBE-SERVICES'),
            }),
            REJECTING,
          ],
        },
      ],
      remarks: ['-m bpf is not understood'],
    },
    knownBy: [],
  },
  findings: [],
  remarks: [],
};

/** Every text in it wants to be obeyed, by a terminal or by a browser. */
const EVIL = `${HOSTILE.join(' ')}</title></style><script>alert(1)</script>" onload="x" ]]> \\" -->`;
export const EVIL_ONE: Explanation = {
  attribution: {
    ...NGINX,
    client: { ...NGINX.client, pod: { namespace: EVIL, name: EVIL, node: EVIL } },
    service: { namespace: EVIL, name: EVIL, portName: EVIL, via: 'clusterIP' },
  },
  walk: {
    possible: {
      packet: { ...PACKET, from: { kind: 'interface', name: EVIL } },
      endings: [
        {
          ...ending(0, EVIL),
          affinity: true,
          assuming: [EVIL],
          masquerade: 'yes',
          mark: 0x4000,
          steps: [
            ...others(5).map((it) => ({
              ...it,
              because: EVIL,
              text: EVIL,
              chain: EVIL,
              table: EVIL,
            })),
            rule({
              chain: EVIL,
              table: EVIL,
              text: EVIL,
              met: 'unknown',
              because: EVIL,
              effects: [{ does: 'unknown', what: EVIL }],
            }),
            rule({
              chain: EVIL,
              table: EVIL,
              depth: 1,
              text: EVIL,
              effects: [
                { does: 'remember', list: EVIL },
                { does: 'jump', chain: EVIL },
              ],
            }),
          ],
        },
      ],
      remarks: [EVIL],
    },
    knownBy: [EVIL],
    pods: new Map([['10.44.0.1', { namespace: EVIL, name: EVIL, node: EVIL }]]),
  },
  story: {
    places: [{ role: 'client', name: EVIL, of: EVIL }],
    lines: [{ place: 0, what: EVIL, detail: EVIL, bad: true, way: 'back' }],
  },
  findings: [
    {
      code: 'x',
      weight: 'odd',
      title: EVIL,
      meaning: EVIL,
      next: [EVIL],
      evidence: [{ from: 'rules', says: EVIL }],
    },
  ],
  remarks: [EVIL],
};

/** Nothing is known: nothing may break. */
export const EMPTY: Explanation = { findings: [], remarks: [] };
