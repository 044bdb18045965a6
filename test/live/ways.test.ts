import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  endpointChainHash,
  nameHash,
  serviceChainHash,
} from '../../src/decode/rules/chain-names.js';
import { labUnavailable } from '../../src/lab/available.js';
import type { LabService } from '../../src/lab/spec.js';
import type { TrafficOptions } from '../../src/lab/traffic.js';
import type { TruthRow } from '../../src/lab/traffic-client.js';
import { type Failed, score } from '../support/score.js';
import { buildProgram, endAll, type Said, Whichpod } from './program.js';
import {
  createWaysLab,
  EMPTY_NODE_PORT,
  EXTERNAL_IP,
  NODE,
  NODE_PORT,
  type Shape,
  type WaysLab,
  WEB6,
} from './ways-lab.js';

const MODES: readonly (Shape & { readonly mode: string })[] = [
  {
    mode: 'iptables-legacy',
    ruleBackend: 'iptables-legacy',
    layout: 'routed',
    chainNames: 'current',
  },
  { mode: 'iptables-nft', ruleBackend: 'iptables-nft', layout: 'bridge', chainNames: 'current' },
  {
    mode: 'nftables as of 1.30',
    ruleBackend: 'nftables',
    nftLayout: '1.30',
    layout: 'bridge',
    chainNames: 'current',
  },
  {
    mode: 'nftables as of 1.36',
    ruleBackend: 'nftables',
    nftLayout: '1.36',
    layout: 'routed',
    chainNames: 'current',
  },
];

const OLDER_NODE_PORT = 30_081;
const TCP_80 = { namespace: 'shop', protocol: 'tcp', port: 80, targetPort: 8080 } as const;
/** One Service in each of iptables' back ends. */
const BOTH: readonly LabService[] = [
  {
    ...TCP_80,
    name: 'newer',
    clusterIP: '10.96.0.20',
    endpoints: ['web-1', 'web-2'],
    nodePort: NODE_PORT,
  },
  {
    ...TCP_80,
    name: 'older',
    clusterIP: '10.96.0.21',
    endpoints: ['web-2', 'web-3'],
    nodePort: OLDER_NODE_PORT,
    ruleBackend: 'iptables-legacy',
  },
];

/** As the contract has it, as far as it is looked at here. */
interface Close extends Said {
  readonly protocol: string;
  readonly client: Address;
  readonly destination: Address;
  readonly service: { readonly via: string };
  readonly backend: Address & { readonly hostNetwork?: boolean };
  readonly source?: Address;
  readonly rules: {
    readonly mode: string;
    readonly backend?: string;
    readonly path: readonly string[];
    readonly probability?: number;
    readonly affinity: boolean;
  };
  readonly interfaces?: { readonly in?: string; readonly out?: string };
  readonly evidence: readonly string[];
}

interface Address {
  readonly ip: string;
  readonly port: number;
}

beforeAll(() => {
  if (process.platform === 'linux') buildProgram();
});
afterEach(endAll);

/** Complaints that a failure shows; more of the same kind explain no more. */
const SHOWN = 8;
/** How long a connection whose evidence has not come may still get it, before the run is ended and judged as it is. */
const STRAGGLERS_MS = 4_000;

/** Names of the chains of a Service's port and of its endpoints, as this mode calls them. */
function names(shape: Shape, service: string, protocol: string, endpoint: Address): string[] {
  const { ip, port } = endpoint;
  const to = ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
  if (shape.ruleBackend !== 'nftables') {
    const name = service.replace(/:$/, '');
    return [
      `KUBE-SVC-${serviceChainHash(name, protocol)}`,
      `KUBE-SEP-${endpointChainHash(name, protocol, to)}`,
    ];
  }
  const [full = '', portName = ''] = service.split(':');
  const base = `${full}/${protocol}/${portName}`;
  const own = `${base}__${ip.replaceAll(':', '.')}/${port}`;
  const hash = (text: string): string => `${nameHash(text).slice(0, 8)}-${text}`;
  return [`service-${hash(base)}`, `endpoint-${hash(own)}`];
}

describe.each(MODES)('every way of a packet with $mode', (shape) => {
  const iptables = shape.ruleBackend !== 'nftables';
  /** Ways by name: what was asked for, and what came of it. */
  const ways = new Map<string, readonly TruthRow[]>();
  const roll: { before: TruthRow[]; between: TruthRow[]; after: TruthRow[] } = {
    before: [],
    between: [],
    after: [],
  };
  let said: readonly Said[] = [];
  let closes: ReadonlyMap<string, Close> = new Map();
  let node: WaysLab | undefined;
  const unavailable = labUnavailable(shape);

  beforeEach((context) => {
    if (unavailable !== undefined) context.skip(unavailable);
  });
  afterAll(() => node?.close());
  beforeAll(async () => {
    if (unavailable !== undefined) return;
    const made = await createWaysLab(shape);
    node = made;
    const { lab } = made;
    const send = async (name: string, options: TrafficOptions): Promise<void> => {
      const rows = await lab.request({ concurrency: 4, ...options });
      ways.set(
        name,
        rows.map((row) => withSource(made, row)),
      );
    };
    // A new link takes seconds until it carries IPv6.
    await lab.request({ from: 'client', to: `[${WEB6}]:80`, count: 1 });
    const run = new Whichpod(
      ['live', '--kubeconfig', made.kubeconfig, '--node-name', 'node1', '-o', 'ndjson'],
      lab.enter('node'),
    );
    await run.watching();
    const from = 'client';
    await Promise.all([
      send('from a Pod', { from, to: 'shop/web', count: 40 }),
      send('to itself', { from: 'web-1', to: 'shop/solo', count: 10 }),
      send('from the node', { from: 'node', to: 'shop/web', count: 20 }),
      send('node port', { from: 'outside', to: `${NODE}:${NODE_PORT}`, count: 20 }),
      send('external IP', { from: 'outside', to: `${EXTERNAL_IP}:80`, count: 10 }),
      send('IPv6', { from, to: `[${WEB6}]:80`, count: 20 }),
      send('sticky', { from, to: 'shop/sticky', count: 10 }),
    ]);
    const sourcePorts = (first: number): object => ({ sourcePorts: { first, size: 100 } });
    await Promise.all([
      send('to a host-network Pod', { from, to: 'shop/host', count: 10 }),
      // Ports that the kernel chose could meet: two sockets in turn, one flow.
      send('datagrams', {
        from,
        to: 'shop/dns',
        protocol: 'udp',
        count: 20,
        ...sourcePorts(29_000),
      }),
      send('resolver', { from, to: 'shop/dns', protocol: 'udp', count: 50, keepAlive: true }),
      send('closed', { from, to: 'shop/closed', protocol: 'udp', count: 4 }),
      send('no endpoints', { from, to: 'shop/none', count: 5, ...sourcePorts(30_000) }),
      send('node port without endpoints', {
        from: 'outside',
        to: `${NODE}:${EMPTY_NODE_PORT}`,
        count: 5,
        ...sourcePorts(31_000),
      }),
      iptables
        ? send('node port at 127.0.0.1', { from: 'node', to: `127.0.0.1:${NODE_PORT}`, count: 10 })
        : undefined,
    ]);
    let port = 32_000;
    const ask = async (into: TruthRow[]): Promise<void> => {
      const own = { first: port, size: 20 };
      port += own.size; // no tuple twice
      const options = { from, to: 'shop/roll', concurrency: 4, sourcePorts: own };
      into.push(...(await lab.churn({ ...options, connections: own.size })));
    };
    await ask(roll.before);
    for (const pods of [
      ['web-1', 'web-2', 'web-5'],
      ['web-5', 'web-6'],
    ]) {
      let read = false;
      const told = run.said.all.length;
      await made.setEndpoints('shop/roll', pods);
      const reading = run.said.until((line) => line['code'] === 'rules-changed', told);
      const over = (): void => {
        read = true;
      };
      reading.then(over, over);
      while (!read) await ask(roll.between);
      await reading;
    }
    await ask(roll.after);
    await everythingNamed(run, allRows());
    run.signal('SIGINT');
    expect((await run.ended).code, run.stderr).toBe(130);
    said = run.said.all;
    closes = new Map(
      said
        .filter((line): line is Close => line.type === 'close')
        .map((close) => [tuple(close.protocol, close.client, close.destination), close]),
    );
  }, 90_000);

  function allRows(): TruthRow[] {
    // One socket that asks the same address again and again is one flow.
    const once = [...ways].flatMap(([way, rows]) => (way === 'resolver' ? rows.slice(0, 1) : rows));
    return [...once, ...Object.values(roll).flat()];
  }

  /** What whichpod said last of each connection of a way. */
  function of(way: string | readonly TruthRow[]): Close[] {
    const rows = typeof way === 'string' ? (ways.get(way) ?? []) : way;
    expect(rows.length).toBeGreaterThan(0);
    return rows.map((row) => {
      const close = closes.get(keyOf(row));
      if (close === undefined) throw new Error(`nothing was said of ${keyOf(row)}`);
      return close;
    });
  }

  it('says of each connection where it went and what came of it, and nothing else', () => {
    const failed = ({ svc }: TruthRow): Failed | undefined => {
      if (svc === 'shop/closed:') return { verdict: 'attributed', outcome: 'refused' };
      if (svc !== 'shop/none:http') return undefined;
      return { verdict: 'unattributed', reason: 'no-endpoints', outcome: 'rejected' };
    };
    expect(score(allRows(), said, { failed }).slice(0, SHOWN)).toEqual([]);
  });

  it('has nothing to complain of', () => {
    const codes = said.filter((line) => line.type === 'notice').map((line) => line['code']);
    const usual = ['cluster-listed', 'rules-read', 'rules-changed'];
    expect([...new Set(codes)].filter((code) => !usual.includes(String(code)))).toEqual([]);
  });

  it('had each way really taken', () => {
    const seenFromElsewhere = (way: string): boolean[] =>
      (ways.get(way) ?? []).map((row) => row.seenSrc !== row.src);
    const all = (yes: boolean, count: number): boolean[] => Array(count).fill(yes);
    expect(seenFromElsewhere('from a Pod')).toEqual(all(false, 40));
    expect(seenFromElsewhere('to itself')).toEqual(all(true, 10));
    expect(seenFromElsewhere('from the node')).toEqual(all(true, 20));
    expect(seenFromElsewhere('node port')).toEqual(all(true, 20));
    expect(seenFromElsewhere('external IP')).toEqual(all(true, 10));
    expect(new Set(ways.get('sticky')?.map((row) => row.pod)).size).toBe(1);
    expect(new Set(ways.get('resolver')?.map((row) => row.sport)).size).toBe(1);
    for (const way of ['closed', 'no endpoints', 'node port without endpoints']) {
      expect(new Set(ways.get(way)?.map((row) => row.err)), way).toEqual(new Set(['ECONNREFUSED']));
    }
  });

  it.each([
    ['from a Pod', 'clusterIP'],
    ['to itself', 'clusterIP'],
    ['from the node', 'clusterIP'],
    ['node port', 'nodePort'],
    ['external IP', 'externalIP'],
    ['IPv6', 'clusterIP'],
    ['sticky', 'clusterIP'],
    ['to a host-network Pod', 'clusterIP'],
    ['datagrams', 'clusterIP'],
    ['resolver', 'clusterIP'],
    ['closed', 'clusterIP'],
    ['no endpoints', 'clusterIP'],
    ['node port without endpoints', 'nodePort'],
    ['node port at 127.0.0.1', 'nodePort'],
  ])('knows by which of its addresses a Service was reached: %s', (way, via) => {
    if (!ways.has(way) && !iptables) return; // nftables mode has no node ports at 127.0.0.1
    expect(new Set(of(way).map((close) => close.service.via))).toEqual(new Set([via]));
  });

  it.each([
    ['from a Pod', 4],
    ['to itself', 1],
    ['from the node', 4],
    ['node port', 4],
    ['external IP', 4],
    ['IPv6', 4],
    ['sticky', 4],
    ['to a host-network Pod', 1],
    ['datagrams', 3],
    ['closed', 2],
  ])('explains it by the rules: %s', (way, endpoints) => {
    for (const [i, close] of of(way).entries()) {
      const { rules } = close;
      expect(rules.mode).toBe(iptables ? 'iptables' : 'nftables');
      if (iptables) expect(rules.backend).toBe(shape.ruleBackend.slice('iptables-'.length));
      const service = ways.get(way)?.[i]?.svc ?? '';
      const [chain, endpoint] = names(shape, service, close.protocol, close.backend);
      expect(rules.path).toContain(chain);
      // From 1.36 on endpoints have chains of their own only where there is affinity.
      const inline = shape.nftLayout === '1.36' && way !== 'sticky';
      expect(rules.path.at(-1)).toBe(inline ? chain : endpoint);
      expect(rules.affinity).toBe(way === 'sticky');
      if (way === 'sticky') expect(rules.probability).toBeUndefined();
      else expect(rules.probability).toBeCloseTo(1 / endpoints, 8);
    }
  });

  it.each([
    ['from a Pod', ['conntrack', 'packets', 'rules', 'cluster']],
    ['to itself', ['conntrack', 'packets', 'rules', 'cluster']],
    // What a process of the node sends is translated before any interface: seen at its far side only.
    ['from the node', ['conntrack', 'rules', 'cluster']],
    ['node port at 127.0.0.1', ['conntrack', 'rules', 'cluster']],
    ['node port', ['conntrack', 'packets', 'rules', 'cluster']],
    ['external IP', ['conntrack', 'packets', 'rules', 'cluster']],
    ['IPv6', ['conntrack', 'packets', 'rules', 'cluster']],
    // What is for the node itself leaves through no interface after its translation.
    ['to a host-network Pod', ['conntrack', 'rules', 'cluster']],
    ['datagrams', ['conntrack', 'packets', 'rules', 'cluster']],
  ])('has the evidence that there is: %s', (way, evidence) => {
    if (!ways.has(way) && !iptables) return;
    for (const close of of(way)) {
      expect(close.evidence).toEqual(expect.arrayContaining(evidence));
    }
  });

  it('names the interfaces on the way', () => {
    const veth = (pod: string): string | undefined => node?.lab.interfaces.get(pod);
    const expected = (way: string, first: string | undefined): void => {
      for (const [i, close] of of(way).entries()) {
        const out = veth(ways.get(way)?.[i]?.pod ?? '');
        expect(close.interfaces?.in, way).toBe(first);
        // On a bridged node it leaves twice: by the bridge, then by the bridge's port.
        const leaves = shape.layout === 'bridge' ? [out, 'cni0'] : [out];
        expect(leaves, way).toContain(close.interfaces?.out);
      }
    };
    expected('from a Pod', veth('client'));
    expected('to itself', veth('web-1'));
    expected('node port', 'eth0');
    expected('IPv6', veth('client'));
  });

  it('knows an endpoint with the network of the node', () => {
    for (const close of of('to a host-network Pod')) {
      expect(close.backend).toMatchObject({
        ip: NODE,
        port: 18_080,
        hostNetwork: true,
        pod: { name: 'host-1' },
        node: 'node1',
      });
    }
  });

  it('takes the many queries of a resolver for one flow', () => {
    expect(new Set(of('resolver').map((close) => close['connection'])).size).toBe(1);
  });

  it('explains each connection by the rules that were in force while endpoints changed', () => {
    const service = 'shop/roll:http';
    const probabilities = (rows: readonly TruthRow[]): number[] =>
      of(rows).map((close) => close.rules.probability ?? Number.NaN);
    for (const p of probabilities(roll.before)) expect(p).toBeCloseTo(1 / 2, 8);
    for (const p of probabilities(roll.after)) expect(p).toBeCloseTo(1 / 2, 8);
    expect(new Set(roll.before.map((row) => row.pod))).toEqual(new Set(['web-1', 'web-2']));
    expect(new Set(roll.after.map((row) => row.pod))).toEqual(new Set(['web-5', 'web-6']));
    for (const close of of([...roll.before, ...roll.between, ...roll.after])) {
      const { rules } = close as Partial<Close>;
      // One that ended before the rules were read again went where no known rule leads.
      if (rules === undefined) continue;
      const [chain, endpoint] = names(shape, service, 'tcp', close.backend);
      expect(rules.path.at(-1)).toBe(shape.nftLayout === '1.36' ? chain : endpoint);
      const off = [1 / 2, 1 / 3].map((p) => Math.abs(p - (rules.probability ?? 0)));
      expect(Math.min(...off)).toBeLessThan(1e-8);
    }
    const unexplained = of(roll.between).filter((close) => !close.evidence.includes('rules'));
    for (const close of unexplained) {
      expect(close.backend).toMatchObject({ pod: { name: expect.stringMatching(/^web-[56]$/) } });
    }
  });
});

describe('with both of iptables’ back ends live', () => {
  const unavailable = labUnavailable({ ruleBackend: 'iptables-legacy' });
  beforeEach((context) => {
    const missing = unavailable ?? labUnavailable({ ruleBackend: 'iptables-nft' });
    if (missing !== undefined) context.skip(missing);
  });

  it('tells of each Service which one holds its rules', async () => {
    const made = await createWaysLab(
      { ruleBackend: 'iptables-nft', layout: 'routed', chainNames: 'current' },
      BOTH,
    );
    try {
      const { lab } = made;
      const run = new Whichpod(
        ['live', '--kubeconfig', made.kubeconfig, '--node-name', 'node1', '-o', 'ndjson'],
        lab.enter('node'),
      );
      await run.watching();
      const churn = (from: string, to: string): Promise<readonly TruthRow[]> =>
        lab.churn({ from, to, connections: 20, concurrency: 4 });
      const rows = (
        await Promise.all([
          churn('client', 'shop/newer'),
          churn('client', 'shop/older'),
          churn('outside', `${NODE}:${NODE_PORT}`),
          churn('outside', `${NODE}:${OLDER_NODE_PORT}`),
        ])
      ).flat();
      await everythingNamed(run, rows);
      run.signal('SIGINT');
      await run.ended;
      expect(score(rows, run.said.all).slice(0, SHOWN)).toEqual([]);
      const closes = run.said.all.filter((line): line is Close => line.type === 'close');
      for (const { service, rules, evidence } of closes) {
        const { name } = service as unknown as { name: string };
        expect(rules).toMatchObject({
          mode: 'iptables',
          backend: name === 'older' ? 'legacy' : 'nft',
        });
        expect(evidence).toEqual(['conntrack', 'packets', 'rules', 'cluster']);
      }
      expect(closes).toHaveLength(rows.length);
    } finally {
      await made.close();
    }
  });
});

/** Ends the wait when each connection was named, or it is too late. */
async function everythingNamed(run: Whichpod, rows: readonly TruthRow[]): Promise<void> {
  const wanted = new Set(rows.map(keyOf));
  const strike = (line: Said): boolean => {
    if (line.type === 'attribution') {
      const { protocol, client, destination } = line as unknown as Close;
      wanted.delete(tuple(protocol, client, destination));
    }
    return wanted.size === 0;
  };
  if (run.said.all.some(strike)) return;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, STRAGGLERS_MS);
  });
  const all = run.said.until(strike);
  all.catch(() => undefined);
  await Promise.race([all, late]);
  clearTimeout(timer);
}

function tuple(protocol: string, from: Address, to: Address): string {
  return `${protocol} ${from.ip}:${from.port} -> ${to.ip}:${to.port}`;
}

function keyOf({ proto, src = '', sport = 0, dst, dport }: TruthRow): string {
  return tuple(proto, { ip: src, port: sport }, { ip: dst, port: dport });
}

/** A connection that was never made does not know its own address: it can only be the client's. */
function withSource({ lab }: WaysLab, row: TruthRow): TruthRow {
  const pod = lab.options.pods.find(({ name }) => name === row.from);
  const src = row.from === 'outside' ? lab.options.outsideAddress : pod?.ip;
  return src === undefined ? row : { src, ...row };
}
