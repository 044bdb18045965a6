import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { labUnavailable } from '../../src/lab/available.js';
import { createLab, type Lab } from '../../src/lab/lab.js';
import type { RuleBackend } from '../../src/lab/spec.js';
import { Namespace } from '../native/namespace.js';
import { FakeApiServer } from '../support/fake-api-server.js';
import { writeKubeconfig } from '../support/kubeconfig.js';
import { nodeState } from './node-lab.js';
import { buildProgram, endAll, Whichpod } from './program.js';

interface Check {
  readonly check: string;
  readonly level: string;
  readonly fact: string;
  readonly remedy?: string;
}

interface Report {
  readonly code: number | null;
  readonly works: boolean;
  readonly live: object;
  readonly checks: readonly Check[];
  /** By its name; empty if it was not told. */
  of(check: string): Partial<Check>;
}

/** Runs doctor to its end. */
async function doctor(prefix: readonly string[], ...args: string[]): Promise<Report> {
  const run = new Whichpod(['doctor', '--json', ...args], prefix);
  const { code } = await run.ended;
  const [said, ...more] = run.said.all;
  if (said?.type !== 'doctor' || more.length > 0) {
    throw new Error(`doctor said ${run.said.all.length} things, and: ${run.stderr}`);
  }
  const { works, live, checks } = said as unknown as Report;
  return {
    code,
    works,
    live,
    checks,
    of: (name) => checks.find(({ check }) => check === name) ?? {},
  };
}

/** A node with two Pods that serve and one that asks. */
function createNode(ruleBackend: RuleBackend): Promise<Lab> {
  const service = { namespace: 'shop', protocol: 'tcp', port: 80, targetPort: 80 } as const;
  return createLab({
    layout: 'routed',
    ruleBackend,
    chainNames: 'current',
    pods: ['web-1', 'web-2', 'client'].map((name, i) => ({
      namespace: 'shop',
      name,
      ip: `10.244.1.${i + 2}`,
    })),
    clusterCIDR: '10.244.0.0/16',
    podCIDR: '10.244.1.0/24',
    gateway: '10.244.1.1',
    nodeName: 'node1',
    nodeAddress: '192.168.77.11',
    outsideAddress: '192.168.77.1',
    services: [
      { ...service, name: 'web', clusterIP: '10.96.0.10', endpoints: ['web-1', 'web-2'] },
      { ...service, name: 'empty', clusterIP: '10.96.0.11', endpoints: [] },
    ],
  });
}

beforeAll(() => {
  if (process.platform === 'linux') buildProgram();
});
afterEach(endAll);

/** Rules of all kinds and settings. */
async function state(node: Lab): Promise<string> {
  const { stdout } = await node.exec('node', ['nft', 'list', 'ruleset']);
  return (await nodeState(node)) + stdout.replace(/packets \d+ bytes \d+/g, '');
}

describe.each([
  ['iptables-nft', 'iptables (nft)', 'iptables'],
  ['iptables-legacy', 'iptables (legacy)', 'iptables'],
  ['nftables', 'nftables', 'nftables'],
] as const)('on a node with rules in %s', (ruleBackend, place, mode) => {
  let node: Lab;
  beforeEach((context) => {
    const unavailable = labUnavailable({ ruleBackend });
    if (unavailable !== undefined) context.skip(unavailable);
  });
  beforeAll(async () => {
    if (labUnavailable({ ruleBackend }) !== undefined) return;
    node = await createNode(ruleBackend);
  });
  afterAll(() => node?.close());

  it('live will work, and nothing is changed', async () => {
    const before = await state(node);
    const report = await doctor(node.enter('node'), '--no-cluster');
    expect(report.checks.filter(({ level }) => level !== 'ok')).toEqual([]);
    expect(report).toMatchObject({
      code: 0,
      works: true,
      live: { packets: 'ring', conntrack: 'netlink', rules: [place], cluster: 'none' },
    });
    expect(report.of('proxy-mode').fact).toBe(`${mode}, as the rules show`);
    expect(report.of('back-ends').fact).toBe(`${place}: 2 Service addresses of IPv4`);
    expect(report.of('pod-network').fact).toMatch(/^routed veths \(ptp, kindnet\), 3 interfaces/);
    expect(await state(node)).toBe(before);
  });
});

describe('on a node', () => {
  const SHAPE = { ruleBackend: 'iptables-nft' } as const;
  let node: Lab;
  beforeEach((context) => {
    const unavailable = labUnavailable(SHAPE);
    if (unavailable !== undefined) context.skip(unavailable);
  });
  beforeAll(async () => {
    if (labUnavailable(SHAPE) === undefined) node = await createNode(SHAPE.ruleBackend);
  });
  afterAll(() => node?.close());

  it('live could not work without CAP_NET_RAW', async () => {
    const without = ['setpriv', '--bounding-set=-net_raw', '--inh-caps=-net_raw'];
    const report = await doctor([...node.enter('node'), ...without], '--no-cluster');
    expect(report).toMatchObject({ code: 1, works: false, live: { packets: 'none' } });
    expect(report.of('packets')).toMatchObject({
      level: 'fail',
      fact: expect.stringContaining('EPERM'),
      remedy: expect.stringContaining('NET_RAW'),
    });
  });

  it('live would have packets alone without CAP_NET_ADMIN', async () => {
    const without = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin'];
    const report = await doctor([...node.enter('node'), ...without], '--no-cluster');
    expect(report).toMatchObject({
      code: 0,
      live: { packets: 'ring', conntrack: 'none', rules: [] },
    });
    expect(report.of('capabilities')).toMatchObject({ level: 'warn' });
    expect(report.of('conntrack-socket')).toMatchObject({ level: 'warn' });
    expect(report.of('rules-unread')).toMatchObject({
      level: 'warn',
      remedy: expect.stringContaining('CAP_NET_ADMIN'),
    });
    expect(report.of('datapath').fact).toContain('is not known: the rules could not be read');
  });

  it('a user namespace of its own gives no right to the node', async () => {
    const other = ['unshare', '--user', '--map-root-user'];
    const report = await doctor([...node.enter('node'), ...other], '--no-cluster');
    expect(report).toMatchObject({ code: 1, live: { packets: 'none', conntrack: 'none' } });
    expect(report.of('user-namespace').level).toBe('warn');
    // It has all capabilities, and they count for nothing here.
    expect(report.of('capabilities').level).toBe('ok');
    expect(report.of('packets').level).toBe('fail');
  });

  it('live would have no rules without the programs', async () => {
    const hidden = [
      'for d in /usr/sbin /sbin; do [ -L $d ] || mount -t tmpfs none $d; done',
      'PATH=/nowhere',
      'export PATH',
      'exec "$@"',
    ].join('; ');
    const prefix = ['unshare', '--mount', 'sh', '-c', hidden, 'sh'];
    const report = await doctor([...node.enter('node'), ...prefix], '--no-cluster');
    expect(report).toMatchObject({ code: 0, live: { packets: 'ring', rules: [] } });
    for (const program of ['iptables', 'ip6tables']) {
      expect(report.of(program)).toMatchObject({
        level: 'warn',
        remedy: expect.stringContaining('install the package iptables'),
      });
    }
    expect(report.of('conntrack').fact).toBe('conntrack is not there; netlink needs none');
    // Without ip, /proc tells the names.
    expect(report.of('pod-network').fact).toContain('3 interfaces to Pods');
  });

  it('conntrack that says nothing is told, with what to do', async () => {
    const events = '/proc/sys/net/netfilter/nf_conntrack_events';
    const { code } = await node.exec('node', ['sh', '-c', `echo 0 >${events}`]);
    expect(code).toBe(0);
    const report = await doctor(node.enter('node'), '--no-cluster');
    await node.exec('node', ['sh', '-c', `echo 2 >${events}`]);
    expect(report.of('events')).toMatchObject({
      level: 'warn',
      remedy: expect.stringContaining('nf_conntrack_events=1'),
    });
  });

  it("kube-proxy's own word is heard, and what contradicts it", async () => {
    const answers = `require('node:http').createServer((q, s) => s.end(q.url === '/proxyMode' ? 'nftables' : 'x 1\\nkubernetes_build_info{major="1",git_version="v1.33.2"} 1\\n')).listen(10249, '127.0.0.1')`;
    const script = `"$1" -e "$2" & pid=$!; while ! ss -ltn | grep -q :10249; do sleep 0.05; done; shift 2; "$@"; code=$?; kill $pid; exit $code`;
    const prefix = ['sh', '-c', script, 'sh', process.execPath, answers];
    const report = await doctor([...node.enter('node'), ...prefix], '--no-cluster');
    expect(report.of('kube-proxy-version').fact).toBe('kube-proxy 1.33.2');
    expect(report.of('proxy-mode')).toMatchObject({
      level: 'warn',
      fact: 'kube-proxy says nftables, its rules show iptables',
    });
  });

  it("a Pod's own namespace is not the place", async () => {
    const report = await doctor(node.enter('client'), '--no-cluster');
    expect(report).toMatchObject({ code: 1, works: false });
    expect(report.of('network-namespace')).toMatchObject({
      level: 'fail',
      fact: expect.stringContaining("a Pod's own network namespace"),
      remedy: "enter the node's: nsenter --target 1 --net",
    });
    const inPod = ['env', 'KUBERNETES_SERVICE_HOST=10.96.0.1'];
    const told = await doctor([...node.enter('client'), ...inPod], '--no-cluster');
    expect(told.of('network-namespace').remedy).toContain('hostNetwork: true');
  });
});

describe('where nothing is', () => {
  let empty: Namespace | undefined;
  beforeEach((context) => {
    const unavailable = labUnavailable();
    if (unavailable !== undefined) context.skip(unavailable);
  });
  beforeAll(() => {
    if (labUnavailable() === undefined) empty = new Namespace();
  });
  afterAll(() => empty?.destroy());

  it('live could not work', async () => {
    const enter = ['ip', 'netns', 'exec', empty?.name ?? ''];
    const report = await doctor(enter, '--no-cluster');
    expect(report).toMatchObject({ code: 1, works: false });
    expect(report.of('network-namespace')).toMatchObject({ level: 'fail' });
    expect(report.of('datapath').fact).toBe('nobody that directs Services was found');
  });
});

describe('asking the cluster', () => {
  const NODES = [{ metadata: { name: 'node1' } }, { metadata: { name: 'node2' } }];
  let server: FakeApiServer;
  let folder: string;
  beforeEach(async (context) => {
    if (process.platform !== 'linux') context.skip('not Linux');
    server = await FakeApiServer.start();
    server.load('nodes', { metadata: { resourceVersion: '7' }, items: NODES });
    folder = mkdtempSync(join(tmpdir(), 'whichpod-doctor-'));
  });
  afterEach(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });
  const ask = (...args: string[]): Promise<Report> => {
    const file = writeKubeconfig(folder, { server: server.url, user: {} });
    return doctor([], '--kubeconfig', file, ...args);
  };

  it('says who this node is, and that everything may be read', async () => {
    const report = await ask('--node-name', 'node2');
    expect(report.live).toMatchObject({ cluster: 'api' });
    expect(report.of('rights')).toMatchObject({
      level: 'ok',
      fact: 'may list and watch pods, services, endpointslices, nodes',
    });
    expect(report.of('node-name')).toMatchObject({ level: 'ok', fact: 'this node is node2' });
    expect(report.of('clock-skew').level).toBe('ok');
  });

  it('says what may not be read, and who is not there', async () => {
    server.denied.add('watch pods');
    server.denied.add('list nodes');
    server.denied.add('watch nodes');
    const report = await ask('--node-name', 'node9');
    expect(report.live).toMatchObject({ cluster: 'partly' });
    expect(report.of('rights-pods')).toMatchObject({ level: 'warn', fact: 'may not watch pods' });
    expect(report.of('rights-nodes').fact).toBe('may not list and watch nodes');
    expect(report.of('node-name')).toMatchObject({
      level: 'warn',
      fact: 'no Node object is called node9',
    });
  });

  it('goes on without one that is not there', async () => {
    const file = writeKubeconfig(folder, { server: server.url, user: {} });
    await server.stop();
    const report = await doctor([], '--kubeconfig', file);
    expect(report.live).toMatchObject({ cluster: 'none' });
    expect(report.of('api')).toMatchObject({
      level: 'warn',
      fact: expect.stringMatching(/^http:.*ECONNREFUSED/),
    });
  });
});
