/**
 * One Service, two Pods behind it and a client, told by every kind of input: small files by hand, in
 * which a single defect can be put where it is wanted. Everything is the same in every run.
 */
import { endpointChainHash, serviceChainHash } from '../../src/decode/rules/chain-names.js';
import {
  bytesOf,
  concat,
  ethernet,
  ipv4,
  PcapngBuilder,
  type PcapRecord,
  synOptions,
  tcp,
} from './capture-builder.js';

const SERVICE = '10.96.81.51';
const CLIENT = '10.244.1.2';
export const POD_A = { name: 'nginx-a', ip: '10.244.1.4' };
export const POD_B = { name: 'nginx-b', ip: '10.244.1.5' };
/** 2026-11-22 19:55:11 UTC, as `<when>` spells it below. */
const SECONDS = 1_795_377_311;
const MILLISECOND = 1_000;

/** One connection to the Service; ports tell them apart. */
export interface Connection {
  readonly port: number;
  readonly pod: typeof POD_A;
  /** ms within the second. */
  readonly at: number;
}

export function text(lines: string): Uint8Array {
  return new TextEncoder().encode(lines);
}

// conntrack

/** `conntrack -E -e NEW -o timestamp,id`. */
export function eventLine({ port, pod, at }: Connection): string {
  const time = `${SECONDS}.${String(at * MILLISECOND).padStart(6, '0')}`;
  return `[${time}]\t    [NEW] ipv4     2 tcp      6 120 SYN_SENT src=${CLIENT} dst=${SERVICE} sport=${port} dport=80 [UNREPLIED] src=${pod.ip} dst=${CLIENT} sport=80 dport=${port} id=${port}\n`;
}

export const XML_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n';
export const XML_END = '</conntrack>\n';

function xmlBody({ port, pod }: Connection, state: string): string {
  const side = (direction: string, src: string, dst: string, sport: number, dport: number) =>
    `<meta direction="${direction}"><layer3 protonum="2" protoname="ipv4"><src>${src}</src><dst>${dst}</dst></layer3><layer4 protonum="6" protoname="tcp"><sport>${sport}</sport><dport>${dport}</dport></layer4></meta>`;
  return `${side('original', CLIENT, SERVICE, port, 80)}${side('reply', pod.ip, CLIENT, 80, port)}<meta direction="independent"><state>${state}</state><timeout>120</timeout><id>${port}</id>${state === 'SYN_SENT' ? '<unreplied/>' : '<assured/>'}</meta>`;
}

/** `conntrack -E -e NEW -o xml,timestamp,id`. */
export function eventFlow(connection: Connection): string {
  return `<flow type="new">${xmlBody(connection, 'SYN_SENT')}<when><hour>19</hour><min>55</min><sec>11</sec><wday>1</wday><day>22</day><month>11</month><year>2026</year></when></flow>\n`;
}

/** `conntrack -L -o xml,id`. */
export function listedFlow(connection: Connection): string {
  return `<flow>${xmlBody(connection, 'ESTABLISHED')}</flow>\n`;
}

// Captures

/** SYN before and after DNAT, SYN-ACK after and before it is undone. */
function frames({
  port,
  pod,
  at,
}: Connection): { readonly frame: Uint8Array; readonly us: number }[] {
  const seq = 0x1000_0000 + port;
  const options = synOptions({ tsval: 0x7000_0000 + port });
  const syn = { sport: port, dport: 80, seq, flags: 0x02, options };
  const answer = {
    sport: 80,
    dport: port,
    seq: 0x2000_0000 + port,
    ack: seq + 1,
    flags: 0x12,
    options,
  };
  const packet = (src: string, dst: string, segment: Parameters<typeof tcp>[0], id: number) =>
    ethernet(ipv4(tcp(segment), { src, dst, protocol: 6, id }));
  return [
    packet(CLIENT, SERVICE, syn, 1),
    packet(CLIENT, pod.ip, syn, 1),
    packet(pod.ip, CLIENT, answer, 2),
    packet(SERVICE, CLIENT, answer, 2),
  ].map((frame, i) => ({ frame, us: at * MILLISECOND + i * 20 }));
}

export function pcapRecords(connection: Connection): PcapRecord[] {
  return frames(connection).map(({ frame, us }) => ({ frame, seconds: SECONDS, fraction: us }));
}

export function addEnhanced(builder: PcapngBuilder, connection: Connection): PcapngBuilder {
  for (const { frame, us } of frames(connection)) {
    builder.enhanced(frame, { time: BigInt(SECONDS) * 1_000_000n + BigInt(us) });
  }
  return builder;
}

export function beginPcapng(): PcapngBuilder {
  return new PcapngBuilder().section().interface({ name: 'veth1' });
}

/** A gzip file (RFC 1952) of stored blocks (RFC 1951, 3.2.4): the same bytes whatever zlib there is. */
export function storedGzip(
  content: Uint8Array,
  change: { readonly crc?: number } = {},
): Uint8Array {
  const parts = [bytesOf(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff)];
  for (let at = 0; at < content.length; at += 0xffff) {
    const piece = content.subarray(at, at + 0xffff);
    const last = at + piece.length === content.length ? 1 : 0;
    parts.push(bytesOf(last, ...u16le(piece.length), ...u16le(~piece.length & 0xffff)), piece);
  }
  const crc = change.crc ?? crc32(content);
  parts.push(bytesOf(...u16le(crc & 0xffff), ...u16le(crc >>> 16)));
  parts.push(bytesOf(...u16le(content.length & 0xffff), ...u16le(content.length >>> 16)));
  return concat(...parts);
}

function u16le(value: number): [number, number] {
  return [value & 0xff, value >>> 8];
}

/** RFC 1952, section 8. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb8_8320 : 0);
  }
  return ~crc >>> 0;
}

// Rules

const SVC = `KUBE-SVC-${serviceChainHash('default/nginx', 'tcp')}`;
const SEPS = [POD_A, POD_B].map(
  ({ ip }) => `KUBE-SEP-${endpointChainHash('default/nginx', 'tcp', `${ip}:80`)}`,
);

/** The lines of `iptables-save -c -t nat` on this node; `header` false: nothing says when it was taken. */
export function ruleLines({ header = true, only = 0 } = {}): string[] {
  const [a = '', b = ''] = SEPS;
  const comment = '-m comment --comment "default/nginx"';
  const head = '# Generated by iptables-save v1.8.9 (nf_tables) on Sun Nov 22 19:54:58 2026';
  const first = only === 1 ? '1.00000000000' : '0.50000000000';
  return [
    ...(header ? [head] : []),
    '*nat',
    ...['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'].map((chain) => `:${chain} ACCEPT [0:0]`),
    ...['KUBE-MARK-MASQ', 'KUBE-SERVICES', SVC, a, b].map((chain) => `:${chain} - [0:0]`),
    '[0:0] -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '[0:0] -A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '[0:0] -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000',
    `[0:0] -A KUBE-SERVICES -d ${SERVICE}/32 -p tcp -m comment --comment "default/nginx cluster IP" -m tcp --dport 80 -j ${SVC}`,
    `[0:0] -A ${SVC} ${comment} -m statistic --mode random --probability ${first} -j ${a}`,
    `[0:0] -A ${SVC} ${comment} -j ${b}`,
    ...[POD_A, POD_B].map(
      ({ ip }, i) =>
        `[0:0] -A ${SEPS[i] ?? ''} -p tcp ${comment} -m tcp -j DNAT --to-destination ${ip}:80`,
    ),
    'COMMIT',
    '# Completed on Sun Nov 22 19:54:58 2026',
  ];
}

// Kubernetes objects

const pod = (name: string, ip: string) => ({
  metadata: { name, namespace: 'default', uid: `uid-${name}`, resourceVersion: '10' },
  spec: { nodeName: 'node1' },
  status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] },
});

export const POD_OBJECTS = [
  pod(POD_A.name, POD_A.ip),
  pod(POD_B.name, POD_B.ip),
  pod('client', CLIENT),
];

export function podList(items: readonly unknown[], metadata: object = {}): string {
  const list = {
    kind: 'PodList',
    apiVersion: 'v1',
    metadata: { resourceVersion: '20', ...metadata },
  };
  return `${JSON.stringify({ ...list, items }, null, 1)}\n`;
}

/** One line of `kubectl get --watch --output-watch-events -o json`, on one line. */
export function watchLine(object: object): string {
  return `${JSON.stringify({ type: 'ADDED', object: { kind: 'Pod', apiVersion: 'v1', ...object } })}\n`;
}

export function serviceList(): string {
  const metadata = {
    name: 'nginx',
    namespace: 'default',
    uid: 'uid-service',
    resourceVersion: '5',
  };
  const spec = {
    type: 'ClusterIP',
    clusterIP: SERVICE,
    clusterIPs: [SERVICE],
    ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
  };
  const list = { kind: 'ServiceList', apiVersion: 'v1', metadata: { resourceVersion: '20' } };
  return `${JSON.stringify({ ...list, items: [{ metadata, spec }] }, null, 1)}\n`;
}

export function addressList(): string {
  const entry = (ifindex: number, ifname: string, local: string) => ({
    ifindex,
    ifname,
    addr_info: [{ family: 'inet', local, prefixlen: 24 }],
  });
  return `${JSON.stringify([entry(1, 'lo', '127.0.0.1'), entry(2, 'eth0', '192.168.77.11')], null, 1)}\n`;
}
