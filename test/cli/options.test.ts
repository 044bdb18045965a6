import { describe, expect, it } from 'vitest';
import {
  demoRequest,
  type LiveFlags,
  liveRequest,
  type ReplayFlags,
  replayRequest,
} from '../../src/cli/options.js';
import { UsageError } from '../../src/model/problem.js';
import { fakeIo } from './fake-io.js';

const live = (flags: Partial<LiveFlags> = {}, around = fakeIo()) =>
  liveRequest({ color: true, cluster: true, ...flags }, around);
const replay = (inputs: string[], flags: Partial<ReplayFlags> = {}) =>
  replayRequest(inputs, { color: true, ...flags }, fakeIo());

const PIPE_OUTPUT = {
  format: 'ndjson',
  colors: true,
  verbose: false,
  direct: false,
  failOn: [],
  filter: {
    services: [],
    pods: [],
    namespaces: [],
    clients: [],
    ports: [],
    protocols: [],
    verdicts: [],
    outcomes: [],
    nodes: [],
  },
};

describe('flags become requests', () => {
  it('with defaults where nothing was said', () => {
    expect(live()).toEqual({
      output: PIPE_OUTPUT,
      backend: 'auto',
      conntrack: 'auto',
      rules: 'auto',
      cluster: {},
      remember: 1_000,
    });
    expect(replay(['a'])).toEqual({ output: PIPE_OUTPUT, inputs: [{ path: 'a' }] });
    expect(demoRequest({ color: true }, fakeIo())).toEqual({ output: PIPE_OUTPUT });
  });

  it('with everything that can be said', () => {
    expect(
      live({
        output: 'wide',
        backend: 'cap',
        conntrack: 'list',
        rules: 'none',
        kubeconfig: '/k',
        context: 'c',
        nodeName: 'node1',
        duration: '1h30m',
        count: '25',
        udpIdle: '500ms',
        conntrackUpdates: true,
        remember: '50',
        service: ['default/nginx,shop/cart', 'a/b'],
        pod: ['default/client'],
        namespace: ['default', 'shop'],
        client: ['10.244.1.2', '10.0.0.0/8', 'fd00::/64'],
        port: ['80,443'],
        protocol: ['TCP', 'udp'],
        verdict: ['conflict'],
        outcome: ['refused,reset'],
        node: ['node2'],
        direct: true,
        failOn: ['conflict,loss'],
        verbose: true,
        color: false,
      }),
    ).toEqual({
      output: {
        format: 'wide',
        colors: false,
        verbose: true,
        direct: true,
        failOn: ['conflict', 'loss'],
        filter: {
          services: [
            { namespace: 'default', name: 'nginx' },
            { namespace: 'shop', name: 'cart' },
            { namespace: 'a', name: 'b' },
          ],
          pods: [{ namespace: 'default', name: 'client' }],
          namespaces: ['default', 'shop'],
          clients: [
            { family: 4, words: [0, 0, 0xffff, 0x0af40102], bits: 128 },
            { family: 4, words: [0, 0, 0xffff, 0x0a000000], bits: 104 },
            { family: 6, words: [0xfd000000, 0, 0, 0], bits: 64 },
          ],
          ports: [80, 443],
          protocols: ['tcp', 'udp'],
          verdicts: ['conflict'],
          outcomes: ['refused', 'reset'],
          nodes: ['node2'],
        },
      },
      backend: 'cap',
      conntrack: 'list',
      rules: 'none',
      cluster: { kubeconfig: '/k', context: 'c' },
      nodeName: 'node1',
      durationNs: 5_400_000_000_000,
      count: 25,
      udpIdleNs: 500_000_000,
      conntrackUpdates: true,
      remember: 50,
    });
  });

  it('remembering nothing where single connections are not told, unless that is wanted', () => {
    expect(live({ output: 'summary' }).remember).toBe(0);
    expect(live({ output: 'summary', remember: '7' }).remember).toBe(7);
    expect(live({ remember: '0' }).remember).toBe(0);
    for (const remember of ['-1', '1.5', '', 'all', '20001']) {
      expect(() => live({ remember })).toThrow(/--remember: .* is no number/);
    }
  });

  it('without a cluster if none is to be asked', () => {
    expect(live({ cluster: false })).not.toHaveProperty('cluster');
  });

  it('with objects from files in place of a cluster', () => {
    const request = live({ objects: ['pods.json', 'a,b.json'] });
    expect(request.objects).toEqual(['pods.json', 'a,b.json']);
    expect(request).not.toHaveProperty('cluster');
  });

  it("with the node's name from the environment unless it was given", () => {
    const around = fakeIo({ env: { NODE_NAME: 'from-env' } });
    expect(live({}, around).nodeName).toBe('from-env');
    expect(live({ nodeName: 'given' }, around).nodeName).toBe('given');
    expect(live({}, fakeIo({ env: { NODE_NAME: '' } }))).not.toHaveProperty('nodeName');
  });

  it.each([
    ['a table on a terminal', { stdout: true, stderr: true }, undefined, 'table'],
    ['NDJSON in a pipe, whatever stderr is', { stdout: false, stderr: true }, undefined, 'ndjson'],
    ['what was asked for anywhere', { stdout: true, stderr: true }, 'summary', 'summary'],
  ])('with the format: %s', (_, terminal, output, expected) => {
    expect(live({ output }, fakeIo({ terminal })).output.format).toBe(expected);
  });

  it.each([
    ['colours are allowed', {}, true, true],
    ['--no-color forbids them', {}, false, false],
    ['NO_COLOR forbids them', { NO_COLOR: '1' }, true, false],
    ['an empty NO_COLOR says nothing', { NO_COLOR: '' }, true, true],
    ['a dumb terminal has none', { TERM: 'dumb' }, true, false],
  ])('with colours: %s', (_, env, color, expected) => {
    expect(live({ color }, fakeIo({ env })).output.colors).toBe(expected);
  });

  it.each([
    ['30s', 30e9],
    ['500ms', 500e6],
    ['2m', 120e9],
    ['1h', 3600e9],
    ['1h30m', 5400e9],
    ['1.5s', 1.5e9],
    ['250us', 250_000],
    ['250µs', 250_000],
    ['1ns', 1],
    ['480h', 480 * 3600e9],
  ])('with %s as a duration', (duration, expected) => {
    expect(live({ duration }).durationNs).toBe(expected);
  });

  it.each<[string, Partial<LiveFlags>, string]>([
    [
      'an unknown format',
      { output: 'yaml' },
      "-o: 'yaml' is not known; write one of table, wide, ndjson, summary",
    ],
    [
      'an unknown backend',
      { backend: 'pcap' },
      "--backend: 'pcap' is not known; write one of auto, ring, cap",
    ],
    [
      'an unknown conntrack source',
      { conntrack: 'proc' },
      "--conntrack: 'proc' is not known; write one of auto, netlink, events, list, none",
    ],
    [
      'unknown rules',
      { rules: 'ipvs' },
      "--rules: 'ipvs' is not known; write one of auto, iptables, nftables, none",
    ],
    [
      'a duration without unit',
      { duration: '30' },
      "--duration: '30' is no duration; write 30s, 500ms, 2m or 1h30m, up to 480h",
    ],
    [
      'an empty duration',
      { duration: '' },
      "--duration: '' is no duration; write 30s, 500ms, 2m or 1h30m, up to 480h",
    ],
    [
      'a negative duration',
      { duration: '-5s' },
      "--duration: '-5s' is no duration; write 30s, 500ms, 2m or 1h30m, up to 480h",
    ],
    [
      'a duration with text after it',
      { duration: '5s!' },
      "--duration: '5s!' is no duration; write 30s, 500ms, 2m or 1h30m, up to 480h",
    ],
    [
      'no time at all',
      { udpIdle: '0s' },
      "--udp-idle: '0s' is no time at all; write 30s, 500ms, 2m or 1h30m, up to 480h",
    ],
    [
      'an endless duration',
      { duration: '481h' },
      "--duration: '481h' is too long; write 30s, 500ms, 2m or 1h30m, up to 480h",
    ],
    [
      'a count of nothing',
      { count: '0' },
      "--count: '0' is no count; write a whole number from 1 to 999999999",
    ],
    [
      'a count that is no number',
      { count: '1e3' },
      "--count: '1e3' is no count; write a whole number from 1 to 999999999",
    ],
    [
      'a Service without namespace',
      { service: ['nginx'] },
      "--service: 'nginx' is no NAMESPACE/NAME; write for instance default/nginx",
    ],
    [
      'a Pod with too many parts',
      { pod: ['a/b/c'] },
      "--pod: 'a/b/c' is no NAMESPACE/NAME; write for instance default/nginx",
    ],
    [
      'a client that is no address',
      { client: ['pod-1'] },
      "--client: 'pod-1' is no address; write 10.244.1.2, 10.244.0.0/16 or fd00::/64",
    ],
    [
      'a prefix that is too long',
      { client: ['10.0.0.0/33'] },
      "--client: '10.0.0.0/33' is no address; write 10.244.1.2, 10.244.0.0/16 or fd00::/64",
    ],
    ['port 0', { port: ['0'] }, "--port: '0' is no port; write a number from 1 to 65535"],
    [
      'a port by name',
      { port: ['http'] },
      "--port: 'http' is no port; write a number from 1 to 65535",
    ],
    [
      'a port that is too high',
      { port: ['65536'] },
      "--port: '65536' is no port; write a number from 1 to 65535",
    ],
    [
      'another protocol',
      { protocol: ['icmp'] },
      "--protocol: 'icmp' is not known; write one of tcp, udp, sctp",
    ],
    [
      'an unknown verdict',
      { verdict: ['ok'] },
      "--verdict: 'ok' is not known; write one of attributed, unattributed, conflict",
    ],
    [
      'an unknown outcome',
      { outcome: ['ok'] },
      "--outcome: 'ok' is not known; write one of established, refused, reset, unanswered, rejected, open",
    ],
    [
      'an unknown thing to fail on',
      { failOn: ['loss,x'] },
      "--fail-on: 'x' is not known; write one of conflict, unattributed, loss",
    ],
    [
      'a context for no cluster',
      { cluster: false, context: 'c' },
      '--no-cluster: cannot be used with --context; leave one of them out',
    ],
    [
      'a kubeconfig for no cluster',
      { cluster: false, kubeconfig: 'k' },
      '--no-cluster: cannot be used with --kubeconfig; leave one of them out',
    ],
    [
      'a context for objects from files',
      { objects: ['a'], context: 'c' },
      '--objects: cannot be used with --context; leave one of them out',
    ],
  ])('but not with %s', (_, flags, message) => {
    expect(() => live(flags)).toThrow(new UsageError(message));
  });
});

describe('inputs of a replay', () => {
  it.each([
    ['a path', 'recording/', { path: 'recording/' }],
    ['a path with a time, which only the file system can tell apart', 'a@1', { path: 'a@1' }],
    ['a node and its path', 'node1=a/b', { node: 'node1', path: 'a/b' }],
    [
      'a node with dots',
      'ip-10-0-0-1.eu.internal=a=b',
      { node: 'ip-10-0-0-1.eu.internal', path: 'a=b' },
    ],
    ['a path with an equals sign', './a=b', { path: './a=b' }],
    ['a name that no node can have', 'Node_1=a', { path: 'Node_1=a' }],
    ['an equals sign without a path', 'node1=', { path: 'node1=' }],
  ])('are read: %s', (_, text, expected) => {
    expect(replay([text]).inputs).toEqual([expected]);
  });

  it('are of the node that --node names, which is no filter then', () => {
    const request = replay(['a', 'b'], { node: ['node1'] });
    expect(request.nodeName).toBe('node1');
    expect(request.output.filter.nodes).toEqual([]);
  });

  it('that name their nodes leave --node to filter', () => {
    const request = replay(['node1=a', 'node2=b'], { node: ['node1', 'node2'] });
    expect(request).not.toHaveProperty('nodeName');
    expect(request.output.filter.nodes).toEqual(['node1', 'node2']);
  });

  it('cannot all be of two nodes at once', () => {
    expect(() => replay(['a'], { node: ['node1,node2'] })).toThrow(
      new UsageError(
        '--node: node1 and node2 cannot both be where one recording is from; name them with the inputs: node1=PATH',
      ),
    );
  });

  it('cannot be empty', () => {
    expect(() => replay([''])).toThrow(
      new UsageError('INPUT: a path is empty; name a file or a folder'),
    );
  });

  it('may have a time zone', () => {
    expect(replay(['a'], { tz: '+02:00' }).offsetAt?.(0)).toBe(7200);
    expect(() => replay(['a'], { tz: 'Nowhere' })).toThrow(
      new UsageError("--tz: 'Nowhere' is no time zone; write UTC, +02:00 or Europe/Berlin"),
    );
  });
});
