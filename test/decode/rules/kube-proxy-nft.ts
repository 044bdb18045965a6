import { createHash } from 'node:crypto';
import type { Endpoint, Port } from './kube-proxy.js';

/**
 * A small kube-proxy in nftables mode that knows nothing of the code under test: what `nft -j` lists
 * of the table of one Kubernetes version, and what must be read from it.
 */
export interface NftSettings {
  /** The minor version: 29 to 36. */
  readonly minor: number;
  readonly family?: 4 | 6;
  /** A network or an interface (`cali*`) of local Pods; absent: none. */
  readonly detector?: string;
  readonly masqueradeAll?: boolean;
  /** The node's addresses that take NodePorts; absent: all. */
  readonly nodePortAddresses?: readonly string[];
  /** Print as newer versions of nft do. */
  readonly newer?: boolean;
  /** The whole rule set, with other tables, not kube-proxy's table alone. */
  readonly whole?: boolean;
}

interface Listed {
  readonly json: string;
  readonly expected: readonly string[];
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;
const MARK = 16_384;

function named(prefix: string, rest: string): string {
  const digits = createHash('sha256').update(rest).digest('hex');
  const bits = [...digits].map((d) => Number.parseInt(d, 16).toString(2).padStart(4, '0')).join('');
  const hash = (bits.match(/.{5}/g) ?? [])
    .slice(0, 8)
    .map((five) => BASE32[Number.parseInt(five, 2)]);
  return `${prefix}-${hash.join('')}-${rest}`;
}

export function listRules(ports: readonly Port[], settings: NftSettings): Listed {
  const { minor, family = 4, detector, nodePortAddresses, newer = false } = settings;
  const ip = family === 6 ? 'ip6' : 'ip';
  const own = { family: ip, table: 'kube-proxy' };
  const elements = new Map<string, unknown[]>();
  const rules: unknown[] = [];
  const chains = new Set<string>(['services', 'firewall-check', 'masquerading', 'reject-chain']);
  const affinitySets: string[] = [];
  const expected: string[] = [];
  let handle = 100;

  const into = (set: string, element: unknown): void => {
    const known = elements.get(set) ?? [];
    known.push(element);
    elements.set(set, known);
  };
  const rule = (chain: string, expr: readonly unknown[], comment?: string): void => {
    chains.add(chain);
    rules.push({ rule: { ...own, chain, handle: ++handle, ...(comment && { comment }), expr } });
  };
  const payload = (field: string) => ({ payload: { protocol: ip, field } });
  const match = (left: unknown, right: unknown, op = '==') => ({ match: { op, left, right } });
  const network = (text: string): unknown => {
    const [addr = '', len] = text.split('/');
    const full = family === 6 ? '128' : '32';
    return len === undefined || len === full ? addr : { prefix: { addr, len: Number(len) } };
  };
  const goto = (target: string) => ({ goto: { target } });
  const setMark = {
    mangle: {
      key: { meta: { key: 'mark' } },
      value: { '|': [{ meta: { key: 'mark' } }, MARK] },
    },
  };
  const mark = minor <= 35 ? { jump: { target: 'mark-for-masquerade' } } : setMark;
  const fib = (side: string) => ({ fib: { result: 'type', flags: newer ? side : [side] } });
  const isInterface = detector !== undefined && !/[.:]/.test(detector);
  const local = (op: string) =>
    isInterface
      ? match({ meta: { key: 'iifname' } }, detector, op)
      : match(payload('saddr'), network(detector ?? ''), op);
  const podsAre = isInterface ? detector.replace('*', '+') : detector;

  for (const port of ports) writePort(port);

  function writePort(p: Port): void {
    const { protocol, affinity } = p;
    const base = `${p.namespace}/${p.name}/${protocol}/${p.portName}`;
    const [service, localChain, external, firewall] = [
      'service',
      'local',
      'external',
      'firewall',
    ].map((prefix) => named(prefix, base)) as [string, string, string, string];
    const comment = `${p.namespace}/${p.name}${p.portName === '' ? '' : `:${p.portName}`}`;
    const name = `${p.namespace}/${p.name}:${p.portName}`;
    const here = p.endpoints.filter((e) => e.here);
    const isInternalLocal = p.internal === 'Local';
    const isExternalLocal = p.external === 'Local';
    const done = new Set<string>();
    const endpointChain = (e: Endpoint): string =>
      named('endpoint', `${base}__${e.ip.replaceAll(':', '.')}/${e.port}`);
    const hasEndpointChains = minor <= 35 || affinity !== undefined;

    const balance = (chain: string, endpoints: readonly Endpoint[]): void => {
      if (done.has(chain)) return;
      done.add(chain);
      chains.add(chain);
      const isInternal = chain === (isInternalLocal ? localChain : service);
      if (minor <= 35 && isInternal && (settings.masqueradeAll || detector !== undefined)) {
        rule(chain, [
          match(payload('daddr'), p.clusterIP),
          match({ payload: { protocol, field: 'dport' } }, p.port),
          ...(settings.masqueradeAll ? [] : [local('!=')]),
          mark,
        ]);
      }
      const key = { numgen: { mode: 'random', mod: endpoints.length, offset: 0 } };
      if (!hasEndpointChains) {
        const set = endpoints.map((e, i) => [i, { concat: [e.ip, e.port] }]);
        rule(chain, [
          match({ meta: { key: 'l4proto' } }, protocol),
          {
            dnat: {
              family: ip,
              addr: { map: { key, data: { set } } },
              ...(newer && { type_flags: 'concat' }),
            },
          },
        ]);
        return;
      }
      for (const e of endpoints) {
        const to = endpointChain(e);
        const set = named('affinity', `${base}__${e.ip.replaceAll(':', '.')}/${e.port}`);
        if (affinity !== undefined) rule(chain, [match(payload('saddr'), `@${set}`), goto(to)]);
        if (done.has(to)) continue;
        done.add(to);
        if (minor <= 35) rule(to, [match(payload('saddr'), e.ip), mark]);
        if (affinity !== undefined) {
          affinitySets.push(set);
          rule(to, [{ set: { op: 'update', elem: payload('saddr'), set: `@${set}` } }]);
        }
        rule(to, [
          match({ meta: { key: 'l4proto' } }, protocol),
          { dnat: { addr: e.ip, port: e.port } },
        ]);
      }
      const set = endpoints.map((e, i) => [i, goto(endpointChain(e))]);
      rule(chain, [{ vmap: { key, data: { set } } }]);
    };
    const ways = (
      path: readonly string[],
      endpoints: readonly Endpoint[],
      clients?: readonly string[],
    ): string[] =>
      endpoints.map((e) => {
        const full = [...path, ...(hasEndpointChains ? [endpointChain(e)] : [])];
        const odds =
          affinity === undefined ? Number((1 / endpoints.length).toPrecision(11)) : 'affinity';
        const open = clients === undefined ? '' : ` for ${[...clients].sort().join(' or ')}`;
        return `  ${e.ip} ${e.port} <- ${full.join(' > ')} (${odds})${open}`;
      });
    const tell = (
      address: string,
      number: number,
      via: string,
      what: string,
      routes: string[] = [],
    ): void => {
      // kube-proxy never takes NodePorts at the loopback addresses in this mode.
      const spares = address === 'local' ? ' not loopback' : '';
      expected.push(
        `${NUMBERS[protocol]} ${address} ${number} ${via} ${name} ${what}${spares}`,
        ...routes,
      );
    };
    const serve = (address: string, target: string): void =>
      into('service-ips', [{ concat: [address, protocol, p.port] }, goto(target)]);
    const refuse = (map: string, key: readonly unknown[], isLocal: boolean): void =>
      into(map, [
        { elem: { val: { concat: key }, comment } },
        isLocal ? { drop: null } : goto('reject-chain'),
      ]);
    const refusal = (isLocal: boolean): string =>
      isLocal ? 'drop no-local-endpoints' : 'reject no-endpoints';

    into('cluster-ips', p.clusterIP);
    const internal = isInternalLocal ? here : p.endpoints;
    if (internal.length > 0) {
      const to = isInternalLocal ? localChain : service;
      balance(to, internal);
      serve(p.clusterIP, to);
      tell(p.clusterIP, p.port, 'clusterIP', 'dnat', ways(['map service-ips', to], internal));
    } else {
      const isLocal = p.endpoints.length > 0;
      refuse('no-endpoint-services', [p.clusterIP, protocol, p.port], isLocal);
      tell(p.clusterIP, p.port, 'clusterIP', refusal(isLocal));
    }

    const addresses = [
      ...(p.externalIPs ?? []).map((address) => ({ address, isLb: false })),
      ...(p.loadBalancerIPs ?? []).map((address) => ({ address, isLb: true })),
    ];
    if (addresses.length === 0 && p.nodePort === undefined) return;
    const isOut = p.endpoints.length === 0;
    const isShort = !isOut && isExternalLocal && here.length === 0;
    if (!isOut) {
      balance(service, p.endpoints);
      if (isExternalLocal) {
        if (detector !== undefined)
          rule(external, [local('=='), goto(service)], 'short-circuit pod traffic');
        rule(external, [match(fib('saddr'), 'local'), mark], 'masquerade local traffic');
        rule(
          external,
          [match(fib('saddr'), 'local'), goto(service)],
          'short-circuit local traffic',
        );
        if (here.length > 0) {
          balance(localChain, here);
          rule(external, [goto(localChain)]);
        }
      } else {
        rule(external, [mark]);
        rule(external, [goto(service)]);
      }
    }
    const behind = (map: string, ranges?: readonly string[]): string[] => {
      const path = [`map ${map}`, external];
      if (!isExternalLocal) return ways([...path, service], p.endpoints, ranges);
      const near = [...(podsAre === undefined ? [] : [podsAre]), 'local'];
      const who = ranges?.flatMap((range) => near.map((one) => `${range} & ${one}`)) ?? near;
      return [
        ...ways([...path, service], p.endpoints, who),
        ...ways([...path, localChain], here, ranges),
      ];
    };
    for (const { address, isLb } of addresses) {
      const isWalled = isLb && p.sourceRanges !== undefined;
      const key = [address, protocol, p.port];
      const via = isLb && isWalled ? 'loadBalancerIP' : 'externalIP';
      if (!isOut) {
        serve(address, external);
        tell(
          address,
          p.port,
          via,
          'dnat',
          behind('service-ips', isWalled ? p.sourceRanges : undefined),
        );
      }
      if (isOut || isShort) {
        refuse('no-endpoint-services', key, isShort);
        // Up to 1.29 nothing tells a ClusterIP without endpoints from another address.
        tell(
          address,
          p.port,
          isOut && minor <= 29 && !isWalled ? 'clusterIP' : via,
          refusal(isShort),
        );
      }
      if (!isWalled) continue;
      const ranges = p.sourceRanges ?? [];
      if (minor <= 29) {
        into('firewall', { concat: key });
        for (const range of ranges) into('firewall-allow', { concat: [...key, network(range)] });
      } else {
        into('firewall-ips', [
          minor === 30 ? { elem: { val: { concat: key }, comment } } : { concat: key },
          goto(firewall),
        ]);
        const right = ranges.length === 1 ? network(ranges[0] ?? '') : { set: ranges.map(network) };
        if (!done.has(firewall))
          rule(firewall, [match(payload('saddr'), right, '!='), { drop: null }]);
        done.add(firewall);
      }
      if (!isOut && !isShort) tell(address, p.port, via, 'drop source-ranges');
    }
    if (p.nodePort === undefined) return;
    if (!isOut) into('service-nodeports', [{ concat: [protocol, p.nodePort] }, goto(external)]);
    if (isOut || isShort) refuse('no-endpoint-nodeports', [protocol, p.nodePort], isShort);
    for (const address of nodePortAddresses ?? ['local']) {
      if (!isOut) tell(address, p.nodePort, 'nodePort', 'dnat', behind('service-nodeports'));
      if (isOut || isShort) tell(address, p.nodePort, 'nodePort', refusal(isShort));
    }
  }

  const l4 = { meta: { key: 'l4proto' } };
  const dport = { payload: { protocol: 'th', field: 'dport' } };
  const byAddress = (map: string) => ({
    vmap: { key: { concat: [payload('daddr'), l4, dport] }, data: `@${map}` },
  });
  const atNode = nodePortAddresses
    ? [match(payload('daddr'), '@nodeport-ips')]
    : [
        match(fib('daddr'), 'local'),
        match(
          payload('daddr'),
          family === 6 ? '::1' : { prefix: { addr: '127.0.0.0', len: 8 } },
          '!=',
        ),
      ];
  if (minor >= 36 && (settings.masqueradeAll || detector !== undefined)) {
    rule('services', [
      match(payload('daddr'), '@cluster-ips'),
      ...(settings.masqueradeAll ? [] : [local('!=')]),
      setMark,
    ]);
  }
  rule('services', [byAddress('service-ips')]);
  rule('services', [
    ...atNode,
    { vmap: { key: { concat: [l4, dport] }, data: '@service-nodeports' } },
  ]);
  if (minor <= 29) {
    rule('firewall-check', [
      { match: { op: 'in', left: { ct: { key: 'state' } }, right: 'new' } },
      match({ concat: [payload('daddr'), l4, dport] }, '@firewall'),
      { jump: { target: 'firewall-allow-check' } },
    ]);
    rule('firewall-allow-check', [
      match({ concat: [payload('daddr'), l4, dport, payload('saddr')] }, '@firewall-allow'),
      { return: null },
    ]);
    rule('firewall-allow-check', [{ drop: null }]);
    rule('endpoints-check', [byAddress('no-endpoint-services')]);
  } else {
    rule('firewall-check', [byAddress('firewall-ips')]);
    rule('service-endpoints-check', [byAddress('no-endpoint-services')]);
  }
  rule('reject-chain', [
    { reject: { type: family === 6 ? 'icmpv6' : 'icmp', expr: 'port-unreachable' } },
  ]);
  if (minor <= 35) rule('mark-for-masquerade', [setMark]);

  const address = family === 6 ? 'ipv6_addr' : 'ipv4_addr';
  const key3 = [address, 'inet_proto', 'inet_service'];
  const keys = ['inet_proto', 'inet_service'];
  const set = (name: string, type: unknown, more: object = {}) => {
    const elem = elements.get(name);
    return { set: { ...own, name, type, handle: ++handle, ...more, ...(elem && { elem }) } };
  };
  const map = (name: string, type: unknown) => {
    const elem = elements.get(name);
    return { map: { ...own, name, type, handle: ++handle, map: 'verdict', ...(elem && { elem }) } };
  };
  for (const one of nodePortAddresses ?? []) into('nodeport-ips', one);
  const objects = [
    { metainfo: { version: newer ? '1.1.3' : '1.0.6', release_name: 'x', json_schema_version: 1 } },
    ...(settings.whole
      ? [
          { table: { family: ip, name: 'nat', handle: 1 } },
          {
            chain: {
              family: ip,
              table: 'nat',
              name: 'PREROUTING',
              handle: 1,
              type: 'nat',
              hook: 'prerouting',
              prio: -100,
              policy: 'accept',
            },
          },
          {
            rule: {
              family: ip,
              table: 'nat',
              chain: 'PREROUTING',
              handle: 2,
              expr: [
                { xt: { type: 'match', name: 'comment' } },
                { counter: { packets: 1, bytes: 2 } },
                { drop: null },
              ],
            },
          },
        ]
      : []),
    { table: { family: ip, name: 'kube-proxy', handle: 7 } },
    ...(minor >= 30 ? [set('cluster-ips', address)] : []),
    ...(nodePortAddresses ? [set('nodeport-ips', address)] : []),
    ...(minor >= 36 ? [set('hairpin-connections', [address, ...key3])] : []),
    ...(minor <= 29
      ? [set('firewall', key3), set('firewall-allow', [...key3, address], { flags: ['interval'] })]
      : [map('firewall-ips', key3)]),
    ...affinitySets.map((name) =>
      set(name, address, {
        size: 65_535,
        flags: newer ? 'timeout' : ['timeout', 'dynamic'],
        timeout: 60,
        elem: [{ elem: { val: family === 6 ? 'fd00::9' : '203.0.113.9', expires: 9 } }],
      }),
    ),
    map('service-ips', key3),
    map('service-nodeports', keys),
    map('no-endpoint-services', key3),
    map('no-endpoint-nodeports', keys),
    {
      chain: {
        ...own,
        name: 'nat-prerouting',
        handle: ++handle,
        type: 'nat',
        hook: 'prerouting',
        prio: -100,
        policy: 'accept',
      },
    },
    ...[...chains].map((name) => ({ chain: { ...own, name, handle: ++handle } })),
    ...rules,
  ];
  return { json: JSON.stringify({ nftables: objects }), expected };
}
