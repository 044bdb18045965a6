import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { runCli } from '../../src/cli/program.js';
import { type RulesFlags, rulesRequest } from '../../src/cli/rules/request.js';
import type { Audit } from '../../src/model/rule-view.js';
import { expectGolden } from '../sinks/golden.js';
import { fakeCommands, fakeIo } from './fake-io.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const pcap = (name: string): string => join(ROOT, 'pcaps', name);

async function rules(...args: readonly string[]) {
  return await rulesOn(undefined, ...args);
}

/** Runs it, on a terminal of so many columns or into a pipe. */
async function rulesOn(columns: number | undefined, ...args: readonly string[]) {
  const stdout = columns !== undefined;
  const io = fakeIo({
    columns: () => columns,
    terminal: { stdout, stderr: false },
    env: { NO_COLOR: '1' },
  });
  const code = await runCli(['rules', ...args], io, fakeCommands());
  return { code, stdout: io.stdout.text, stderr: io.stderr.text };
}

/** The JSON that a run wrote. */
async function report(...args: readonly string[]) {
  const { code, stdout, stderr } = await rules(...args, '-o', 'json');
  expect(stdout, stderr).not.toBe('');
  return { code, ...(JSON.parse(stdout) as Report) };
}

interface Report {
  readonly schema: string;
  readonly cluster: boolean;
  readonly services: readonly {
    readonly service?: { readonly namespace: string; readonly name: string };
    readonly ways: readonly { readonly via: string; readonly refused?: object }[];
    readonly balancers: readonly {
      readonly chain?: string;
      readonly scope: string;
      readonly affinity: boolean;
      readonly affinitySeconds?: number;
      readonly endpoints: readonly {
        readonly ip: string;
        readonly probability: number;
        readonly exact?: string;
        readonly chance?: { readonly packets: number; readonly bytes: number };
        readonly pod?: { readonly name: string };
        readonly state?: string;
      }[];
    }[];
  }[];
  readonly drift: readonly object[];
  readonly audit?: readonly Audit[];
}

const golden = (name: string, text: string): void =>
  expectGolden(new URL(`data/${name}`, import.meta.url), text);

const FLAGS: RulesFlags = { color: true, cluster: true };
const around = (...there: readonly string[]) => ({
  env: {},
  exists: (path: string) => there.includes(path),
});

describe('arguments', () => {
  it.each<[string, readonly string[], Partial<RulesFlags>, object]>([
    ['nothing: the live node', [], {}, { inputs: [], format: 'tree', rules: 'auto', cluster: {} }],
    ['a Service', ['shop/web'], {}, { service: { namespace: 'shop', name: 'web' }, inputs: [] }],
    ['a path', ['shop/dump'], {}, { inputs: [{ path: 'shop/dump' }] }],
    [
      'a Service and a path',
      ['shop/web', 'x.txt'],
      {},
      { inputs: [{ path: 'x.txt' }], service: { name: 'web' } },
    ],
    ['a path that could be no Service', ['./a/b'], {}, { inputs: [{ path: './a/b' }] }],
    ['a node and a path', ['node1=rec/a'], {}, { inputs: [{ node: 'node1', path: 'rec/a' }] }],
    ['watch', [], { watch: true }, { watchNs: 2e9 }],
    ['watch with an interval', [], { watch: '500ms' }, { watchNs: 5e8 }],
    [
      'watch that took the Service',
      [],
      { watch: 'shop/web' },
      { watchNs: 2e9, service: { name: 'web' } },
    ],
    ['to fail on skew is to audit', [], { failOn: ['skew'] }, { audit: true, drift: false }],
    ['to fail on both', [], { failOn: ['skew,drift'] }, { audit: true, drift: true }],
    ['no cluster', [], { cluster: false }, { failOn: [] }],
  ])('%s', (_, args, flags, expected) => {
    expect(rulesRequest(args, { ...FLAGS, ...flags }, around('shop/dump'))).toMatchObject(expected);
  });

  it('a path that reads like a Service is taken for the path, and that is told', () => {
    const { inputs, remarks } = rulesRequest(['shop/dump'], FLAGS, around('shop/dump'));
    expect(inputs).toEqual([{ path: 'shop/dump' }]);
    expect(remarks).toEqual([expect.stringContaining('write --service shop/dump')]);
    const both = rulesRequest(['x'], { ...FLAGS, service: 'shop/dump' }, around('shop/dump'));
    expect(both).toMatchObject({ service: { namespace: 'shop', name: 'dump' }, remarks: [] });
  });

  it.each<[string, readonly string[], Partial<RulesFlags>]>([
    ['-o', [], { output: 'yaml' }],
    ['--service', [], { service: 'web' }],
    ['--fail-on', [], { failOn: ['loss'] }],
    ['--watch', [], { watch: '10ms' }],
    ['--watch', [], { watch: '5' }],
    ['--watch', [], { watch: true, audit: true }],
    ['--watch', [], { watch: true, drift: true }],
    ['--duration', ['x'], { duration: '10s', audit: true }],
    ['--duration', [], { duration: '10s' }],
    ['--over', ['x'], { over: 'bytes' }],
    ['--over', [], { over: 'counters' }],
    ['--node-name', ['x'], { nodeName: 'node1' }],
    ['--objects', ['x'], { objects: ['y'] }],
    ['--objects', [], { objects: ['y'], context: 'z' }],
    ['--no-cluster', [], { cluster: false, kubeconfig: 'z' }],
    ['--settle', [], { settle: 'soon' }],
    ['--tz', [], { tz: 'UTC' }],
  ])('%s: what is wrong is told in one line', (option, args, flags) => {
    expect(() => rulesRequest(args, { ...FLAGS, ...flags }, around())).toThrow(
      new RegExp(`^${option}: .*; .*|^${option}: `),
    );
  });
});

describe('what people read', () => {
  it.each([80, 120])('as a tree on %i columns', async (columns) => {
    const { stdout, code } = await rulesOn(
      columns,
      pcap('1.30-iptables-nft/04-nodeport-lb-external'),
    );
    expect(code).toBe(0);
    // A Service's name is left whole: it is what one copies.
    for (const line of stdout.split('\n')) {
      if (!/^[a-z0-9-]+\//.test(line)) expect(line.length).toBeLessThanOrEqual(columns);
    }
    golden(`rules-tree-${columns}.txt`, stdout);
  });

  it.each([80, 120])('as a table on %i columns', async (columns) => {
    const { stdout } = await rulesOn(columns, pcap('tutorial'), '-o', 'table');
    golden(`rules-table-${columns}.txt`, stdout);
  });

  it('of nftables, of refusals and of affinity', async () => {
    const { stdout } = await rulesOn(100, pcap('1.36-nftables/05-no-endpoints'));
    golden('rules-tree-nftables.txt', stdout);
  });

  it.each([
    ['of an audit', 'rules-audit.txt', ['1.30-iptables-nft/08-rolling-update', '--audit']],
    ['of counters that moved', 'rules-moves.txt', ['tutorial', '--watch']],
    ['of no difference', 'rules-drift-none.txt', ['tutorial', '--drift']],
  ])('%s', async (_, file, [name = '', ...args]) => {
    const { stdout } = await rulesOn(100, pcap(name), ...args);
    golden(file, stdout);
  });
});

describe('recordings', () => {
  it.each([
    '1.30-iptables-legacy/01-seed',
    '1.30-iptables-nft/01-seed',
    '1.30-iptables-nft-ptp/01-seed',
  ])('the counters of %s are the truth, Pod by Pod', async (name) => {
    const truth = gunzipSync(readFileSync(join(pcap(name), 'truth.jsonl.gz'))).toString();
    const served = new Map<string, number>();
    for (const line of truth.trim().split('\n')) {
      const { pod } = JSON.parse(line) as { pod?: string };
      if (pod !== undefined) served.set(pod, (served.get(pod) ?? 0) + 1);
    }
    const { stdout } = await rules(pcap(name), '--watch', '-o', 'json');
    const counted = new Map<string, number>();
    for (const line of stdout.trim().split('\n')) {
      const { type, endpoint, before, after } = JSON.parse(line);
      expect(type).toBe('moved');
      const pod = endpoint.pod.name;
      counted.set(pod, (counted.get(pod) ?? 0) + after.packets - before.packets);
    }
    expect(Object.fromEntries(counted)).toEqual(Object.fromEntries(served));
  });

  it.each([
    '1.30-iptables-legacy/01-seed',
    '1.30-iptables-nft/04b-internal-local-hints',
    '1.30-iptables-nft/05-no-endpoints',
    '1.30-iptables-nft/05b-endpoint-dies',
    '1.30-iptables-nft/08-rolling-update',
    '1.36-iptables-nft/25-hostport',
    '1.30-nftables/03-session-affinity',
    '1.36-nftables/07-dual-stack',
  ])('the rules of %s are what the cluster says', async (name) => {
    const { drift, cluster, services, code } = await report(pcap(name), '--fail-on', 'drift');
    expect([code, cluster, drift]).toEqual([0, true, []]);
    for (const { balancers } of services) {
      for (const { endpoints } of balancers) {
        const sum = endpoints.reduce((n, { probability }) => n + probability, 0);
        expect(sum).toBeCloseTo(1, 8);
      }
    }
  });

  it.each([
    ['1.30-iptables-nft/01-seed', 2],
    ['1.30-iptables-nft/08-rolling-update', 1],
    ['1.36-nftables/01-seed', 2],
  ])('the connections of %s are spread as its rules say', async (name, chains) => {
    const { code, audit = [] } = await report(pcap(name), '--audit', '--fail-on', 'skew');
    expect(audit.map(({ verdict, over }) => `${verdict} ${over}`)).toEqual(
      Array.from({ length: chains }, () => 'even connections'),
    );
    expect(code).toBe(0);
  });

  it('counters and connections of one recording are the same numbers', async () => {
    const name = pcap('1.30-iptables-nft/01-seed');
    const numbers = async (over: string): Promise<string[]> => {
      const { audit = [] } = await report(name, '--audit', '--over', over);
      const used = audit.filter(({ total }) => total > 0);
      return used
        .flatMap(({ chain, endpoints }) =>
          endpoints.map(({ ip, observed }) => `${chain} ${ip} ${observed}`),
        )
        .sort();
    };
    expect(await numbers('counters')).toEqual(await numbers('connections'));
  });

  it('shares are exact where that is asked for', async () => {
    const { services } = await report(pcap('tutorial'), '--exact');
    const exact = services[0]?.balancers[0]?.endpoints.map((it) => it.exact);
    // 1/4; 3/4 of 715827883/2^31; half of what is left then, twice.
    expect(exact).toEqual(['1/2^2', '2147483649/2^33', '4294967295/2^34', '4294967295/2^34']);
  });

  it('affinity is told with its time, and who returns is no matter of chance', async () => {
    for (const name of [
      '1.30-iptables-nft/03-session-affinity',
      '1.36-nftables/03-session-affinity',
    ]) {
      const { services } = await report('default/sticky-10s', pcap(name));
      expect(services.flatMap(({ balancers }) => balancers)).toMatchObject([
        { affinity: true, affinitySeconds: 10 },
      ]);
    }
    const { audit = [] } = await report(pcap('1.30-iptables-nft/03-session-affinity'), '--audit');
    expect(audit.map(({ verdict }) => verdict)).toEqual(['too few', 'too few']);
  });

  it.each([
    ['an unknown Service', ['nope/nope', 'tutorial'], 2, /no Service nope\/nope .* default\/nginx/],
    ['no rules at all', ['tutorial/api'], 2, /no rules among the inputs/],
    ['counters that are not there', ['1.36-nftables/01-seed', '--watch'], 2, /have no counters/],
    ['no earlier dump', ['tutorial/iptables-save.txt', '--watch'], 2, /one dump of rules/],
    ['a path that is not there', ['nowhere.txt'], 2, /nowhere\.txt/],
  ])('%s ends with one line that says what to do', async (_, args, code, said) => {
    const paths = args.map((arg) => (/^(?:-|nope)/.test(arg) ? arg : pcap(arg)));
    const run = await rules(...paths);
    expect(run.code).toBe(code);
    expect(run.stderr).toMatch(said);
    expect(run.stderr.trim().split('\n')).toHaveLength(1);
    expect(run.stdout).toBe('');
  });

  it.each([['--drift'], ['--fail-on', 'drift']])(
    'without a cluster %s says that it cannot compare',
    async (...flags) => {
      const { code, stdout, stderr } = await rules(...flags, pcap('tutorial/iptables-save.txt'));
      expect(code).toBe(2);
      expect(stdout).toBe('');
      expect(stderr).toMatch(/no cluster to compare the rules with; add what kubectl get/);
    },
  );

  it('a table that goes to no terminal is whole', async () => {
    const { stdout } = await rules('-o', 'table', pcap('tutorial'));
    expect(stdout).toContain('nginx-86c57db685-9dxmk  10.32.0.4:80');
    expect(stdout).toContain('CHAIN');
    expect(stdout).not.toContain('…');
  });

  it('without a cluster addresses stand for Pods, and nothing is compared', async () => {
    const { stdout } = await rules(pcap('tutorial/iptables-save.txt'));
    expect(stdout).toContain('10.44.0.1:80');
    expect(stdout).toContain('no cluster is known');
    expect(stdout).not.toContain('POD');
  });
});

/** A recorded run on node1, of 2026-11-23 06:07. */
const RUN = join(ROOT, 'test/record/data/lab.pcapng');
const SEVERAL = /^rules are in a recorded run and in dumps: .* read last are shown$/m;

describe('a recorded run', () => {
  const chains = ({ services }: Report): readonly (string | undefined)[] =>
    services.flatMap(({ balancers }) => balancers.map(({ chain }) => chain));

  it('gives its rules alone, and beside captures and objects that have none', async () => {
    const alone = await report(RUN);
    expect(chains(alone)).toContain('KUBE-SVC-LAF2ZDBAKA4Q7TYP');
    const beside = await rules(
      RUN,
      pcap('tutorial/capture.pcapng'),
      pcap('tutorial/api'),
      '-o',
      'json',
    );
    expect(chains(JSON.parse(beside.stdout) as Report)).toEqual(chains(alone));
    expect(beside.stderr).not.toMatch(SEVERAL);
  });

  it.each([
    [
      'dumps of before it are replaced by it',
      'tutorial',
      'KUBE-SVC-LAF2ZDBAKA4Q7TYP',
      'KUBE-SVC-4N57TFCL4MD7ZTDA',
    ],
    [
      'dumps of after it replace it',
      'tutorial/iptables-save.txt@2026-11-24T00:00:00Z',
      'KUBE-SVC-4N57TFCL4MD7ZTDA',
      'KUBE-SVC-LAF2ZDBAKA4Q7TYP',
    ],
  ])('%s, whatever is named first, and that is told', async (_, path, chain, not) => {
    const runs = [
      await rules(RUN, pcap(path), '-o', 'json'),
      await rules(pcap(path), RUN, '-o', 'json'),
    ];
    for (const { stdout, stderr } of runs) {
      expect(stderr).toMatch(SEVERAL);
      const found = chains(JSON.parse(stdout) as Report);
      expect(found).toContain(chain);
      expect(found).not.toContain(not);
    }
    expect(runs[1]?.stdout).toBe(runs[0]?.stdout);
  });

  it('shows how its counters moved, and what it attributed', async () => {
    const watched = await rules(RUN, '--watch');
    expect([watched.code, watched.stderr]).toEqual([
      0,
      expect.stringMatching(/counters moved between \d+ dumps/),
    ]);
    const { audit = [] } = await report(RUN, '--audit');
    expect(audit.map(({ verdict }) => verdict)).toEqual(['too few']);
  });
});

it('says how much of a damaged input is lost, as replay does', async () => {
  const { stderr } = await rules(pcap('malformed/watch-gone.jsonl'), pcap('tutorial'));
  expect(stderr).toMatch(/watch-gone\.jsonl: .* \[1 lost\]; record the watch again/);
});
