import { familyOf, type LabOptions, type LabPod } from './spec.js';

/** The bridge of layout `bridge`, named as CNI's bridge plug-in names it. */
const BRIDGE = 'cni0';

/** A sysctl of the node: path below /proc/sys and its value. */
export type Sysctl = readonly [path: string, value: string];

/**
 * Name of the host end of a Pod's veth: `veth` and eight hexadecimal digits, as CNI plug-ins name it
 * (15 characters is the kernel's limit, IFNAMSIZ), the same in every lab with the same Pod (FNV-1a).
 */
export function hostInterface(pod: LabPod): string {
  let hash = 0x811c9dc5;
  for (const character of `${pod.namespace}/${pod.name}`) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  }
  return `veth${(hash >>> 0).toString(16).padStart(8, '0')}`;
}

/**
 * Lines for `ip -batch` in the node's namespace. The Pods' ends are created inside the Pods' namespaces
 * straight away: no interface ever exists in the machine's own namespace.
 */
export function nodeCommands(
  options: LabOptions,
  outside: string,
  namespaceOf: (pod: LabPod) => string,
): string[] {
  const bridge = options.layout === 'bridge';
  const lines = [
    'link set lo up',
    `link add eth0 type veth peer name eth0 netns ${outside}`,
    `address add ${options.nodeAddress}/24 dev eth0`,
    'link set eth0 up',
    // Without a default route the node could not send to a ClusterIP: routing comes before OUTPUT's translation.
    `route add default via ${options.outsideAddress}`,
  ];
  if (bridge) {
    lines.push(`link add ${BRIDGE} type bridge forward_delay 0 stp_state 0`);
    lines.push(`address add ${options.gateway}/${prefix(options.podCIDR)} dev ${BRIDGE}`);
    if (options.gateway6 !== undefined && options.podCIDR6 !== undefined) {
      lines.push(`address add ${options.gateway6}/${prefix(options.podCIDR6)} dev ${BRIDGE} nodad`);
    }
    lines.push(`link set ${BRIDGE} up`);
  }
  for (const pod of options.pods) {
    if (!isOnNode(pod)) continue;
    const veth = hostInterface(pod);
    lines.push(`link add ${veth} type veth peer name eth0 netns ${namespaceOf(pod)}`);
    if (bridge) {
      // hairpin: a Pod that asks for its own Service may be given itself.
      lines.push(
        `link set ${veth} master ${BRIDGE}`,
        `link set ${veth} type bridge_slave hairpin on`,
      );
    }
    lines.push(`link set ${veth} up`);
    if (!bridge) lines.push(...routeToPod(options.gateway, options.gateway6, pod, veth));
  }
  return lines;
}

/** Whether it hangs on the node by a veth of its own. */
export function isOnNode(pod: LabPod): boolean {
  return pod.hostNetwork !== true && pod.node === undefined;
}

function routeToPod(
  gateway: string,
  gateway6: string | undefined,
  pod: LabPod,
  veth: string,
): string[] {
  const lines = [
    `address add ${gateway}/32 dev ${veth}`,
    `route add ${pod.ip}/32 dev ${veth} scope link src ${gateway}`,
  ];
  if (pod.ip6 !== undefined && gateway6 !== undefined) {
    lines.push(
      `address add ${gateway6}/128 dev ${veth} nodad`,
      `route add ${pod.ip6}/128 dev ${veth}`,
    );
  }
  return lines;
}

/** Lines for `ip -batch` in the namespace of what is outside the cluster, or of the second node. */
export function outsideCommands(
  options: LabOptions,
  namespaceOf: (pod: LabPod) => string,
): string[] {
  const lines = [
    'link set lo up',
    `address add ${options.outsideAddress}/24 dev eth0`,
    'link set eth0 up',
  ];
  for (const pod of options.pods) {
    if (pod.node !== 'outside' || options.outsideNode === undefined) continue;
    const veth = hostInterface(pod);
    lines.push(
      `link add ${veth} type veth peer name eth0 netns ${namespaceOf(pod)}`,
      `link set ${veth} up`,
      ...routeToPod(options.outsideNode.gateway, undefined, pod, veth),
    );
  }
  return lines;
}

/** Lines for `ip -batch` in a Pod's namespace. */
export function podCommands(options: LabOptions, pod: LabPod): string[] {
  const bridge = options.layout === 'bridge' && pod.node === undefined;
  const gateway = pod.node === undefined ? options.gateway : options.outsideNode?.gateway;
  const lines = [
    'link set lo up',
    `address add ${pod.ip}/${bridge ? prefix(options.podCIDR) : 32} dev eth0`,
    'link set eth0 up',
  ];
  if (!bridge) lines.push(`route add ${gateway} dev eth0 scope link`);
  lines.push(`route add default via ${gateway} dev eth0`);
  if (pod.ip6 !== undefined && options.gateway6 !== undefined && options.podCIDR6 !== undefined) {
    lines.push(`address add ${pod.ip6}/${bridge ? prefix(options.podCIDR6) : 128} dev eth0 nodad`);
    if (!bridge) lines.push(`route add ${options.gateway6} dev eth0`);
    lines.push(`route add default via ${options.gateway6} dev eth0`);
  }
  return lines;
}

/** The node's sysctls: all of them belong to a network namespace, so the machine's own stay as they are. */
export function nodeSysctls(options: LabOptions): Sysctl[] {
  const sysctls: Sysctl[] = [['net/ipv4/ip_forward', '1']];
  // kube-proxy sets it for node ports at 127.0.0.1, which there are in iptables mode only.
  if (options.ruleBackend !== 'nftables' && options.services.some((it) => it.nodePort)) {
    sysctls.push(['net/ipv4/conf/all/route_localnet', '1']);
  }
  const ip6 = hasFamily6(options);
  if (ip6) sysctls.push(['net/ipv6/conf/all/forwarding', '1']);
  if (options.layout === 'bridge') {
    sysctls.push(['net/bridge/bridge-nf-call-iptables', '1']);
    if (ip6) sysctls.push(['net/bridge/bridge-nf-call-ip6tables', '1']);
  }
  return sysctls;
}

export function hasFamily6(options: LabOptions): boolean {
  return (
    options.pods.some((pod) => pod.ip6 !== undefined) ||
    options.services.some((service) => familyOf(service.clusterIP) === 6)
  );
}

function prefix(cidr: string): string {
  return cidr.slice(cidr.indexOf('/') + 1);
}
