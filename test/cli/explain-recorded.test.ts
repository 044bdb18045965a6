import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { recordedCase } from '../../src/cli/explain/recorded.js';
import { explainRequest } from '../../src/cli/explain/request.js';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { explainCase } from '../../src/explain/explain.js';
import { exploreWalk } from '../../src/explain/walk/explore.js';
import { formatEndpoint } from '../../src/model/address.js';
import type { Case, SeenPacket } from '../../src/model/case.js';
import { UsageError } from '../../src/model/problem.js';
import { formatNanos } from '../../src/model/time.js';
import { ethernet, ipv4, pcap, tcp } from '../support/capture-builder.js';
import { fakeIo } from './fake-io.js';

const folder = mkdtempSync(join(tmpdir(), 'whichpod-explain-recorded-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const pcaps = (path: string): string =>
  fileURLToPath(new URL(`../../pcaps/${path}`, import.meta.url));

async function caseOf(
  words: readonly string[],
  flags: Parameters<typeof explainRequest>[1] | object = {},
  io = fakeIo(),
): Promise<{ readonly found: Case; readonly stderr: string }> {
  const request = explainRequest(words, { cluster: true, color: true, ...flags }, io);
  if (request.question.kind !== 'connection') throw new Error('not of a connection');
  const found = await recordedCase(request.question.selector, request, io);
  if (found === undefined) throw new Error('no case');
  return { found, stderr: io.stderr.text };
}

/** As tshark shows a packet, in the fields that both have. */
function shown({ time, interface: name, from, to, kind, sequence }: SeenPacket): string {
  return `${formatNanos(time).slice(11, -1)} ${name} ${formatEndpoint(from.ip, from.port)} ${formatEndpoint(to.ip, to.port)} ${kind} ${sequence}`;
}

const REUSED = pcaps('1.30-iptables-nft/12-source-port-reuse');
const REUSED_INPUTS = [
  `${REUSED}/any.pcap.gz`,
  `${REUSED}/conntrack-events.txt.gz`,
  `${REUSED}/conntrack-events.xml.gz`,
  `${REUSED}/iptables-save.txt.gz`,
  `${REUSED}/api`,
];

/** tshark -r any.pcap -Y tcp.port==44001, the second use: time, interface, ends, flags, sequence number. */
const PACKETS = [
  '19:57:49.046944000 if5 10.244.1.2:44001 10.96.55.33:80 syn 1840287164',
  '19:57:49.046984000 if11 10.244.1.2:44001 10.244.1.5:8080 syn 1840287164',
  '19:57:49.046992000 if2 10.244.1.2:44001 10.244.1.5:8080 syn 1840287164',
  '19:57:49.047010000 if11 10.244.1.5:8080 10.244.1.2:44001 syn-ack 639834991',
  '19:57:49.047016000 if5 10.96.55.33:80 10.244.1.2:44001 syn-ack 639834991',
  '19:57:49.047018000 if2 10.244.1.5:8080 10.244.1.2:44001 syn-ack 639834991',
  '19:57:49.047774000 if5 10.244.1.2:44001 10.96.55.33:80 rst 1840287243',
  '19:57:49.047783000 if11 10.244.1.2:44001 10.244.1.5:8080 rst 1840287243',
  '19:57:49.047784000 if2 10.244.1.2:44001 10.244.1.5:8080 rst 1840287243',
];
/** The same for all uses: nine each. */
const TOTAL = 108;

describe('a use of addresses that are used again every 100 ms', () => {
  it('has its own packets at each place, in order, as tshark shows them', async () => {
    const { found } = await caseOf(['10.244.1.2:44001', ...REUSED_INPUTS], { nth: '2' });
    expect(found.packets.map(shown)).toEqual(PACKETS);
    expect(found.packets.map(({ way, view }) => `${way} ${view}`)).toEqual([
      'forward original',
      'forward translated',
      'forward translated',
      'back translated',
      'back original',
      'back translated',
      'forward original',
      'forward translated',
      'forward translated',
    ]);
    expect(found.looked).toEqual({
      packets: true,
      conntrack: true,
      rules: true,
      cluster: true,
      interfaces: expect.arrayContaining(['if2', 'if5', 'if11']),
    });
  });

  it('assumes nothing of Pods’ addresses where the node’s own are not known', async () => {
    const { found } = await caseOf(['10.244.1.2:44001', ...REUSED_INPUTS], { nth: '2' });
    expect(found.node.addresses).toBeUndefined();
    const { walk } = explainCase(found, exploreWalk);
    expect(walk?.possible.endings.flatMap(({ assuming }) => assuming)).toEqual([]);
  });

  it('has its own entry’s events, each once though they were printed twice', async () => {
    const { found } = await caseOf(['10.244.1.2:44001', ...REUSED_INPUTS], { nth: '2' });
    expect(
      found.conntrack.map(({ time, event, state }) => [
        formatNanos(time ?? 0n).slice(17, 26),
        event,
        state,
      ]),
    ).toEqual([
      ['49.047136', 'new', 'SYN_SENT'],
      ['49.047148', 'update', 'SYN_RECV'],
      ['49.047151', 'update', 'ESTABLISHED'],
      expect.arrayContaining(['update', 'CLOSE']),
      ['49.159100', 'destroy', 'CLOSE'],
    ]);
  });

  it('knows the rules, the entry, the endpoints and who came before', async () => {
    const { found } = await caseOf(['10.244.1.2:44001', ...REUSED_INPUTS], { nth: '3' });
    expect(found.rules.map(({ kind, family }) => [kind, family])).toEqual([['iptables', 4]]);
    expect(found.entries).toMatchObject([{ address: '10.96.55.33', port: 80, via: 'clusterIP' }]);
    expect(found.cluster.service).toMatchObject({ namespace: 'default', name: 'nginx-alt' });
    expect(found.cluster.endpoints).toHaveLength(4);
    expect(found.cluster.backendPod?.ips).toContain(found.attribution.backend?.ip);
    const before = (found.earlier ?? []).map(({ time }) => time);
    expect(before.length).toBeGreaterThanOrEqual(2);
    expect(before).toEqual([...before].sort((a, b) => (a < b ? 1 : -1)));
  });

  it('shares none of its packets with another use, and none is left over', async () => {
    let sum = 0;
    const times = new Set<string>();
    for (let nth = 1; nth <= 12; nth++) {
      const { found } = await caseOf(
        ['10.244.1.2:44001', `${REUSED}/any.pcap.gz`, `${REUSED}/iptables-save.txt.gz`],
        { nth: String(nth) },
      );
      sum += found.packets.length;
      for (const packet of found.packets) times.add(shown(packet));
    }
    expect(times.size).toBe(sum);
    expect(sum).toBe(TOTAL);
  });

  it('is the last that failed where none is asked for; a number that is not there is said', async () => {
    const { found, stderr } = await caseOf(['10.244.1.2:44001', ...REUSED_INPUTS]);
    expect(stderr).toContain('12 connections match (10.244.1.2:44001)');
    expect(stderr).toMatch(/^> +12 /m);
    expect(found.attribution.outcome).toBe('reset');
    await expect(caseOf(['10.244.1.2:44001', ...REUSED_INPUTS], { nth: '13' })).rejects.toThrow(
      /--nth: there is no number 13: 12 connections match/,
    );
  });

  it('is the same from a pipe, which can be read only once', async () => {
    const bytes = gunzipSync(readFileSync(`${REUSED}/any.pcap.gz`));
    const inputs = ['-', ...REUSED_INPUTS.slice(1)];
    const { Readable } = await import('node:stream');
    const io = fakeIo({ stdin: Readable.from([bytes]) });
    const piped = await caseOf(['10.244.1.2:44001', ...inputs], {}, io);
    const { found } = await caseOf(['10.244.1.2:44001', ...REUSED_INPUTS]);
    expect(piped.found.packets).toEqual(found.packets);
    expect(piped.found.conntrack).toEqual(found.conntrack);
    expect(piped.found.attribution).toEqual(found.attribution);
  });
});

describe('what there is not', () => {
  it.each([
    ['an id of nothing', ['0123456789abcdef'], {}, /none of the \d+ connections .* matches/],
    [
      'a port of nobody',
      ['10.244.1.2:1'],
      {},
      /nearest: 10\.244\.1\.2:44\d+ -> default\/nginx-alt/,
    ],
    ['a Service of nobody', [], { to: 'other/nginx-alt' }, /nearest: .*default\/nginx-alt/],
  ])('%s is said with what there was', async (_, words, flags, why) => {
    const inputs = [`${REUSED}/any.pcap.gz`, `${REUSED}/iptables-save.txt.gz`];
    await expect(caseOf([...words, ...inputs], flags)).rejects.toThrow(why);
  });

  describe('where nothing tells what a Service is', () => {
    /** One SYN on one interface: nothing shows that it was translated. */
    const syn = join(folder, 'syn.pcap');
    writeFileSync(syn, pcap([{ frame: ethernet(ipv4(tcp(), { protocol: 6 })) }]));
    const none = join(folder, 'conntrack.txt');
    writeFileSync(none, '');
    const tutorial = pcaps('tutorial');

    it.each([
      [
        'a capture alone',
        [syn],
        'they have packets, no conntrack, no rules and no Kubernetes objects: add what conntrack -E -o timestamp or conntrack -L printed, what iptables-save -c or nft -j list ruleset printed or what kubectl get pods,services,endpointslices,nodes -A -o json printed',
      ],
      [
        'a capture and rules of other Services',
        [syn, `${tutorial}/iptables-save.txt`],
        'they have packets, rules, no conntrack and no Kubernetes objects: add what conntrack',
      ],
      [
        'an empty listing',
        [none],
        'they have no packets, no conntrack, no rules and no Kubernetes objects: add a pcap or pcapng, what conntrack',
      ],
    ])('%s is said to lack the rest, and what to add', async (_, inputs, said) => {
      const asked = caseOf(['10.244.1.2:36033', ...inputs]);
      await expect(asked).rejects.toThrow(UsageError);
      await expect(asked).rejects.toThrow(
        `no connection matches (10.244.1.2:36033): there is none to a Service in what the inputs tell; ${said}`,
      );
    });
  });

  it('nothing but rules is no input', async () => {
    await expect(caseOf(['10.0.0.1:5', `${REUSED}/iptables-save.txt.gz`])).rejects.toThrow(
      /no capture and no conntrack/,
    );
  });
});

describe('what explain writes of a connection that happened', () => {
  const words = ['explain', '10.244.1.2:44001', '--nth', '2', ...REUSED_INPUTS];
  const text = async (...more: string[]): Promise<string> => {
    const io = fakeIo();
    expect(await runCli([...words, ...more], io, commands)).toBe(0);
    return io.stdout.text;
  };

  it('names the Pods where it could have gone', async () => {
    const { found } = await caseOf(['10.244.1.2:44001', ...REUSED_INPUTS], { nth: '2' });
    const { endpoints } = found.cluster;
    expect(endpoints.length).toBeGreaterThan(1);
    const could = /WHERE IT COULD HAVE GONE[\s\S]*?THE STORY/.exec(await text())?.[0] ?? '';
    for (const { pod } of endpoints) expect(could).toContain(`${pod?.namespace}/${pod?.name}`);
    const nobody = explainCase({ ...found, cluster: { endpoints: [], nodes: [] } }, exploreWalk);
    expect([...(nobody.walk?.pods?.keys() ?? [])]).toEqual([found.attribution.backend?.ip]);
  });

  it('says every rule that was passed over only where it is asked to', async () => {
    const [short, long] = [await text(), await text('-v')];
    expect(short).toMatch(/passed over \d+ rules|\d+ rules passed/);
    expect(long).not.toMatch(/passed over \d+ rules|\d+ rules passed/);
    expect(long.split('\n').length).toBeGreaterThan(short.split('\n').length);
  });
});
