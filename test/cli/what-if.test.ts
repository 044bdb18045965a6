import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { ExplainFlags } from '../../src/cli/explain/request.js';
import { explainRequest } from '../../src/cli/explain/request.js';
import { whatIf, whyNot } from '../../src/cli/explain/what-if.js';
import { UsageError } from '../../src/model/problem.js';
import { fakeIo } from './fake-io.js';

const recorded = (scenario: string): string =>
  fileURLToPath(new URL(`../../pcaps/${scenario}`, import.meta.url));

const FLAGS: ExplainFlags = { color: true, cluster: true };

interface Shown {
  readonly walk?: {
    readonly endings: readonly {
      readonly kind: string;
      readonly ip?: string;
      readonly port?: number;
      readonly pod?: { readonly name: string; readonly node?: string };
      readonly share: { readonly parts: string; readonly bits: number };
      readonly masquerade: string;
      readonly affinity: boolean;
      readonly decidedBy?: number;
      readonly assuming: readonly string[];
    }[];
    readonly rules: readonly { readonly chain: string }[];
    readonly packet: { readonly source: string; readonly from: { readonly kind: string } };
  };
  readonly findings: readonly { readonly code: string; readonly title: string }[];
  readonly remarks: readonly string[];
}

async function run(text: string, flags: Partial<ExplainFlags>, scenario: string): Promise<string> {
  const io = fakeIo();
  const request = explainRequest([recorded(scenario)], { ...FLAGS, ...flags, whatIf: text }, io);
  if (request.question.kind !== 'what-if') throw new Error('not what was asked');
  expect(await whatIf(request.question, request, io)).toBe(0);
  return io.stdout.text;
}

async function asked(
  text: string,
  scenario: string,
  flags: Partial<ExplainFlags> = {},
): Promise<Shown> {
  return JSON.parse(await run(text, { output: 'json', ...flags }, scenario));
}

/** `1/2^2 10.244.1.4:80 nginx-… node1`, and what else is special about it. */
function ends({ walk }: Shown): string[] {
  return (walk?.endings ?? []).map((it) => {
    const { parts, bits } = it.share;
    const share = bits === 0 ? parts : `${parts}/2^${bits}`;
    const to = it.ip === undefined ? it.kind : `${it.ip}:${it.port}`;
    const by = it.decidedBy === undefined ? '' : ` by ${walk?.rules[it.decidedBy]?.chain}`;
    const masqueraded = it.masquerade === 'no' ? '' : ` masquerade ${it.masquerade}`;
    return `${share} ${to}${it.pod ? ` ${it.pod.name}` : ''}${by}${masqueraded}${it.affinity ? ' affinity' : ''}`;
  });
}

const NFT = '1.30-iptables-nft';
const QUARTERS = (port: number, masquerade = ''): string[] => [
  `1/2^2 10.244.1.4:${port} nginx-df45f895-b45lp${masquerade}`,
  `2147483649/2^33 10.244.1.5:${port} nginx-df45f895-kzs72${masquerade}`,
  `4294967295/2^34 10.244.2.3:${port} nginx-df45f895-h7jdv${masquerade}`,
  `4294967295/2^34 10.244.2.4:${port} nginx-df45f895-pjfxg${masquerade}`,
];

describe('a packet that could come', () => {
  it.each<readonly [string, string, string, Partial<ExplainFlags>, readonly string[]]>([
    [
      'a Pod to a ClusterIP: every endpoint with what the kernel makes of 0.25, 0.33333333349 and 0.5',
      'tcp 10.244.1.2 10.96.81.51:80',
      `${NFT}/01-seed`,
      {},
      QUARTERS(80),
    ],
    [
      'the same by the names of Pod and Service, whose only port need not be said',
      'tcp default/client-5ff7cd6b77-pxkw9 default/nginx',
      `${NFT}/01-seed`,
      {},
      QUARTERS(80),
    ],
    [
      'a client from outside the cluster to a ClusterIP is masqueraded',
      'tcp 192.168.77.100:40000 10.96.81.51:80',
      `${NFT}/01-seed`,
      { in: 'eth0' },
      QUARTERS(80, ' masquerade yes'),
    ],
    [
      'a NodePort from outside',
      'tcp 192.168.77.100 192.168.77.11:30080',
      `${NFT}/04-nodeport-lb-external`,
      { in: 'eth0' },
      QUARTERS(8080, ' masquerade yes'),
    ],
    [
      'a NodePort from the node itself',
      'tcp 192.168.77.11 192.168.77.11:30080',
      `${NFT}/04-nodeport-lb-external`,
      { fromNode: true },
      QUARTERS(8080, ' masquerade yes'),
    ],
    [
      'a NodePort with externalTrafficPolicy Local from outside: endpoints of this node, the client as it is',
      'tcp 192.168.77.100 192.168.77.11:30081',
      `${NFT}/04-nodeport-lb-external`,
      { in: 'eth0' },
      ['1/2^1 10.244.1.4:8080 nginx-df45f895-b45lp', '1/2^1 10.244.1.5:8080 nginx-df45f895-kzs72'],
    ],
    [
      'a load balancer with source ranges, from one that is in them',
      'tcp 192.168.77.100 192.168.77.200:80',
      `${NFT}/04-nodeport-lb-external`,
      { in: 'eth0' },
      QUARTERS(8080, ' masquerade yes'),
    ],
    [
      'a load balancer with source ranges, from one that is not: dropped, by which chain',
      'tcp 192.168.77.101 192.168.77.200:80',
      `${NFT}/04-nodeport-lb-external`,
      { in: 'eth0' },
      ['1 dropped by KUBE-PROXY-FIREWALL'],
    ],
    [
      'a Service without endpoints rejects',
      'tcp 10.244.1.2 10.96.79.12:80',
      `${NFT}/05-no-endpoints`,
      {},
      ['1 rejected by KUBE-SERVICES'],
    ],
    [
      "an address that is no Service's is not translated",
      'tcp 10.244.1.2 10.244.2.9:80',
      `${NFT}/01-seed`,
      {},
      ['1 untranslated'],
    ],
    [
      'internalTrafficPolicy Local: only endpoints of this node',
      'tcp 10.244.1.2 default/itp-local',
      `${NFT}/04b-internal-local-hints`,
      {},
      ['1/2^1 10.244.1.4:8080 nginx-df45f895-b45lp', '1/2^1 10.244.1.5:8080 nginx-df45f895-kzs72'],
    ],
    [
      'a Pod to itself through its Service is masqueraded, to the others not',
      'tcp 10.244.1.4 10.96.81.51:80',
      `${NFT}/06-hairpin-and-host`,
      {},
      QUARTERS(80).map((end, i) => (i === 0 ? `${end} masquerade yes` : end)),
    ],
    [
      'nftables mode: a map of endpoints',
      'tcp 10.244.1.2 10.96.81.51:80',
      '1.36-nftables/01-seed',
      {},
      [
        '1/2^2 10.244.1.4:80 nginx-df45f895-b45lp',
        '1/2^2 10.244.1.5:80 nginx-df45f895-kzs72',
        '1/2^2 10.244.2.3:80 nginx-df45f895-h7jdv',
        '1/2^2 10.244.2.4:80 nginx-df45f895-pjfxg',
      ],
    ],
  ])('%s', async (_, text, scenario, flags, expected) => {
    expect(ends(await asked(text, scenario, flags)).sort()).toEqual([...expected].sort());
  });

  it('tells where session affinity would lead, and what it assumes of the list', async () => {
    const shown = await asked('tcp 10.244.1.2 default/sticky', `${NFT}/03-session-affinity`);
    const endings = shown.walk?.endings ?? [];
    const sticky = endings.filter(({ affinity }) => affinity);
    expect(sticky.length).toBeGreaterThan(0);
    for (const it of sticky) expect(it.assuming.join()).toMatch(/KUBE-SEP-/);
    expect(endings.some(({ affinity }) => !affinity)).toBe(true);
  });

  it('says what it took for granted', async () => {
    const { walk, remarks } = await asked('tcp 192.168.77.11 10.96.81.51:80', `${NFT}/01-seed`);
    expect(walk?.packet.from.kind).toBe('node');
    expect(remarks.join('\n')).toMatch(/192\.168\.77\.11 is the node's own address/);
  });

  it.each([
    ['a protocol that is none', 'icmp 10.244.1.2 10.96.81.51:80', /'icmp' is no protocol/],
    ['a source that is none', 'tcp pod 10.96.81.51:80', /'pod' is no client/],
    ['an unknown Pod', 'tcp shop/nobody 10.96.81.51:80', /no address of a Pod shop\/nobody/],
    ['a destination without a port', 'tcp 10.244.1.2 10.96.81.51', /has no port/],
    ['an unknown Service', 'tcp 10.244.1.2 shop/nothing:80', /shop\/nothing is known/],
    ['a port that the Service does not have', 'tcp 10.244.1.2 default/nginx:dns', /which port/],
    ['addresses of two families', 'tcp fd00::2 10.96.81.51:80', /not of one family/],
    ['a port beyond all', 'tcp 10.244.1.2 10.96.81.51:80000', /80000 is no port/],
  ])('%s is refused with what to write', async (_, text, message) => {
    const answer = asked(text, `${NFT}/01-seed`);
    await expect(answer).rejects.toThrow(UsageError);
    await expect(answer).rejects.toThrow(message);
  });

  it('is told as text, with the distribution before the walk', async () => {
    const text = await run('tcp 10.244.1.2 10.96.81.51:80', {}, `${NFT}/01-seed`);
    expect(text.indexOf('WHERE IT GOES')).toBeLessThan(text.indexOf('THE WALK'));
    expect(text).toContain('2147483649/2^33  10.244.1.5:80  default/nginx-df45f895-kzs72');
  });
});

describe('why a Pod gets nothing', () => {
  it.each([
    ['a healthy one', 'default/nginx-df45f895-b45lp', 'default/nginx', '01-seed', 'gets-its-share'],
    ['no such Pod', 'default/nobody', 'default/nginx', '01-seed', 'no-pod'],
    ['no such Service', 'default/nginx-df45f895-b45lp', 'x/y', '01-seed', 'no-service'],
    [
      'a Pod on another node behind internalTrafficPolicy Local',
      'default/nginx-df45f895-h7jdv',
      'default/itp-local',
      '04b-internal-local-hints',
      'policy-local',
    ],
    [
      'a Pod that the Service does not select',
      'default/client-5ff7cd6b77-pxkw9',
      'default/nginx',
      '01-seed',
      'not-selected',
    ],
  ])('%s', async (_, pod, to, scenario, code) => {
    const io = fakeIo();
    const flags: ExplainFlags = { ...FLAGS, output: 'json', whyNot: pod, to };
    const request = explainRequest([recorded(`${NFT}/${scenario}`)], flags, io);
    if (request.question.kind !== 'why-not') throw new Error('not what was asked');
    expect(await whyNot(request.question, request, io)).toBe(0);
    const shown: Shown = JSON.parse(io.stdout.text);
    expect(shown.findings.map((it) => it.code)).toEqual([`why-not-${code}`]);
  });

  it('a node port is asked of the rules of either family', async () => {
    const io = fakeIo();
    const [whyNotPod, to] = ['default/nginx-df45f895-b45lp', 'default/np-dual'];
    const flags: ExplainFlags = { ...FLAGS, output: 'json', whyNot: whyNotPod, to };
    const request = explainRequest([recorded(`${NFT}/07-dual-stack`)], flags, io);
    if (request.question.kind !== 'why-not') throw new Error('not what was asked');
    expect(await whyNot(request.question, request, io)).toBe(0);
    expect(io.stdout.text).toContain("to port 30086 of the node's IPv4 addresses (nodePort): 25 %");
    expect(io.stdout.text).toContain("to port 30086 of the node's IPv6 addresses (nodePort): 25 %");
  });
});
