import { createHash } from 'node:crypto';

/**
 * A small kube-proxy that knows nothing of the code under test: it writes, in the words of
 * iptables-save, what the iptables proxier of one Kubernetes version makes of Services, and tells beside
 * it what must be read from that.
 */
export interface Port {
  readonly namespace: string;
  readonly name: string;
  /** Empty for the unnamed port. */
  readonly portName: string;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly clusterIP: string;
  readonly port: number;
  readonly nodePort?: number;
  readonly externalIPs?: readonly string[];
  readonly loadBalancerIPs?: readonly string[];
  readonly sourceRanges?: readonly string[];
  readonly external?: 'Cluster' | 'Local';
  readonly internal?: 'Cluster' | 'Local';
  /** Seconds. */
  readonly affinity?: number;
  readonly endpoints: readonly Endpoint[];
}

export interface Endpoint {
  readonly ip: string;
  readonly port: number;
  /** On this node. */
  readonly here: boolean;
}

export interface Settings {
  /** The minor version: 14 to 36. */
  readonly minor: number;
  readonly family?: 4 | 6;
  /** The match for local Pods, `-s 10.244.0.0/16`, `-i cali+`; absent: none. */
  readonly detector?: string;
  readonly masqueradeAll?: boolean;
  /** More than 1,000 endpoints on the node: rules for endpoints have no comments. */
  readonly large?: boolean;
  /** `--nodeport-addresses`: the node's addresses in it; absent: all. */
  readonly nodePortAddresses?: readonly string[];
  readonly localhostNodePorts?: boolean;
  /** The node's own address lies in every range. */
  readonly nodeInRanges?: boolean;
}

export interface Written {
  readonly nat: readonly string[];
  readonly filter: readonly string[];
  /** Entries and routes as lines, see `lines`. */
  readonly expected: readonly string[];
  /** The exact shares of each branch of each entry, over 2^31 to the power of the branch's size. */
  readonly shares: readonly (readonly bigint[])[];
}

interface Route {
  readonly endpoint: Endpoint;
  readonly path: readonly string[];
  readonly share: number;
  /** Alternatives, each a conjunction; absent: everyone. */
  readonly clients: readonly string[] | undefined;
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const ONE = 1n << 31n;

/** The first 16 characters of the base32 of a SHA-256, by way of its binary digits. */
function hash(text: string): string {
  const digits = createHash('sha256').update(text).digest('hex');
  const bits = [...digits].map((d) => Number.parseInt(d, 16).toString(2).padStart(4, '0')).join('');
  const fives = bits.match(/.{5}/g) ?? [];
  return fives
    .slice(0, 16)
    .map((five) => BASE32[Number.parseInt(five, 2)])
    .join('');
}

const textOf = ({ ip, port }: Endpoint): string =>
  ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
const quote = (text: string): string => (/^[-_0-9a-zA-Z]+$/.test(text) ? text : `"${text}"`);
const comment = (text: string): string => `-m comment --comment ${quote(text)} `;
const NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;
const LOCAL_SOURCE = '-m addrtype --src-type LOCAL ';

/** Eleven significant digits of a fraction. */
function decimal(numerator: bigint, denominator: bigint): number {
  const SCALE = 10n ** 30n;
  return Number((Number((numerator * SCALE) / denominator) / 1e30).toPrecision(11));
}

/** The chance of each of so many endpoints: kube-proxy writes digits, the kernel keeps 31 bits. */
function chances(count: number, minor: number): { p: number; exact: bigint[] }[] {
  let left = 1n;
  const all: { p: number; exact: bigint[] }[] = [];
  const shares: bigint[] = [];
  for (let i = 0; i < count; i++) {
    const written = (1 / (count - i)).toFixed(minor <= 16 ? 5 : 10);
    const kept = i === count - 1 ? ONE : BigInt(Math.round(Number(written) * 2 ** 31));
    all.push({ p: decimal(left * kept, ONE ** BigInt(i + 1)), exact: shares });
    shares.push(left * kept * ONE ** BigInt(count - i - 1));
    left *= ONE - kept;
  }
  return all;
}

/** What one node's kube-proxy writes. */
export function writeRules(ports: readonly Port[], settings: Settings): Written {
  const { minor, family = 4, detector, nodePortAddresses, localhostNodePorts = true } = settings;
  const width = family === 6 ? '/128' : '/32';
  const mask = family === 6 ? 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff' : '255.255.255.255';
  const foreign = settings.masqueradeAll
    ? ''
    : detector === undefined
      ? undefined
      : `! ${detector} `;
  const isSource = detector?.startsWith('-s') === true;
  const podsAre = detector?.replace(/^-[si] /, '');
  const [dispatch, nodePorts, chains]: string[][] = [[], [], []];
  const [services, external, firewall]: string[][] = [[], [], []];
  const seps = new Map<string, string[]>();
  const expected: string[] = [];
  const shares: bigint[][] = [];
  const emit = (into: string[] | undefined, rule: string): void => {
    into?.push(rule.replace(/ +/g, ' ').trim());
  };

  for (const port of ports) writePort(port);

  function writePort(p: Port): void {
    const { protocol, affinity } = p;
    const unnamed = minor <= 19 ? `${p.namespace}/${p.name}:` : `${p.namespace}/${p.name}`;
    const n = p.portName === '' ? unnamed : `${p.namespace}/${p.name}:${p.portName}`;
    const id = hash(n + protocol);
    const [svc, svl, ext, xlb, fw] = ['SVC', 'SVL', 'EXT', 'XLB', 'FW'].map(
      (k) => `KUBE-${k}-${id}`,
    );
    const here = p.endpoints.filter((e) => e.here);
    const early = minor >= 21 && minor <= 23 && p.internal === 'Local';
    const all = early ? here : p.endpoints;
    const isInternalLocal = minor >= 24 && p.internal === 'Local';
    const isExternalLocal = p.external === 'Local';
    const bare = settings.large === true || minor <= 17;
    const dport = (number: number): string => `-m ${protocol} --dport ${number} `;
    const name = `${p.namespace}/${p.name}:${p.portName}`;
    const made = new Set<string>();

    const sepOf = (e: Endpoint): string => {
      const chain = `KUBE-SEP-${hash(n + protocol + textOf(e))}`;
      const note = bare ? '' : comment(n);
      const sets =
        affinity === undefined ? '' : `-m recent --set --name ${chain} --mask ${mask} --rsource `;
      seps.set(chain, [
        `-A ${chain} -s ${e.ip}${width} ${note}-j KUBE-MARK-MASQ`,
        `-A ${chain} -p ${protocol} ${note}${sets}-m ${protocol} -j DNAT --to-destination ${textOf(e)}`,
      ]);
      return chain;
    };
    const balance = (chain: string, endpoints: readonly Endpoint[], isXlb = false): void => {
      const note = (e: Endpoint, i: number): string => {
        if (isXlb && minor <= 22) return comment(`Balancing rule ${i} for ${n}`);
        if (bare) return '';
        return comment(minor >= 24 ? `${n} -> ${textOf(e)}` : n);
      };
      for (const [i, e] of affinity === undefined ? [] : endpoints.entries()) {
        emit(
          chains,
          `-A ${chain} ${note(e, i)} -m recent --rcheck --seconds ${affinity} --reap --name ${sepOf(e)} --mask ${mask} --rsource -j ${sepOf(e)}`,
        );
      }
      for (const [i, e] of endpoints.entries()) {
        const left = endpoints.length - i;
        const kept = Math.round(Number((1 / left).toFixed(minor <= 16 ? 5 : 10)) * 2 ** 31);
        const dice =
          left === 1
            ? ''
            : `-m statistic --mode random --probability ${(kept / 2 ** 31).toFixed(11)} `;
        emit(chains, `-A ${chain} ${note(e, i)} ${dice} -j ${sepOf(e)}`);
      }
    };
    const routes = (
      path: readonly (string | undefined)[],
      endpoints: readonly Endpoint[],
      clients?: readonly string[],
    ): Route[] => {
      const odds = chances(endpoints.length, minor);
      if (endpoints.length > 0 && affinity === undefined) shares.push(odds[0]?.exact ?? []);
      return endpoints.map((endpoint, i) => ({
        endpoint,
        path: [...path.map((c) => c ?? ''), sepOf(endpoint)],
        share: odds[i]?.p ?? 0,
        clients,
      }));
    };
    const tell = (
      address: string,
      number: number,
      via: string,
      what: string,
      ways: Route[] = [],
    ): void => {
      const spares =
        address === 'local' &&
        what === 'dnat' &&
        minor >= 26 &&
        (family === 6 || !localhostNodePorts);
      expected.push(
        `${NUMBERS[protocol]} ${address} ${number} ${via} ${name} ${what}${spares ? ' not loopback' : ''}`,
        ...ways.map((r) => {
          const odds = affinity === undefined ? r.share : 'affinity';
          const open = r.clients === undefined ? '' : ` for ${[...r.clients].sort().join(' or ')}`;
          return `  ${r.endpoint.ip} ${r.endpoint.port} <- ${r.path.join(' > ')} (${odds})${open}`;
        }),
      );
    };

    const makeSvc = (): void => {
      if (made.has('svc') || all.length === 0) return;
      made.add('svc');
      if (minor >= 22 && foreign !== undefined && !isInternalLocal) clusterMasquerade(svc ?? '');
      if (minor >= 22 && minor <= 23) {
        for (const ip of p.externalIPs ?? []) {
          if (foreign === undefined) continue;
          emit(
            chains,
            `-A ${svc} ${inOrder(foreign, `-d ${ip}${width} `)} -p ${protocol} ${comment(`${n} external IP`)} ${dport(p.port)} -j KUBE-MARK-MASQ`,
          );
        }
        if (p.nodePort !== undefined && !isExternalLocal) {
          emit(
            chains,
            `-A ${svc} -p ${protocol} ${comment(n)} ${dport(p.nodePort)} -j KUBE-MARK-MASQ`,
          );
        }
      }
      balance(svc ?? '', all);
    };
    const clusterMatch = `-p ${protocol} ${comment(`${n} cluster IP`)} ${dport(p.port)}`;
    const clusterMasquerade = (chain: string): void => {
      emit(
        chains,
        `-A ${chain} ${inOrder(foreign ?? '', `-d ${p.clusterIP}${width} `)} ${clusterMatch} -j KUBE-MARK-MASQ`,
      );
    };
    const refuse = (
      into: string[] | undefined,
      address: string,
      number: number,
      local: boolean,
    ): void => {
      const says = comment(`${n} has no ${local ? 'local ' : ''}endpoints`);
      const to = address === 'local' ? '' : `-d ${address}${width} `;
      const own = address === 'local' ? '-m addrtype --dst-type LOCAL ' : '';
      const how = local
        ? 'DROP'
        : `REJECT --reject-with icmp${family === 6 ? '6' : ''}-port-unreachable`;
      emit(
        into,
        `-A ${into === services ? 'KUBE-SERVICES' : 'KUBE-EXTERNAL-SERVICES'} ${to} -p ${protocol} ${says} ${own} ${dport(number)} -j ${how}`,
      );
    };

    // The ClusterIP.
    const internal = isInternalLocal ? here : all;
    const isDropped24 = minor === 24 && isInternalLocal && all.length > 0;
    if (internal.length > 0 || isDropped24) {
      const to = isInternalLocal ? svl : svc;
      if (minor <= 21 && foreign !== undefined) {
        emit(
          dispatch,
          `-A KUBE-SERVICES ${inOrder(foreign, `-d ${p.clusterIP}${width} `)} ${clusterMatch} -j KUBE-MARK-MASQ`,
        );
      }
      emit(dispatch, `-A KUBE-SERVICES -d ${p.clusterIP}${width} ${clusterMatch} -j ${to}`);
      if (isInternalLocal) {
        made.add('svl');
        if (foreign !== undefined) clusterMasquerade(svl ?? '');
        balance(svl ?? '', here);
        if (here.length === 0)
          emit(chains, `-A ${svl} ${comment(`${n} has no local endpoints`)} -j KUBE-MARK-DROP`);
      } else {
        makeSvc();
      }
      if (internal.length > 0)
        tell(p.clusterIP, p.port, 'clusterIP', 'dnat', routes(['KUBE-SERVICES', to], internal));
      else tell(p.clusterIP, p.port, 'clusterIP', 'drop no-local-endpoints');
    } else {
      const isLocal = isInternalLocal && all.length > 0;
      refuse(services, p.clusterIP, p.port, isLocal);
      tell(
        p.clusterIP,
        p.port,
        'clusterIP',
        isLocal ? 'drop no-local-endpoints' : 'reject no-endpoints',
      );
    }

    // Everything else.
    const addresses: { readonly ip: string; readonly via: string }[] = [
      ...(p.externalIPs ?? []).map((ip) => ({ ip, via: 'externalIP' })),
      ...(p.loadBalancerIPs ?? []).map((ip) => ({ ip, via: 'loadBalancerIP' })),
    ];
    const { nodePort, sourceRanges } = p;
    if (addresses.length === 0 && nodePort === undefined) return;
    if (all.length === 0) {
      for (const { ip, via } of addresses) {
        const isWalled = via === 'loadBalancerIP' && sourceRanges !== undefined && minor >= 25;
        if (isWalled) wall(ip);
        refuse(external, ip, p.port, false);
        // In filter nothing tells an external IP from a load balancer's, unless it is walled.
        if (isWalled) tell(ip, p.port, 'loadBalancerIP', 'drop source-ranges');
        else tell(ip, p.port, 'externalIP', 'reject no-endpoints');
      }
      if (nodePort !== undefined) {
        refuse(external, 'local', nodePort, false);
        tell('local', nodePort, 'nodePort', 'reject no-endpoints');
      }
      return;
    }
    makeSvc();
    // externalTrafficPolicy counted for external IPs from 1.20 on.
    const inner = minor >= 24 ? makeExternal() : makeXlb();
    for (const { ip, via } of addresses) {
      if (via === 'externalIP') externalIp(ip);
      else loadBalancer(ip);
    }
    if (nodePort !== undefined) atNodePort(nodePort);

    function wall(ip: string): void {
      emit(
        firewall,
        `-A KUBE-PROXY-FIREWALL -d ${ip}${width} -p ${protocol} ${comment(`${n} traffic not accepted by ${fw}`)} ${dport(p.port)} -j DROP`,
      );
    }

    /** KUBE-EXT; what is behind it, given the way to it and who may come. */
    function makeExternal(): (path: readonly string[], ranges?: readonly string[]) => Route[] {
      if (!isExternalLocal) {
        emit(
          chains,
          `-A ${ext} ${comment(`masquerade traffic for ${n} external destinations`)} -j KUBE-MARK-MASQ`,
        );
        emit(chains, `-A ${ext} -j ${svc}`);
        return (path, ranges) => routes([...path, ext, svc], all, ranges);
      }
      if (detector !== undefined) {
        emit(
          chains,
          `-A ${ext} ${detector} ${comment(`pod traffic for ${n} external destinations`)} -j ${svc}`,
        );
      }
      emit(
        chains,
        `-A ${ext} ${comment(`masquerade LOCAL traffic for ${n} external destinations`)} ${LOCAL_SOURCE} -j KUBE-MARK-MASQ`,
      );
      emit(
        chains,
        `-A ${ext} ${comment(`route LOCAL traffic for ${n} external destinations`)} ${LOCAL_SOURCE} -j ${svc}`,
      );
      if (here.length > 0 || minor === 24) {
        emit(chains, `-A ${ext} -j ${svl}`);
        if (!made.has('svl')) {
          balance(svl ?? '', here);
          if (here.length === 0)
            emit(chains, `-A ${svl} ${comment(`${n} has no local endpoints`)} -j KUBE-MARK-DROP`);
        }
      }
      return (path, ranges) => [
        ...routes([...path, ext, svc], all, both(ranges, nearby())),
        ...routes([...path, ext, svl], here, ranges),
      ];
    }

    function makeXlb(): (path: readonly string[], ranges?: readonly string[]) => Route[] {
      if (!isExternalLocal) return (path, ranges) => routes([...path, svc], all, ranges);
      if (detector !== undefined) {
        emit(
          chains,
          `-A ${xlb} ${detector} ${comment('Redirect pods trying to reach external loadbalancer VIP to clusterIP')} -j ${svc}`,
        );
      }
      emit(
        chains,
        `-A ${xlb} ${comment(`masquerade LOCAL traffic for ${n} LB IP`)} ${LOCAL_SOURCE} -j KUBE-MARK-MASQ`,
      );
      emit(
        chains,
        `-A ${xlb} ${comment(`route LOCAL traffic for ${n} LB IP to service chain`)} ${LOCAL_SOURCE} -j ${svc}`,
      );
      if (here.length === 0)
        emit(chains, `-A ${xlb} ${comment(`${n} has no local endpoints`)} -j KUBE-MARK-DROP`);
      else balance(xlb ?? '', here, true);
      return (path, ranges) => [
        ...routes([...path, xlb, svc], all, both(ranges, nearby())),
        ...routes([...path, xlb], here, ranges),
      ];
    }

    function nearby(): string[] {
      return [...(podsAre === undefined ? [] : [podsAre]), 'local'];
    }

    function entry(ip: string, number: number, via: string, ways: Route[], walled: boolean): void {
      tell(ip, number, via, 'dnat', ways);
      if (walled && minor >= 25) tell(ip, number, via, 'drop source-ranges');
      else if (isExternalLocal && here.length === 0) {
        if (via !== 'externalIP' || minor >= 20) tell(ip, number, via, 'drop no-local-endpoints');
      } else if (walled) tell(ip, number, via, 'drop source-ranges');
    }

    function externalIp(ip: string): void {
      const match = `-p ${protocol} ${comment(`${n} external IP`)} ${dport(p.port)}`;
      const isLocal = isExternalLocal && minor >= 20;
      const to = minor >= 24 ? ext : isLocal ? xlb : svc;
      const at = `-d ${ip}${width} `;
      if (minor <= 20) {
        if (!isLocal) emit(dispatch, `-A KUBE-SERVICES ${at} ${match} -j KUBE-MARK-MASQ`);
        emit(
          dispatch,
          `-A KUBE-SERVICES ${at} ${match} -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ${to}`,
        );
        emit(dispatch, `-A KUBE-SERVICES ${at} ${match} -m addrtype --dst-type LOCAL -j ${to}`);
      } else {
        if (minor === 21 && !isLocal && foreign !== undefined) {
          emit(dispatch, `-A KUBE-SERVICES ${inOrder(foreign, at)} ${match} -j KUBE-MARK-MASQ`);
        }
        emit(dispatch, `-A KUBE-SERVICES ${at} ${match} -j ${to}`);
      }
      if (minor >= 25 && isLocal && here.length === 0) refuse(external, ip, p.port, true);
      const ways =
        minor < 24 && !isLocal ? routes(['KUBE-SERVICES', svc], all) : inner(['KUBE-SERVICES']);
      entry(ip, p.port, 'externalIP', ways, false);
    }

    function loadBalancer(ip: string): void {
      const note = comment(`${n} loadbalancer IP`);
      const target = minor >= 24 ? ext : isExternalLocal ? xlb : svc;
      const isWalled = sourceRanges !== undefined;
      const through = minor <= 23 || isWalled;
      emit(
        dispatch,
        `-A KUBE-SERVICES -d ${ip}${width} -p ${protocol} ${note} ${dport(p.port)} -j ${through ? fw : target}`,
      );
      const open =
        isWalled && settings.nodeInRanges ? [...sourceRanges, `${ip}${width}`] : sourceRanges;
      if (through && !made.has('fw')) {
        made.add('fw');
        if (minor <= 23 && !isExternalLocal) emit(chains, `-A ${fw} ${note} -j KUBE-MARK-MASQ`);
        if (!isWalled) emit(chains, `-A ${fw} ${note} -j ${target}`);
        for (const range of sourceRanges ?? [])
          emit(chains, `-A ${fw} -s ${range} ${note} -j ${target}`);
        if (isWalled && settings.nodeInRanges)
          emit(chains, `-A ${fw} -s ${ip}${width} ${note} -j ${target}`);
        if (minor <= 24) emit(chains, `-A ${fw} ${note} -j KUBE-MARK-DROP`);
        if (minor >= 27)
          emit(
            chains,
            `-A ${fw} ${comment(`other traffic to ${n} will be dropped by KUBE-PROXY-FIREWALL`)}`,
          );
      }
      if (isWalled && minor >= 25) wall(ip);
      if (minor >= 25 && isExternalLocal && here.length === 0) refuse(external, ip, p.port, true);
      entry(
        ip,
        p.port,
        'loadBalancerIP',
        inner(['KUBE-SERVICES', ...(through ? [fw ?? ''] : [])], open),
        isWalled,
      );
    }

    function atNodePort(number: number): void {
      const match = `-p ${protocol} ${comment(n)} ${dport(number)}`;
      const target = minor >= 24 ? ext : isExternalLocal ? xlb : svc;
      if (minor <= 23 && isExternalLocal && family === 4) {
        emit(nodePorts, `-A KUBE-NODEPORTS -s 127.0.0.0/8 ${match} -j KUBE-MARK-MASQ`);
      } else if (minor <= 21 && !isExternalLocal) {
        emit(nodePorts, `-A KUBE-NODEPORTS ${match} -j KUBE-MARK-MASQ`);
      }
      if (minor >= 31 && family === 4 && localhostNodePorts) {
        emit(
          nodePorts,
          `-A KUBE-NODEPORTS -d 127.0.0.0/8 ${match} -m nfacct --nfacct-name localhost_nps_accepted_pkts -j ${target}`,
        );
      }
      emit(nodePorts, `-A KUBE-NODEPORTS ${match} -j ${target}`);
      const isDropped = isExternalLocal && here.length === 0;
      if (minor >= 25 && isDropped) refuse(external, 'local', number, true);
      for (const ip of nodePortAddresses ?? ['local']) {
        tell(ip, number, 'nodePort', 'dnat', inner(['KUBE-SERVICES', 'KUBE-NODEPORTS']));
        if (isDropped && (minor <= 24 || nodePortAddresses === undefined)) {
          tell(ip, number, 'nodePort', 'drop no-local-endpoints');
        }
      }
      // The refusal in filter does not know of --nodeport-addresses.
      if (isDropped && minor >= 25 && nodePortAddresses !== undefined) {
        tell('local', number, 'nodePort', 'drop no-local-endpoints');
      }
    }
  }

  /** Matches in the order of iptables-save: `-s`, `-d`, then `-i`. */
  function inOrder(from: string, to: string): string {
    return isSource ? `${from}${to}` : `${to}${from}`;
  }

  const note = comment(
    'kubernetes service nodeports; NOTE: this must be the last rule in this chain',
  );
  const spares =
    minor < 26
      ? ''
      : family === 6
        ? '! -d ::1/128 '
        : localhostNodePorts
          ? ''
          : '! -d 127.0.0.0/8 ';
  const toNodePorts = nodePortAddresses?.map(
    (ip) => `-A KUBE-SERVICES -d ${ip}${width} ${note}-j KUBE-NODEPORTS`,
  ) ?? [`-A KUBE-SERVICES ${spares}${note}-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`];
  const portals = comment('kubernetes service portals');
  const visible = comment('kubernetes externally-visible service portals');
  const snat = comment('kubernetes service traffic requiring SNAT');
  const jump = (hook: string, text: string, chain: string): string =>
    `-A ${hook} -m conntrack --ctstate NEW ${text}-j ${chain}`;
  return {
    nat: [
      `-A PREROUTING ${portals}-j KUBE-SERVICES`,
      `-A OUTPUT ${portals}-j KUBE-SERVICES`,
      `-A POSTROUTING ${comment('kubernetes postrouting rules')}-j KUBE-POSTROUTING`,
      '-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000',
      ...(minor <= 27 ? ['-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000'] : []),
      ...(minor <= 18
        ? [`-A KUBE-POSTROUTING ${snat}-m mark --mark 0x4000/0x4000 -j MASQUERADE`]
        : [
            '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
            '-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0',
            `-A KUBE-POSTROUTING ${snat}-j MASQUERADE --random-fully`,
          ]),
      ...(dispatch ?? []),
      ...toNodePorts,
      ...(nodePorts ?? []),
      ...(chains ?? []),
      ...[...seps.values()].flat(),
    ],
    filter: [
      ...(minor >= 25
        ? ['INPUT', 'OUTPUT', 'FORWARD'].map((hook) =>
            jump(hook, comment('kubernetes load balancer firewall'), 'KUBE-PROXY-FIREWALL'),
          )
        : []),
      jump('INPUT', visible, 'KUBE-EXTERNAL-SERVICES'),
      jump(
        minor >= 20 ? 'FORWARD' : 'INPUT',
        minor >= 20 ? visible : portals,
        minor >= 20 ? 'KUBE-EXTERNAL-SERVICES' : 'KUBE-SERVICES',
      ),
      jump('FORWARD', portals, 'KUBE-SERVICES'),
      jump('OUTPUT', portals, 'KUBE-SERVICES'),
      '-A OUTPUT -j KUBE-FIREWALL',
      '-A INPUT -j KUBE-FIREWALL',
      `-A FORWARD ${comment('kubernetes forwarding rules')}-j KUBE-FORWARD`,
      ...(services ?? []),
      ...(external ?? []),
      ...(firewall ?? []),
      ...(minor <= 27
        ? [
            `-A KUBE-FIREWALL ${comment('kubernetes firewall for dropping marked packets')}-m mark --mark 0x8000/0x8000 -j DROP`,
          ]
        : []),
      `-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 ${comment('block incoming localnet connections')}-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`,
      '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
      `-A KUBE-FORWARD ${comment('kubernetes forwarding rules')}-m mark --mark 0x4000/0x4000 -j ACCEPT`,
      `-A KUBE-FORWARD ${comment('kubernetes forwarding conntrack rule')}-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    ],
    expected,
    shares,
  };
}

/** Who comes from one of these ranges and is one of those. */
function both(ranges: readonly string[] | undefined, who: readonly string[]): readonly string[] {
  return ranges === undefined
    ? who
    : ranges.flatMap((range) => who.map((one) => `${range} & ${one}`));
}
