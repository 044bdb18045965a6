import { nameHash } from '../decode/rules/chain-names.js';
import { formatEndpoint } from '../model/address.js';
import {
  type Family,
  familyOf,
  type LabOptions,
  type LabService,
  podAddress,
  podNamed,
} from './spec.js';

/** kube-proxy's table as its mode nftables writes it; names of sets and chains in the order of their making. */
interface ProxyTable {
  readonly sets: ReadonlyMap<string, NftSet>;
  readonly chains: ReadonlyMap<string, NftChain>;
}

interface NftSet {
  readonly kind: 'set' | 'map';
  /** What stands between the braces of its making. */
  readonly spec: string;
  readonly elements: readonly Element[];
  /** Filled by the kernel: never flushed, never filled. */
  readonly dynamic: boolean;
}

interface Element {
  readonly key: string;
  readonly comment?: string;
  readonly value?: string;
}

interface NftChain {
  /** Type, hook and priority of a base chain, or a comment, with its braces; else empty. */
  readonly spec: string;
  readonly rules: readonly string[];
}

/** A port of a Service, and what belongs to it in the table. */
interface ServicePort {
  readonly service: LabService;
  /** As the comments of elements name it. */
  readonly comment: string;
  readonly chain: string;
  readonly external: string;
  readonly endpoints: readonly Endpoint[];
}

interface Endpoint {
  readonly ip: string;
  readonly local: boolean;
  readonly to: string;
  readonly chain: string;
  readonly affinitySet: string;
}

interface Dialect {
  readonly family: Family;
  /** `ip` or `ip6`: the table's family and the header's name. */
  readonly ip: string;
  readonly inline: boolean;
  readonly clusterCIDR: string | undefined;
  readonly nodeAddresses: readonly string[];
}

const TABLE = 'kube-proxy';
const MARK = '0x4000';
const KEY = '. meta l4proto . th dport';
const HASH_CHARACTERS = 8;

/**
 * kube-proxy's table of one family as input for `nft -f`, in the shape of 1.30 or 1.36 (chains, order,
 * comments, priorities; pkg/proxy/nftables/proxier.go).
 */
export function nftInput(options: LabOptions, family: Family): string {
  const dialect = dialectOf(options, family);
  const { sets, chains } = tableOf(options, dialect);
  const t = `${dialect.ip} ${TABLE}`;
  return lines([
    `add table ${t} { comment "rules for kube-proxy" ; }`,
    ...[...sets].map(([name, { kind, spec }]) => `add ${kind} ${t} ${name} { ${spec} }`),
    ...[...chains].map(([name, { spec }]) => `add chain ${t} ${name} ${spec}`),
    ...[...sets].flatMap(([name, { elements }]) => added(t, name, elements)),
    ...[...chains].flatMap(([name, chain]) => filled(t, name, chain)),
  ]);
}

/**
 * What kube-proxy gives to nft when something has changed, one transaction: up to 1.30 all sets and maps
 * are emptied and filled again, later elements come and go one by one. Chains that nothing needs any
 * more are emptied only: to delete them at once would be refused, since what led there is not yet gone.
 */
export function nftSyncInput(before: LabOptions, after: LabOptions, family: Family): string {
  const dialect = dialectOf(after, family);
  const held = tableOf(before, dialect);
  const wanted = tableOf(after, dialect);
  const t = `${dialect.ip} ${TABLE}`;
  const commands: string[] = [];
  for (const [name, { kind, spec }] of wanted.sets) {
    if (!held.sets.has(name)) commands.push(`add ${kind} ${t} ${name} { ${spec} }`);
  }
  const changed = [...wanted.chains].filter(
    ([name, { rules }]) => rules.join() !== held.chains.get(name)?.rules.join(),
  );
  for (const [name, { spec }] of changed) {
    commands.push(`add chain ${t} ${name} ${spec}`, `flush chain ${t} ${name}`);
  }
  for (const [name, { kind, elements, dynamic }] of wanted.sets) {
    if (dynamic) continue;
    const old = held.sets.get(name)?.elements ?? [];
    if (dialect.inline) {
      commands.push(...removed(t, name, missing(old, elements)));
      commands.push(...added(t, name, missing(elements, old)));
    } else {
      commands.push(`flush ${kind} ${t} ${name}`, ...added(t, name, elements));
    }
  }
  for (const [name, chain] of changed) commands.push(...filled(t, name, chain));
  for (const name of held.chains.keys()) {
    if (!wanted.chains.has(name)) commands.push(`flush chain ${t} ${name}`);
  }
  for (const name of held.sets.keys()) {
    if (!wanted.sets.has(name)) commands.push(`delete set ${t} ${name}`);
  }
  return lines(commands);
}

function lines(commands: readonly string[]): string {
  return `${commands.map((command) => command.trimEnd()).join('\n')}\n`;
}

function added(t: string, name: string, elements: readonly Element[]): string[] {
  return elements.length === 0
    ? []
    : [`add element ${t} ${name} { ${elements.map(textOf).join(', ')} }`];
}

function removed(t: string, name: string, elements: readonly Element[]): string[] {
  return elements.length === 0
    ? []
    : [`delete element ${t} ${name} { ${elements.map(textOf).join(', ')} }`];
}

function filled(t: string, name: string, { rules }: NftChain): string[] {
  return rules.map((rule) => `add rule ${t} ${name} ${rule}`);
}

function textOf({ key, comment, value }: Element): string {
  const said = comment === undefined ? '' : ` comment "${comment}"`;
  return `${key}${said}${value === undefined ? '' : ` : ${value}`}`;
}

function missing(from: readonly Element[], others: readonly Element[]): Element[] {
  const known = new Set(others.map(textOf));
  return from.filter((element) => !known.has(textOf(element)));
}

function dialectOf(options: LabOptions, family: Family): Dialect {
  const { clusterCIDR, nodeAddress } = options;
  return {
    family,
    ip: family === 6 ? 'ip6' : 'ip',
    inline: options.nftLayout !== '1.30',
    clusterCIDR:
      clusterCIDR !== undefined && familyOf(clusterCIDR) === family ? clusterCIDR : undefined,
    nodeAddresses: familyOf(nodeAddress) === family ? [nodeAddress] : [],
  };
}

function tableOf(options: LabOptions, dialect: Dialect): ProxyTable {
  const ports = options.services
    .filter((service) => familyOf(service.clusterIP) === dialect.family)
    .map((service) => servicePort(options, service, dialect));
  return {
    sets: new Map([...fixedSets(ports, dialect), ...affinitySets(ports, dialect)]),
    chains: new Map([
      ...baseChains(dialect),
      ...fixedChains(dialect),
      ...ports.flatMap((port) => serviceChains(port, dialect)),
    ]),
  };
}

function servicePort(options: LabOptions, service: LabService, dialect: Dialect): ServicePort {
  const { namespace, protocol, portName = '' } = service;
  const whole = `${namespace}/${service.name}`;
  const base = `${whole}/${protocol}/${portName}`;
  const named = `${nameHash(base).slice(0, HASH_CHARACTERS)}-${base}`;
  return {
    service,
    comment: portName === '' ? whole : `${whole}:${portName}`,
    chain: `service-${named}`,
    external: `external-${named}`,
    endpoints: service.endpoints.map((name) => {
      const pod = podNamed(options, name);
      const ip = podAddress(pod, dialect.family);
      const own = `${base}__${ip.replaceAll(':', '.')}/${service.targetPort}`;
      const suffix = `${nameHash(own).slice(0, HASH_CHARACTERS)}-${own}`;
      return {
        ip,
        local: pod.node === undefined,
        to: formatEndpoint(ip, service.targetPort),
        chain: `endpoint-${suffix}`,
        affinitySet: `affinity-${suffix}`,
      };
    }),
  };
}

function fixedSets(ports: readonly ServicePort[], dialect: Dialect): [string, NftSet][] {
  const { family, nodeAddresses, inline } = dialect;
  const address = `ipv${family}_addr`;
  const services = `type ${address} . inet_proto . inet_service : verdict`;
  const nodePorts = 'type inet_proto . inet_service : verdict';
  const said = (text: string): string => `comment "${text}"`;
  const fixed = (
    kind: NftSet['kind'],
    spec: readonly string[],
    elements: readonly Element[],
  ): NftSet => ({
    kind,
    spec: spec.map((part) => `${part} ;`).join(' '),
    elements,
    dynamic: false,
  });
  const sets: [string, NftSet][] = [
    [
      'cluster-ips',
      fixed(
        'set',
        [`type ${address}`, said('Active ClusterIPs')],
        unique(ports.map(({ service }) => ({ key: service.clusterIP }))),
      ),
    ],
    [
      'nodeport-ips',
      fixed(
        'set',
        [`type ${address}`, said('IPs that accept NodePort traffic')],
        nodeAddresses.map((key) => ({ key })),
      ),
    ],
    [
      'no-endpoint-services',
      fixed(
        'map',
        [services, said('vmap to drop or reject packets to services with no endpoints')],
        ports.filter(isEmpty).flatMap((port) =>
          [port.service.clusterIP, ...(port.service.externalIPs ?? [])].map((ip) => ({
            key: `${ip} . ${port.service.protocol} . ${port.service.port}`,
            comment: port.comment,
            value: 'goto reject-chain',
          })),
        ),
      ),
    ],
    [
      'no-endpoint-nodeports',
      fixed(
        'map',
        [nodePorts, said('vmap to drop or reject packets to service nodeports with no endpoints')],
        ports.filter(isEmpty).flatMap((port) =>
          onNodePort(port).map((key) => ({
            key,
            comment: port.comment,
            value: 'goto reject-chain',
          })),
        ),
      ),
    ],
    [
      'firewall-ips',
      fixed(
        'map',
        [services, said('destinations that are subject to LoadBalancerSourceRanges')],
        [],
      ),
    ],
    [
      'service-ips',
      fixed(
        'map',
        [services, said('ClusterIP, ExternalIP and LoadBalancer IP traffic')],
        ports
          .filter((port) => !isEmpty(port))
          .flatMap(({ service, chain, external }) => {
            const key = (ip: string): string => `${ip} . ${service.protocol} . ${service.port}`;
            return [
              { key: key(service.clusterIP), value: `goto ${chain}` },
              ...(service.externalIPs ?? []).map((ip) => ({
                key: key(ip),
                value: `goto ${external}`,
              })),
            ];
          }),
      ),
    ],
    [
      'service-nodeports',
      fixed(
        'map',
        [nodePorts, said('NodePort traffic')],
        ports
          .filter((port) => !isEmpty(port))
          .flatMap((port) =>
            onNodePort(port).map((key) => ({ key, value: `goto ${port.external}` })),
          ),
      ),
    ],
  ];
  if (inline) {
    const pairs = ports.flatMap(({ service, endpoints }) =>
      endpoints
        .filter(({ local }) => local)
        .map(({ ip }) => ({
          key: `${ip} . ${ip} . ${service.protocol} . ${service.targetPort}`,
        })),
    );
    sets.unshift([
      'hairpin-connections',
      fixed(
        'set',
        [
          `type ${address} . ${address} . inet_proto . inet_service`,
          said('service hairpin connections'),
        ],
        unique(pairs),
      ),
    ]);
  }
  return sets;
}

function unique(elements: readonly Element[]): Element[] {
  return [...new Map(elements.map((element) => [element.key, element])).values()];
}

function isEmpty({ endpoints }: ServicePort): boolean {
  return endpoints.length === 0;
}

function onNodePort({ service: { nodePort, protocol } }: ServicePort): string[] {
  return nodePort === undefined ? [] : [`${protocol} . ${nodePort}`];
}

function affinitySets(ports: readonly ServicePort[], { family }: Dialect): [string, NftSet][] {
  return ports.flatMap(({ service: { affinitySeconds }, endpoints }) =>
    affinitySeconds === undefined
      ? []
      : endpoints.map(({ affinitySet }): [string, NftSet] => [
          affinitySet,
          {
            kind: 'set',
            spec: `type ipv${family}_addr ; flags dynamic,timeout ; timeout ${affinitySeconds}s ;`,
            elements: [],
            dynamic: true,
          },
        ]),
  );
}

/** Base chains; their names and priorities changed with 1.33. */
function baseChains({ inline }: Dialect): [string, NftChain][] {
  const base = (
    name: string,
    [type, hook, priority]: readonly [string, string, number],
    ...jumps: readonly string[]
  ): [string, NftChain] => [
    name,
    { spec: `{ type ${type} hook ${hook} priority ${priority} ; }`, rules: jumps },
  ];
  const fresh = (chain: string): string => `ct state new jump ${chain}`;
  const filter = inline ? 0 : -110;
  const input = base(
    'filter-input',
    ['filter', 'input', filter],
    fresh('nodeport-endpoints-check'),
    fresh('service-endpoints-check'),
  );
  const forward = base(
    'filter-forward',
    ['filter', 'forward', filter],
    fresh('service-endpoints-check'),
    fresh('cluster-ips-check'),
  );
  const filters = inline
    ? [
        base('filter-prerouting-pre-dnat', ['filter', 'prerouting', -110], fresh('firewall-check')),
        base('filter-output-pre-dnat', ['filter', 'output', -110], fresh('firewall-check')),
        input,
        forward,
        base(
          'filter-output',
          ['filter', 'output', filter],
          fresh('service-endpoints-check'),
          fresh('cluster-ips-check'),
        ),
      ]
    : [
        base('filter-prerouting', ['filter', 'prerouting', -110], fresh('firewall-check')),
        input,
        forward,
        base(
          'filter-output',
          ['filter', 'output', filter],
          fresh('service-endpoints-check'),
          fresh('firewall-check'),
        ),
        base('filter-output-post-dnat', ['filter', 'output', -90], fresh('cluster-ips-check')),
      ];
  return [
    ...filters,
    base('nat-prerouting', ['nat', 'prerouting', -100], 'jump services'),
    base('nat-output', ['nat', 'output', -100], 'jump services'),
    base('nat-postrouting', ['nat', 'postrouting', 100], 'jump masquerading'),
  ];
}

function fixedChains({ ip, inline, clusterCIDR }: Dialect): [string, NftChain][] {
  const plain = (name: string, ...rules: readonly string[]): [string, NftChain] => [
    name,
    { spec: '', rules },
  ];
  const nodePort = (map: string): string =>
    `${ip} daddr @nodeport-ips meta l4proto . th dport vmap @${map}`;
  const outsiders =
    inline && clusterCIDR !== undefined
      ? [
          `${ip} daddr @cluster-ips ${ip} saddr != ${clusterCIDR} mark set mark or ${MARK} comment "masquerade clusterIP traffic from outside cluster"`,
        ]
      : [];
  const chains = [
    plain('nodeport-endpoints-check', nodePort('no-endpoint-nodeports')),
    plain('service-endpoints-check', `${ip} daddr ${KEY} vmap @no-endpoint-services`),
    plain('firewall-check', `${ip} daddr ${KEY} vmap @firewall-ips`),
    plain(
      'services',
      ...outsiders,
      `${ip} daddr ${KEY} vmap @service-ips`,
      nodePort('service-nodeports'),
    ),
    inline
      ? plain(
          'masquerading',
          `mark and ${MARK} != 0 mark set mark xor ${MARK} masquerade fully-random`,
          `ct status dnat ${ip} saddr . ${ip} daddr ${KEY} @hairpin-connections masquerade fully-random`,
        )
      : plain(
          'masquerading',
          `mark and ${MARK} == 0 return`,
          `mark set mark xor ${MARK}`,
          'masquerade fully-random',
        ),
    plain(
      'cluster-ips-check',
      `${ip} daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"`,
    ),
  ];
  if (!inline) chains.push(plain('mark-for-masquerade', `mark set mark or ${MARK}`));
  const text = 'helper for @no-endpoint-services / @no-endpoint-nodeports';
  chains.push(['reject-chain', { spec: `{ comment "${text}" ; }`, rules: ['reject'] }]);
  return chains;
}

function serviceChains(port: ServicePort, dialect: Dialect): [string, NftChain][] {
  const { service, chain, endpoints } = port;
  if (isEmpty(port)) return [];
  const { ip, inline, clusterCIDR } = dialect;
  const { protocol, affinitySeconds } = service;
  const sticky = affinitySeconds !== undefined;
  const chains: [string, NftChain][] = [];
  const add = (name: string, rules: readonly string[]): void => {
    chains.push([name, { spec: '', rules }]);
  };
  const rules: string[] = [];
  if (!inline && clusterCIDR !== undefined) {
    rules.push(
      `${ip} daddr ${service.clusterIP} ${protocol} dport ${service.port} ${ip} saddr != ${clusterCIDR} jump mark-for-masquerade`,
    );
  }
  if (inline && !sticky) {
    const to = endpoints.map(({ ip: own }, index) => `${index} : ${own} . ${service.targetPort}`);
    rules.push(
      `meta l4proto ${protocol} dnat ${ip} addr . port to numgen random mod ${to.length} map { ${to.join(', ')} }`,
    );
  } else {
    for (const endpoint of endpoints) {
      const hairpin = inline ? [] : [`${ip} saddr ${endpoint.ip} jump mark-for-masquerade`];
      const remembered = sticky ? [`update @${endpoint.affinitySet} { ${ip} saddr }`] : [];
      const dnat = `meta l4proto ${protocol} dnat to ${endpoint.to}`;
      add(endpoint.chain, [...hairpin, ...remembered, dnat]);
      if (sticky) rules.push(`${ip} saddr @${endpoint.affinitySet} goto ${endpoint.chain}`);
    }
    const choices = endpoints.map((endpoint, index) => `${index} : goto ${endpoint.chain}`);
    rules.push(`numgen random mod ${choices.length} vmap { ${choices.join(', ')} }`);
  }
  add(chain, rules);
  if (service.nodePort !== undefined || service.externalIPs !== undefined) {
    add(port.external, [
      inline ? `mark set mark or ${MARK} comment "masquerade"` : 'jump mark-for-masquerade',
      `goto ${chain}`,
    ]);
  }
  return chains;
}
