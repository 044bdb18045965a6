import { endpointChainHash, serviceChainHash } from '../decode/rules/chain-names.js';
import { formatEndpoint } from '../model/address.js';
import {
  backendOf,
  type Family,
  familyOf,
  type LabOptions,
  type LabService,
  podAddress,
  podNamed,
  type RuleBackend,
} from './spec.js';

/** What kube-proxy keeps in memory of one service port, in one family. */
interface ServicePort {
  readonly service: LabService;
  /** `namespace/name:portName` as this version writes and hashes it. */
  readonly name: string;
  /** The sixteen characters that all chains of this port share. */
  readonly hash: string;
  /** With the length of its prefix, as the next. */
  readonly clusterIP: string;
  readonly externalIPs: readonly string[];
  readonly endpoints: readonly {
    readonly chain: string;
    readonly ip: string;
    readonly to: string;
  }[];
}

interface Dialect {
  readonly family: Family;
  readonly old: boolean;
  readonly clusterCIDR: string | undefined;
}

const COMMENT_PORTALS = '-m comment --comment "kubernetes service portals"';
const COMMENT_EXTERNAL = '-m comment --comment "kubernetes externally-visible service portals"';
const COMMENT_FIREWALL = '-m comment --comment "kubernetes load balancer firewall"';
const NEW = '-m conntrack --ctstate NEW';

/** One table of a dump: its chains in order, their rules with `-A CHAIN`. */
interface Table {
  readonly name: string;
  readonly chains: readonly string[];
  readonly rules: readonly string[];
}

/**
 * The node's rules for one family as input for iptables-restore, in the shape in which kube-proxy 1.19 or
 * 1.24 and later write them (chains, order, comments, probabilities; pkg/proxy/iptables/proxier.go), with
 * the jumps from the built-in chains in the order in which they are found on a fresh node: each is inserted
 * at position 1, so the last written comes first. KUBE-FIREWALL and KUBE-MARK-DROP are the kubelet's.
 * Of a node with two back ends, those that `backend` holds.
 */
export function restoreInput(
  options: LabOptions,
  family: Family,
  backend: RuleBackend = options.ruleBackend,
): string {
  const canary: Table = { name: 'mangle', chains: ['KUBE-PROXY-CANARY'], rules: [] };
  return [canary, ...tablesOf(options, family, backend)].map(print).join('');
}

/**
 * What kube-proxy gives to `iptables-restore --noflush` when something has changed: its top-level
 * chains, the chains of the Services that changed (up to 1.27: of all), and `-X` for those that nothing
 * needs any more. The jumps from built-in chains and the kubelet's chains stay as they are.
 */
export function syncInput(
  before: LabOptions,
  after: LabOptions,
  family: Family,
  backend: RuleBackend = after.ruleBackend,
): string {
  const known = tablesOf(before, family, backend);
  return tablesOf(after, family, backend)
    .map((wanted, index) => {
      const held = known[index] ?? wanted;
      const rules = byChain(wanted);
      const old = byChain(held);
      const written = wanted.chains.filter((chain) => {
        if (NOT_OURS.has(chain)) return false;
        if (!PER_SERVICE.test(chain) || after.chainNames === '1.19') return true;
        return rules.get(chain)?.join() !== old.get(chain)?.join();
      });
      const stale = held.chains.filter((chain) => !wanted.chains.includes(chain));
      return print({
        name: wanted.name,
        chains: [...written, ...stale],
        rules: [
          ...written.flatMap((chain) => rules.get(chain) ?? []),
          ...stale.map((chain) => `-X ${chain}`),
        ],
      });
    })
    .join('');
}

/** Chains that no sync of kube-proxy touches. */
const NOT_OURS = new Set(['KUBE-FIREWALL', 'KUBE-MARK-DROP', 'KUBE-PROXY-CANARY']);
const PER_SERVICE = /^KUBE-(?:SVC|SEP|EXT)-/;

function byChain({ rules }: Table): Map<string, string[]> {
  const chains = new Map<string, string[]>();
  for (const rule of rules) {
    const [, chain = ''] = rule.split(' ', 2);
    chains.set(chain, [...(chains.get(chain) ?? []), rule]);
  }
  return chains;
}

function tablesOf(options: LabOptions, family: Family, backend: RuleBackend): Table[] {
  const dialect: Dialect = {
    family,
    old: options.chainNames === '1.19',
    // kube-proxy drops a CIDR of the other family.
    clusterCIDR:
      options.clusterCIDR !== undefined && familyOf(options.clusterCIDR) === family
        ? options.clusterCIDR
        : undefined,
  };
  const ports = options.services
    .filter((service) => familyOf(service.clusterIP) === family)
    .filter((service) => backendOf(options, service) === backend)
    .map((service) => servicePort(options, service, dialect));
  return [filterTable(ports, dialect), natTable(ports, dialect)];
}

function servicePort(options: LabOptions, service: LabService, dialect: Dialect): ServicePort {
  const base = `${service.namespace}/${service.name}`;
  // Up to 1.19 an unnamed port leaves its colon behind.
  const named = service.portName !== undefined && service.portName !== '';
  const name = named || dialect.old ? `${base}:${service.portName ?? ''}` : base;
  const length = dialect.family === 6 ? 128 : 32;
  return {
    service,
    name,
    hash: serviceChainHash(name, service.protocol),
    clusterIP: `${service.clusterIP}/${length}`,
    externalIPs: (service.externalIPs ?? []).map((ip) => `${ip}/${length}`),
    endpoints: service.endpoints.map((pod) => {
      const ip = podAddress(podNamed(options, pod), dialect.family);
      const to = formatEndpoint(ip, service.targetPort);
      return { chain: `KUBE-SEP-${endpointChainHash(name, service.protocol, to)}`, ip, to };
    }),
  };
}

function print({ name, chains, rules }: Table): string {
  const lines = [`*${name}`, ...chains.map((chain) => `:${chain} - [0:0]`), ...rules, 'COMMIT'];
  return `${lines.join('\n')}\n`;
}

function comment(text: string): string {
  return `-m comment --comment "${text}"`;
}

/** `-d VIP -p tcp -m comment --comment "…" -m tcp --dport 80`, the way to name a Service's address. */
function toClusterIP(port: ServicePort, text: string): string {
  return toAddress(port, port.clusterIP, text);
}

function toAddress(port: ServicePort, address: string, text: string): string {
  const { protocol, port: number } = port.service;
  return `-d ${address} -p ${protocol} ${comment(text)} -m ${protocol} --dport ${number}`;
}

function filterTable(ports: readonly ServicePort[], dialect: Dialect): Table {
  const { old, family } = dialect;
  const chains = [
    'KUBE-EXTERNAL-SERVICES',
    'KUBE-FIREWALL',
    'KUBE-FORWARD',
    'KUBE-PROXY-CANARY',
    'KUBE-SERVICES',
  ];
  if (!old) chains.push('KUBE-NODEPORTS', 'KUBE-PROXY-FIREWALL');
  const jumps = old
    ? [
        '-A INPUT -j KUBE-FIREWALL',
        `-A INPUT ${NEW} ${COMMENT_PORTALS} -j KUBE-SERVICES`,
        `-A INPUT ${NEW} ${COMMENT_EXTERNAL} -j KUBE-EXTERNAL-SERVICES`,
        `-A FORWARD ${comment('kubernetes forwarding rules')} -j KUBE-FORWARD`,
        `-A FORWARD ${NEW} ${COMMENT_PORTALS} -j KUBE-SERVICES`,
        '-A OUTPUT -j KUBE-FIREWALL',
        `-A OUTPUT ${NEW} ${COMMENT_PORTALS} -j KUBE-SERVICES`,
      ]
    : [
        '-A INPUT -j KUBE-FIREWALL',
        `-A INPUT ${NEW} ${COMMENT_FIREWALL} -j KUBE-PROXY-FIREWALL`,
        `-A INPUT ${comment('kubernetes health check service ports')} -j KUBE-NODEPORTS`,
        `-A INPUT ${NEW} ${COMMENT_EXTERNAL} -j KUBE-EXTERNAL-SERVICES`,
        `-A FORWARD ${NEW} ${COMMENT_FIREWALL} -j KUBE-PROXY-FIREWALL`,
        `-A FORWARD ${comment('kubernetes forwarding rules')} -j KUBE-FORWARD`,
        `-A FORWARD ${NEW} ${COMMENT_PORTALS} -j KUBE-SERVICES`,
        `-A FORWARD ${NEW} ${COMMENT_EXTERNAL} -j KUBE-EXTERNAL-SERVICES`,
        '-A OUTPUT -j KUBE-FIREWALL',
        `-A OUTPUT ${NEW} ${COMMENT_FIREWALL} -j KUBE-PROXY-FIREWALL`,
        `-A OUTPUT ${NEW} ${COMMENT_PORTALS} -j KUBE-SERVICES`,
      ];
  return {
    name: 'filter',
    chains,
    rules: [
      ...jumps,
      ...kubeFirewall(dialect),
      '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
      `-A KUBE-FORWARD ${comment('kubernetes forwarding rules')} -m mark --mark 0x4000/0x4000 -j ACCEPT`,
      ...forwardEstablished(dialect),
      ...rejections(ports, family),
    ],
  };
}

function kubeFirewall({ old, family }: Dialect): string[] {
  const rules: string[] = [];
  if (old) {
    const text = comment('kubernetes firewall for dropping marked packets');
    rules.push(`-A KUBE-FIREWALL ${text} -m mark --mark 0x8000/0x8000 -j DROP`);
  }
  if (family === 4) {
    const text = comment('block incoming localnet connections');
    rules.push(
      `-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 ${text} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`,
    );
  }
  return rules;
}

function forwardEstablished({ old, clusterCIDR }: Dialect): string[] {
  const state = '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT';
  if (!old) return [`-A KUBE-FORWARD ${comment('kubernetes forwarding conntrack rule')} ${state}`];
  if (clusterCIDR === undefined) return [];
  return [
    `-A KUBE-FORWARD -s ${clusterCIDR} ${comment('kubernetes forwarding conntrack pod source rule')} ${state}`,
    `-A KUBE-FORWARD -d ${clusterCIDR} ${comment('kubernetes forwarding conntrack pod destination rule')} ${state}`,
  ];
}

/** Services without endpoints have no chain in nat; what is sent to them is rejected, since nothing translated it. */
function rejections(ports: readonly ServicePort[], family: Family): string[] {
  const reject = `-j REJECT --reject-with ${family === 6 ? 'icmp6' : 'icmp'}-port-unreachable`;
  const rules: string[] = [];
  for (const port of ports) {
    if (port.endpoints.length > 0) continue;
    const text = `${port.name} has no endpoints`;
    rules.push(`-A KUBE-SERVICES ${toClusterIP(port, text)} ${reject}`);
    for (const address of port.externalIPs) {
      rules.push(`-A KUBE-EXTERNAL-SERVICES ${toAddress(port, address, text)} ${reject}`);
    }
    const { protocol, nodePort } = port.service;
    if (nodePort === undefined) continue;
    rules.push(
      `-A KUBE-EXTERNAL-SERVICES -p ${protocol} ${comment(text)} -m addrtype --dst-type LOCAL -m ${protocol} --dport ${nodePort} ${reject}`,
    );
  }
  return rules;
}

function natTable(ports: readonly ServicePort[], dialect: Dialect): Table {
  const chains = [
    'KUBE-MARK-MASQ',
    'KUBE-NODEPORTS',
    'KUBE-POSTROUTING',
    'KUBE-PROXY-CANARY',
    'KUBE-SERVICES',
  ];
  if (dialect.old) chains.push('KUBE-MARK-DROP');
  const rules = [
    `-A PREROUTING ${COMMENT_PORTALS} -j KUBE-SERVICES`,
    `-A OUTPUT ${COMMENT_PORTALS} -j KUBE-SERVICES`,
    `-A POSTROUTING ${comment('kubernetes postrouting rules')} -j KUBE-POSTROUTING`,
  ];
  if (dialect.old) rules.push('-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000');
  rules.push(
    '-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000',
    '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0',
    `-A KUBE-POSTROUTING ${comment('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully`,
  );
  for (const port of ports) {
    if (port.endpoints.length === 0) continue;
    chains.push(`KUBE-SVC-${port.hash}`, ...port.endpoints.map((endpoint) => endpoint.chain));
    rules.push(
      ...dispatchRules(port, dialect),
      ...balancingRules(port, dialect),
      ...endpointRules(port),
    );
    const { nodePort } = port.service;
    if (nodePort === undefined && port.externalIPs.length === 0) continue;
    if (!dialect.old) {
      chains.push(`KUBE-EXT-${port.hash}`);
      rules.push(...externalRules(port));
    }
    rules.push(...externalIPRules(port, dialect));
    if (nodePort !== undefined) rules.push(...nodePortRules(port, nodePort, dialect));
  }
  const note = comment(
    'kubernetes service nodeports; NOTE: this must be the last rule in this chain',
  );
  rules.push(`-A KUBE-SERVICES ${note} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`);
  return { name: 'nat', chains, rules };
}

/** The masquerade rule stands before the dispatch up to 1.21, inside the Service's chain later. */
function dispatchRules(port: ServicePort, { old, clusterCIDR }: Dialect): string[] {
  const match = toClusterIP(port, `${port.name} cluster IP`);
  const rules: string[] = [];
  if (clusterCIDR !== undefined) {
    const chain = old ? 'KUBE-SERVICES' : `KUBE-SVC-${port.hash}`;
    rules.push(`-A ${chain} ! -s ${clusterCIDR} ${match} -j KUBE-MARK-MASQ`);
  }
  rules.push(`-A KUBE-SERVICES ${match} -j KUBE-SVC-${port.hash}`);
  return rules;
}

/** The comment names the endpoint from 1.24 on. */
function balancingRules(port: ServicePort, { old }: Dialect): string[] {
  const chain = `-A KUBE-SVC-${port.hash}`;
  const text = (to: string): string => comment(old ? port.name : `${port.name} -> ${to}`);
  const { affinitySeconds } = port.service;
  const rules: string[] = [];
  if (affinitySeconds !== undefined) {
    for (const { chain: target, to } of port.endpoints) {
      const recent = `-m recent --rcheck --seconds ${affinitySeconds} --reap --name ${target} --rsource`;
      rules.push(`${chain} ${text(to)} ${recent} -j ${target}`);
    }
  }
  const total = port.endpoints.length;
  for (const [index, { chain: target, to }] of port.endpoints.entries()) {
    const left = total - index;
    // Ten digits, as kube-proxy formats 1/n; the kernel rounds to 1/2^31.
    const chance =
      left > 1 ? ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}` : '';
    rules.push(`${chain} ${text(to)}${chance} -j ${target}`);
  }
  return rules;
}

function endpointRules(port: ServicePort): string[] {
  const { protocol, affinitySeconds } = port.service;
  const text = comment(port.name);
  return port.endpoints.flatMap(({ chain, ip, to }) => {
    const recent =
      affinitySeconds === undefined ? '' : ` -m recent --set --name ${chain} --rsource`;
    return [
      `-A ${chain} -s ${ip} ${text} -j KUBE-MARK-MASQ`,
      `-A ${chain} -p ${protocol} ${text}${recent} -m ${protocol} -j DNAT --to-destination ${to}`,
    ];
  });
}

/** Everything that comes to an external address of a Service (1.24 and later). */
function externalRules(port: ServicePort): string[] {
  const chain = `KUBE-EXT-${port.hash}`;
  const why = comment(`masquerade traffic for ${port.name} external destinations`);
  return [`-A ${chain} ${why} -j KUBE-MARK-MASQ`, `-A ${chain} -j KUBE-SVC-${port.hash}`];
}

/** Up to 1.20 what a local process sends to an address that is not this node's goes there untranslated. */
function externalIPRules(port: ServicePort, { old }: Dialect): string[] {
  return port.externalIPs.flatMap((address) => {
    const rule = `-A KUBE-SERVICES ${toAddress(port, address, `${port.name} external IP`)}`;
    if (!old) return [`${rule} -j KUBE-EXT-${port.hash}`];
    return [
      `${rule} -j KUBE-MARK-MASQ`,
      `${rule} -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j KUBE-SVC-${port.hash}`,
      `${rule} -m addrtype --dst-type LOCAL -j KUBE-SVC-${port.hash}`,
    ];
  });
}

function nodePortRules(port: ServicePort, nodePort: number, { old }: Dialect): string[] {
  const { protocol } = port.service;
  const match = `-p ${protocol} ${comment(port.name)} -m ${protocol} --dport ${nodePort}`;
  if (!old) return [`-A KUBE-NODEPORTS ${match} -j KUBE-EXT-${port.hash}`];
  return [
    `-A KUBE-NODEPORTS ${match} -j KUBE-MARK-MASQ`,
    `-A KUBE-NODEPORTS ${match} -j KUBE-SVC-${port.hash}`,
  ];
}
