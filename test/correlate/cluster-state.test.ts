import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ClusterState } from '../../src/correlate/cluster-state.js';
import { readClusterDocument } from '../../src/decode/cluster/documents.js';
import { WatchLogReader } from '../../src/decode/cluster/watch-log.js';
import type {
  ClusterChange,
  ClusterRecord,
  EndpointRecord,
  EndpointSliceRecord,
  NodeRecord,
  PodRecord,
  ServiceRecord,
} from '../../src/model/cluster.js';
import { nanosOf, parseEpoch } from '../../src/model/time.js';
import { recorded } from '../support/recorded.js';

/** Moments of these tests: seconds after a start. */
const START = 1_795_377_000;
const at = (seconds: number): bigint => nanosOf(START + seconds, 0);
const stamp = (seconds: number): string =>
  new Date((START + seconds) * 1_000).toISOString().replace('.000', '');

const IP = '10.0.0.1';
const pod = (name: string, over: Partial<PodRecord> = {}): PodRecord => ({
  kind: 'pod',
  uid: `uid-${name}`,
  namespace: 'n',
  name,
  ips: [IP],
  hostNetwork: false,
  ready: true,
  ...over,
});
const list = (kind: ClusterRecord['kind'], ...items: ClusterRecord[]): ClusterChange => ({
  op: 'list',
  kind,
  items,
});
const set = (item: ClusterRecord): ClusterChange => ({ op: 'set', item });
const remove = (item: ClusterRecord): ClusterChange => ({ op: 'delete', item });

function stateOf(...changes: [number | undefined, ClusterChange][]): ClusterState {
  const state = new ClusterState();
  for (const [time, change] of changes) {
    state.apply(change, time === undefined ? undefined : at(time));
  }
  return state;
}

describe('who had an address', () => {
  const a = pod('a');
  const b = pod('b');
  const cases: [
    string,
    [number | undefined, ClusterChange][],
    [number | undefined, string | undefined][],
  ][] = [
    [
      'nobody, if nothing is known',
      [],
      [
        [5, undefined],
        [undefined, undefined],
      ],
    ],
    [
      'a Pod of a list without time, from the beginning on',
      [[undefined, list('pod', a)]],
      [
        [-1e9, 'a'],
        [5, 'a'],
        [undefined, 'a'],
      ],
    ],
    [
      'a Pod since it was first seen',
      [[10, set(a)]],
      [
        [9, undefined],
        [10, 'a'],
        [99, 'a'],
      ],
    ],
    [
      'a Pod until it was deleted',
      [
        [10, set(a)],
        [20, remove(a)],
      ],
      [
        [19, 'a'],
        [20, undefined],
      ],
    ],
    [
      'each of two Pods in its time',
      [
        [10, set(a)],
        [20, remove(a)],
        [30, set(b)],
      ],
      [
        [15, 'a'],
        [25, undefined],
        [30, 'b'],
        [undefined, undefined],
      ],
    ],
    [
      'the later of two at once',
      [
        [10, set(a)],
        [20, set(b)],
      ],
      [
        [19, 'a'],
        [20, 'b'],
        [99, 'b'],
      ],
    ],
    [
      'the earlier one again when the later has gone',
      [
        [10, set(a)],
        [20, set(b)],
        [30, remove(b)],
      ],
      [
        [25, 'b'],
        [30, 'a'],
      ],
    ],
    [
      'the one that is not terminating',
      [
        [10, set(b)],
        [15, set(a)],
        [20, set(pod('a', { deletedAt: stamp(40) }))],
      ],
      [
        [15, 'a'],
        [19, 'a'],
        [20, 'b'],
      ],
    ],
    [
      'a Pod as terminating from when that was first said',
      [
        [10, set(b)],
        [15, set(a)],
        [20, set(pod('a', { deletedAt: stamp(40) }))],
        [30, set(pod('a', { deletedAt: stamp(35) }))],
      ],
      [[25, 'b']],
    ],
    [
      'a terminating Pod if there is no other',
      [
        [10, set(a)],
        [20, set(pod('a', { deletedAt: stamp(40) }))],
      ],
      [[30, 'a']],
    ],
    [
      'a Pod until it has finished',
      [
        [10, set(a)],
        [20, set(pod('a', { phase: 'Succeeded' }))],
      ],
      [
        [19, 'a'],
        [20, undefined],
      ],
    ],
    [
      'a Pod until it has failed',
      [
        [10, set(a)],
        [20, set(pod('a', { phase: 'Failed' }))],
      ],
      [[20, undefined]],
    ],
    [
      'a Pod until it has another address',
      [
        [10, set(a)],
        [20, set(pod('a', { ips: ['10.0.0.2'] }))],
      ],
      [
        [19, 'a'],
        [20, undefined],
      ],
    ],
    [
      'no Pod, if it uses the address of its node',
      [[10, set(pod('a', { hostNetwork: true }))]],
      [[10, undefined]],
    ],
    [
      'a Pod until a list without it',
      [
        [undefined, list('pod', a)],
        [20, list('pod', b)],
      ],
      [
        [19, 'a'],
        [20, 'b'],
      ],
    ],
    [
      'nobody after an empty list',
      [
        [undefined, list('pod', a)],
        [20, list('pod')],
      ],
      [
        [19, 'a'],
        [20, undefined],
      ],
    ],
    [
      'a Pod whatever happens to other kinds',
      [
        [undefined, list('pod', a)],
        [20, list('node')],
      ],
      [[30, 'a']],
    ],
    [
      'a Pod of the same name that took its place',
      [
        [10, set(a)],
        [20, set(pod('a', { uid: 'second' }))],
      ],
      [
        [19, 'a'],
        [20, 'a'],
      ],
    ],
    [
      'nobody, after the end of a Pod without uid',
      [
        [10, set(a)],
        [20, remove(pod('a', { uid: '' }))],
      ],
      [
        [19, 'a'],
        [20, undefined],
      ],
    ],
    [
      'a Pod whose uid came later, until its end',
      [
        [10, set(pod('a', { uid: '' }))],
        [15, set(a)],
        [20, remove(a)],
      ],
      [
        [12, 'a'],
        [19, 'a'],
        [20, undefined],
      ],
    ],
    [
      'the Pod that goes on when the end of its namesake is told late',
      [
        [10, set(a)],
        [20, set(pod('a', { uid: 'second' }))],
        [30, remove(a)],
      ],
      [[40, 'a']],
    ],
    [
      'a Pod that is named twice by one time only once',
      [
        [10, set(a)],
        [10, remove(a)],
        [10, set(b)],
      ],
      [
        [10, 'b'],
        [11, 'b'],
      ],
    ],
    [
      'a Pod as of the latest time told, if times go back',
      [
        [20, set(a)],
        [10, remove(a)],
      ],
      [
        [15, undefined],
        [25, undefined],
      ],
    ],
  ];
  test.each(cases)('%s', (_name, changes, expected) => {
    const state = stateOf(...changes);
    for (const [time, name] of expected) {
      expect(state.podAt(IP, time === undefined ? undefined : at(time))?.name).toBe(name);
    }
  });

  test('tells two Pods of one name apart by their uid', () => {
    const state = stateOf([10, set(a)], [20, set(pod('a', { uid: 'second' }))]);
    expect(state.podAt(IP, at(15))?.uid).toBe('uid-a');
    expect(state.podAt(IP, at(25))?.uid).toBe('second');
  });

  test('knows every address of a dual-stack Pod', () => {
    const state = stateOf([10, set(pod('a', { ips: [IP, 'fd00::1'] }))]);
    expect(state.podAt('fd00::1', at(11))?.name).toBe('a');
  });

  test('answers with what was last known of the Pod', () => {
    const state = stateOf([10, set(pod('a'))], [20, set(pod('a', { node: 'node1' }))]);
    expect(state.podAt(IP, at(15))?.node).toBe('node1');
  });
});

describe('what was seen only later', () => {
  const cases: [string, [number | undefined, ClusterChange][], [number, string | undefined][]][] = [
    [
      'a list after the traffic names the first owner back to its creation',
      [[100, list('pod', pod('a', { createdAt: stamp(50) }))]],
      [
        [49, undefined],
        [50, 'a'],
        [99, 'a'],
        [100, 'a'],
      ],
    ],
    [
      'an owner that does not say when it was created goes back no further than it was seen',
      [[100, list('pod', pod('a'))]],
      [
        [99, undefined],
        [100, 'a'],
      ],
    ],
    [
      'an owner after another goes back no further than it was seen',
      [
        [10, set(pod('a'))],
        [20, remove(pod('a'))],
        [30, set(pod('b', { createdAt: stamp(5) }))],
      ],
      [
        [25, undefined],
        [30, 'b'],
      ],
    ],
    [
      'in a list without time nobody is older than its creation',
      [[undefined, list('pod', pod('a', { createdAt: stamp(50) }))]],
      [
        [49, undefined],
        [50, 'a'],
      ],
    ],
    [
      'a Pod of which only the end was seen had its address until then',
      [[100, remove(pod('a', { createdAt: stamp(50) }))]],
      [
        [49, undefined],
        [50, 'a'],
        [99, 'a'],
        [100, undefined],
      ],
    ],
  ];
  test.each(cases)('%s', (_name, changes, expected) => {
    const state = stateOf(...changes);
    for (const [time, name] of expected) expect(state.podAt(IP, at(time))?.name).toBe(name);
  });
});

describe('an event that is older than what is known', () => {
  const rv = (resourceVersion: string, over: Partial<PodRecord> = {}): PodRecord =>
    pod('a', { resourceVersion, ...over });
  const cases: [string, ClusterChange, string | undefined][] = [
    ['does not roll back', set(rv('9', { ips: [] })), 'a'],
    ['does not roll back when it is equal', set(rv('10', { ips: [] })), 'a'],
    ['does not end it', remove(rv('9')), 'a'],
    ['is compared as a number', set(rv('100', { ips: [] })), undefined],
    ['ends it if it is newer', remove(rv('11')), undefined],
    ['counts if it cannot be compared', set(rv('x', { ips: [] })), undefined],
    [
      'counts if it is a list: that is how a server starts anew',
      list('pod', rv('9', { ips: [] })),
      undefined,
    ],
  ];
  test.each(cases)('%s', (_name, change, expected) => {
    const state = stateOf([undefined, list('pod', rv('10'))], [20, change]);
    expect(state.podAt(IP, at(30))?.name).toBe(expected);
  });
});

describe('a naive model', () => {
  const names = ['a', 'b', 'c'] as const;
  const ips = ['10.0.0.1', '10.0.0.2', 'fd00::1'];
  const step = fc.record({
    wait: fc.integer({ min: 0, max: 3 }),
    op: fc.constantFrom('set', 'delete', 'list'),
    name: fc.constantFrom(...names),
    uid: fc.constantFrom('1', '2'),
    ips: fc.subarray(ips),
    over: fc.constantFrom<Partial<PodRecord>>(
      {},
      { deletedAt: 'x' },
      { hostNetwork: true },
      { phase: 'Failed' },
    ),
  });

  test('that replays everything for every question gives the same owners', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        const state = new ClusterState();
        const log: { time: bigint; change: ClusterChange }[] = [];
        let time = at(0);
        // A Pod whose deletion was asked for stays terminating: the API never takes the mark away.
        const doomed = new Set<string>();
        for (const { wait, op, name, uid, ips: has, over } of steps) {
          time += BigInt(wait);
          const id = `${name}${uid}`;
          if (over.deletedAt !== undefined) doomed.add(id);
          const mark = doomed.has(id) ? { deletedAt: 'x' } : {};
          const item = pod(name, { uid: id, ips: has, ...over, ...mark });
          const change =
            op === 'list' ? list('pod', item) : op === 'set' ? set(item) : remove(item);
          log.push({ time, change });
          state.apply(change, time);
        }
        for (let asked = at(0) - 1n; asked <= time + 1n; asked++) {
          for (const ip of ips) expect(state.podAt(ip, asked)?.uid).toBe(naive(log, ip, asked));
        }
      }),
      { numRuns: 300 },
    );
  });

  test('and forgetting the past changes no answer about what came after', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 25 }),
        fc.integer({ min: 0, max: 40 }),
        (steps, cut) => {
          const whole = new ClusterState();
          const pruned = new ClusterState();
          let time = at(0);
          for (const { wait, op, name, uid, ips: has, over } of steps) {
            time += BigInt(wait);
            const item = pod(name, { uid: `${name}${uid}`, ips: has, ...over });
            const change =
              op === 'list' ? list('pod', item) : op === 'set' ? set(item) : remove(item);
            whole.apply(change, time);
            pruned.apply(change, time);
          }
          const before = at(0) + BigInt(cut);
          pruned.prune(before);
          for (let asked = before; asked <= time + 1n; asked++) {
            for (const ip of ips) expect(pruned.podAt(ip, asked)).toEqual(whole.podAt(ip, asked));
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  /** The owner by the rules as they are told: state by state, with the moment each address was taken. */
  function naive(
    log: readonly { time: bigint; change: ClusterChange }[],
    ip: string,
    asked: bigint,
  ): string | undefined {
    let pods = new Map<string, { item: PodRecord; since: bigint; leaving: bigint | undefined }>();
    for (const { time, change } of log) {
      if (time > asked) break;
      const next = new Map(pods);
      const put = (item: PodRecord): void => {
        const before = pods.get(item.name);
        const same = before?.item.uid === item.uid;
        const had = same && owns(before.item, ip);
        next.set(item.name, {
          item,
          since: had ? before.since : time,
          leaving: item.deletedAt === undefined ? undefined : had ? (before.leaving ?? time) : time,
        });
      };
      if (change.op === 'list') {
        next.clear();
        for (const item of change.items) if (item.kind === 'pod') put(item);
      } else if (change.item.kind === 'pod') {
        const known = pods.get(change.item.name);
        if (change.op === 'set') put(change.item);
        else if (known?.item.uid === change.item.uid) next.delete(change.item.name);
      }
      pods = next;
    }
    const owners = [...pods.values()].filter((it) => owns(it.item, ip));
    owners.sort(
      (x, y) =>
        Number(x.leaving !== undefined) - Number(y.leaving !== undefined) ||
        Number(y.since - x.since) ||
        (x.item.uid < y.item.uid ? 1 : -1),
    );
    return owners[0]?.item.uid;
  }

  function owns(item: PodRecord, ip: string): boolean {
    return !item.hostNetwork && item.phase !== 'Failed' && item.ips.includes(ip);
  }
});

describe('Services', () => {
  const service = (name: string, over: Partial<ServiceRecord> = {}): ServiceRecord => ({
    kind: 'service',
    uid: `uid-${name}`,
    namespace: 'n',
    name,
    type: 'ClusterIP',
    clusterIPs: ['10.96.0.1'],
    externalIPs: [],
    loadBalancerIPs: [],
    loadBalancerSourceRanges: [],
    ports: [{ protocol: 'tcp', port: 80 }],
    ...over,
  });

  test('can be reached at each of their addresses and ports', () => {
    const web = service('web', {
      clusterIPs: ['10.96.0.1', 'fd00::1'],
      externalIPs: ['203.0.113.1'],
      loadBalancerIPs: ['203.0.113.2'],
      ports: [
        { name: 'http', protocol: 'tcp', port: 80, nodePort: 30_080 },
        { name: 'dns', protocol: 'udp', port: 53 },
      ],
    });
    const entries = stateOf([undefined, list('service', web)]).services(at(0));
    expect(entries.map((e) => [e.protocol, e.address, e.port, e.via, e.service?.portName])).toEqual(
      [
        [6, '10.96.0.1', 80, 'clusterIP', 'http'],
        [6, 'fd00::1', 80, 'clusterIP', 'http'],
        [6, '203.0.113.1', 80, 'externalIP', 'http'],
        [6, '203.0.113.2', 80, 'loadBalancerIP', 'http'],
        [6, 'local', 30_080, 'nodePort', 'http'],
        [17, '10.96.0.1', 53, 'clusterIP', 'dns'],
        [17, 'fd00::1', 53, 'clusterIP', 'dns'],
        [17, '203.0.113.1', 53, 'externalIP', 'dns'],
        [17, '203.0.113.2', 53, 'loadBalancerIP', 'dns'],
      ],
    );
    expect(entries.every((e) => e.action === 'dnat' && e.routes.length === 0)).toBe(true);
  });

  test('of an unnamed port have no port name', () => {
    const entries = stateOf([undefined, set(service('web'))]).services(undefined);
    expect(entries.map((e) => e.service)).toEqual([{ namespace: 'n', name: 'web' }]);
  });

  test('are those of the time that was asked for, in order of their names', () => {
    const state = stateOf(
      [undefined, list('service', service('b'))],
      [10, set(service('a'))],
      [20, remove(service('b'))],
    );
    const names = (time: number | undefined): (string | undefined)[] =>
      state.services(time === undefined ? undefined : at(time)).map((e) => e.service?.name);
    expect([names(0), names(10), names(20), names(5), names(undefined)]).toEqual([
      ['b'],
      ['a', 'b'],
      ['a'],
      ['b'],
      ['a'],
    ]);
  });

  test('of the first list hold backwards too, for nobody told of an earlier state', () => {
    const state = stateOf([100, list('service', service('a'))], [200, list('service')]);
    expect(state.services(at(0))).toHaveLength(1);
    expect(state.services(at(200))).toHaveLength(0);
  });

  test('count up a version whenever they may have changed, and not for other kinds', () => {
    const state = new ClusterState();
    const versions = new Set<number>();
    const apply = (change: ClusterChange): void => {
      state.apply(change, at(1));
      versions.add(state.serviceVersion);
    };
    apply(set(service('a')));
    apply(set(service('b')));
    apply(remove(service('a')));
    expect(versions.size).toBe(3);
    apply(set(pod('a')));
    expect(versions.size).toBe(3);
  });

  test('are given out again as long as nothing changes', () => {
    const state = stateOf([10, set(service('a'))], [20, set(service('b'))]);
    expect(state.services(at(12))).toBe(state.services(at(19)));
    expect(state.services(at(12))).not.toBe(state.services(at(20)));
  });

  test('are the same array after a change of something else, and another one after a change of them', () => {
    const web = service('web');
    const before = stateOf([undefined, list('service', web)]).services(undefined);
    const changes: [ServiceRecord, boolean][] = [
      [{ ...web, affinitySeconds: 60 }, true],
      [{ ...web, externalTrafficPolicy: 'Local' }, true],
      [{ ...web, externalIPs: ['192.0.2.1'] }, false],
      [{ ...web, loadBalancerIPs: ['192.0.2.2'] }, false],
      [{ ...web, clusterIPs: ['10.96.0.99'] }, false],
      [{ ...web, ports: web.ports.map((port) => ({ ...port, nodePort: 30_123 })) }, false],
      [{ ...web, ports: [] }, false],
    ];
    for (const [changed, same] of changes) {
      const other = stateOf([undefined, list('service', web)]);
      const first = other.services(undefined);
      other.apply(set(changed), at(5));
      expect(other.services(undefined) === first, JSON.stringify(changed)).toBe(same);
      other.apply(set(web), at(6));
      expect(other.services(undefined)).toEqual(before);
    }
  });

  test('that are listed again as they were leave the version alone', () => {
    const known = service('a', { resourceVersion: '4' });
    const state = stateOf([undefined, list('service', known)]);
    const before = state.serviceVersion;
    state.apply(list('service', { ...known }), at(10));
    expect(state.serviceVersion).toBe(before);
  });

  test('are there from their creation to their end', () => {
    const name = { namespace: 'n', name: 'a' };
    const state = stateOf([10, set(service('a'))], [20, remove(service('a'))]);
    expect([9, 10, 19, 20].map((time) => state.hasService(name, at(time)))).toEqual([
      false,
      true,
      true,
      false,
    ]);
    expect(state.hasService({ namespace: 'm', name: 'a' }, at(15))).toBe(false);
  });
});

describe('endpoints', () => {
  const web = { namespace: 'n', name: 'web' };
  const endpoint = (ip: string, over: Partial<EndpointRecord> = {}): EndpointRecord => ({
    addresses: [ip],
    ready: true,
    serving: true,
    terminating: false,
    ...over,
  });
  const slice = (
    name: string,
    endpoints: EndpointRecord[],
    over: Partial<EndpointSliceRecord> = {},
  ): EndpointSliceRecord => ({
    kind: 'endpointslice',
    uid: `uid-${name}`,
    namespace: 'n',
    name,
    service: 'web',
    ports: [
      { name: 'http', protocol: 'tcp', port: 8080 },
      { protocol: 'udp', port: 53 },
    ],
    endpoints,
    ...over,
  });

  test('are found by Service, port name, protocol, address and port', () => {
    const state = stateOf([undefined, list('endpointslice', slice('w', [endpoint(IP)]))]);
    const found = (...of: [string | undefined, string, string, number]): boolean =>
      state.endpointOf(web, ...of, at(1)) !== undefined;
    expect(found('http', 'tcp', IP, 8080)).toBe(true);
    expect(found(undefined, 'udp', IP, 53)).toBe(true);
    expect(found(undefined, 'tcp', IP, 8080)).toBe(false);
    expect(found('http', 'udp', IP, 8080)).toBe(false);
    expect(found('http', 'tcp', IP, 80)).toBe(false);
    expect(found('http', 'tcp', '10.0.0.9', 8080)).toBe(false);
    expect(
      state.endpointOf({ namespace: 'm', name: 'web' }, 'http', 'tcp', IP, 8080, at(1)),
    ).toBeUndefined();
  });

  test('are as they were at that time', () => {
    const gone = endpoint(IP, { ready: false, terminating: true });
    const state = stateOf(
      [undefined, list('endpointslice', slice('w', [endpoint(IP)]))],
      [10, set(slice('w', [gone]))],
      [20, set(slice('w', []))],
      [30, remove(slice('w', []))],
    );
    const ready = (time: number | undefined): boolean | undefined =>
      state.endpointOf(web, 'http', 'tcp', IP, 8080, time === undefined ? undefined : at(time))
        ?.ready;
    expect([ready(0), ready(9), ready(10), ready(20), ready(30)]).toEqual([
      true,
      true,
      false,
      undefined,
      undefined,
    ]);
    expect(ready(undefined)).toBe(false);
  });

  test('that stand in two slices are the better of both', () => {
    const state = stateOf(
      [undefined, set(slice('a', [endpoint(IP, { ready: false })]))],
      [undefined, set(slice('b', [endpoint(IP)]))],
      [undefined, set(slice('c', [endpoint(IP, { ready: false, serving: false })]))],
    );
    expect(state.endpointOf(web, 'http', 'tcp', IP, 8080, at(0))?.ready).toBe(true);
  });

  test('of a slice that went to another Service are no longer those of the first', () => {
    const state = stateOf(
      [undefined, set(slice('a', [endpoint(IP)]))],
      [10, set(slice('a', [endpoint(IP)], { service: 'other' }))],
    );
    expect(state.endpointOf(web, 'http', 'tcp', IP, 8080, at(5))).toBeDefined();
    expect(state.endpointOf(web, 'http', 'tcp', IP, 8080, at(10))).toBeUndefined();
  });

  test('name the Pod of a host-network endpoint', () => {
    const target = { namespace: 'n', name: 'proxy', uid: 'u' };
    const state = stateOf([
      undefined,
      set(slice('a', [endpoint('192.168.77.11', { pod: target, node: 'node1' })])),
    ]);
    expect(state.endpointOf(web, 'http', 'tcp', '192.168.77.11', 8080, at(0))).toMatchObject({
      pod: target,
      node: 'node1',
    });
  });

  test('are forgotten with their slices', () => {
    const state = stateOf(
      [undefined, set(slice('a', [endpoint(IP)]))],
      [10, remove(slice('a', []))],
    );
    expect(state.hasSlices(web)).toBe(true);
    state.prune(at(9));
    expect(state.hasSlices(web)).toBe(true);
    state.prune(at(10));
    expect(state.hasSlices(web)).toBe(false);
  });
});

describe('nodes', () => {
  const node = (name: string, ...addresses: string[]): NodeRecord => ({
    kind: 'node',
    uid: `uid-${name}`,
    name,
    namespace: '',
    addresses,
    podCIDRs: [],
  });

  test('are found by their addresses', () => {
    const state = stateOf([
      undefined,
      list('node', node('x', '1.1.1.1', 'fd00::1'), node('y', '2.2.2.2')),
    ]);
    expect(state.nodeOfAddress('fd00::1')).toBe('x');
    expect(state.nodeOfAddress('2.2.2.2', at(5))).toBe('y');
    expect(state.nodeOfAddress('3.3.3.3')).toBeUndefined();
    expect(state.nodeAddresses('x')).toEqual(['1.1.1.1', 'fd00::1']);
    expect(state.nodeAddresses()).toEqual(['1.1.1.1', 'fd00::1', '2.2.2.2']);
    expect(state.nodeAddresses('z')).toEqual([]);
  });

  test('that change or go have their addresses only until then', () => {
    const state = stateOf(
      [undefined, list('node', node('x', '1.1.1.1'))],
      [10, set(node('x', '1.1.1.2'))],
      [20, remove(node('x'))],
    );
    expect(state.nodeOfAddress('1.1.1.1', at(9))).toBe('x');
    expect(state.nodeOfAddress('1.1.1.1', at(10))).toBeUndefined();
    expect(state.nodeOfAddress('1.1.1.2', at(19))).toBe('x');
    expect(state.nodeOfAddress('1.1.1.2', at(20))).toBeUndefined();
  });
});

describe('what stays in memory', () => {
  test('after the past was forgotten is no more than what is there', () => {
    const state = new ClusterState();
    for (let i = 0; i < 3_000; i++) {
      const item = pod(`p${i}`, { ips: [`10.1.${i % 200}.${(i * 7) % 250}`] });
      state.apply(set(item), at(i));
      state.apply(remove(item), at(i + 1));
      state.prune(at(i - 10));
    }
    expect(
      JSON.stringify(state, (_key, value) =>
        value instanceof Map ? [...value] : typeof value === 'bigint' ? String(value) : value,
      ).length,
    ).toBeLessThan(20_000);
  });
});

describe('recorded changes', () => {
  const scenarios = ['08-rolling-update', '05b-endpoint-dies'];
  test.each(scenarios)('of %s name the Pod that answered each request', (scenario) => {
    const folder = `sources/cluster/data/${scenario}`;
    const state = new ClusterState();
    for (const kind of ['nodes', 'services', 'endpointslices', 'pods']) {
      for (const change of readClusterDocument(recorded(`${folder}/${kind}.json.gz`)).changes) {
        state.apply(change, undefined);
      }
    }
    const watch = new WatchLogReader();
    watch.feed(recorded(`${folder}/watch.jsonl.gz`));
    watch.end();
    for (const { time, change } of watch.events) state.apply(change, time);
    const truth = recorded(`${folder}/truth.jsonl.gz`).toString('utf8').trim().split('\n');
    expect(truth.length).toBeGreaterThan(300);
    for (const line of truth) {
      const row: { svc: string; podIP: string; podPort: number; pod: string } = JSON.parse(line);
      const time = parseEpoch(/"t0":([\d.]+)/.exec(line)?.[1] ?? '');
      expect(time).toBeDefined();
      expect(state.podAt(row.podIP, time)?.name, line).toBe(row.pod);
      const [, namespace, name, portName] = /^(.+)\/(.+):(.*)$/.exec(row.svc) ?? [];
      const service = { namespace: namespace ?? '', name: name ?? '' };
      expect(state.hasService(service, time)).toBe(true);
      const listed = state.endpointOf(
        service,
        portName || undefined,
        'tcp',
        row.podIP,
        row.podPort,
        time,
      );
      expect(listed?.pod?.name, line).toBe(row.pod);
    }
  });
});
