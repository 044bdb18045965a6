/** Frames by hand, and what the ring's filter must do with each. */
export interface FilterCase {
  readonly name: string;
  readonly frame: Uint8Array;
  readonly passes: boolean;
}

const bytes = (...parts: readonly (readonly number[])[]): Uint8Array =>
  Uint8Array.from(parts.flat());
const u16 = (value: number): number[] => [value >> 8, value & 255];
const zeros = (count: number): number[] => new Array<number>(count).fill(0);

const MACS = [0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
const ETHERNET_4 = [...MACS, 0x08, 0x00];
const ETHERNET_6 = [...MACS, 0x86, 0xdd];

/** An IPv4 header with `options` bytes of padding options, and the payload. */
function ipv4(
  protocol: number,
  payload: readonly number[],
  { options = 0, fragment = 0 } = {},
): number[] {
  const header = 20 + options;
  return [
    0x40 | (header / 4),
    0,
    ...u16(header + payload.length),
    ...u16(7),
    ...u16(fragment),
    64,
    protocol,
    ...u16(0),
    ...[10, 99, 0, 77],
    ...[10, 99, 0, 78],
    ...new Array<number>(options).fill(1),
    ...payload,
  ];
}

function ipv6(next: number, payload: readonly number[]): number[] {
  const address = (last: number): number[] => [0xfd, 0x99, ...zeros(13), last];
  return [
    0x60,
    0,
    0,
    0,
    ...u16(payload.length),
    next,
    64,
    ...address(7),
    ...address(8),
    ...payload,
  ];
}

const tcp = (flags: number, port = 80): number[] => [
  ...u16(40_000),
  ...u16(port),
  ...zeros(8),
  0x50,
  flags,
  ...zeros(6),
];
const udp = (from: number, to: number): number[] => [
  ...u16(from),
  ...u16(to),
  ...u16(12),
  ...u16(0),
  1,
  2,
  3,
  4,
];
const sctp = (chunk: number): number[] => [
  ...u16(1),
  ...u16(2),
  ...zeros(8),
  chunk,
  0,
  0,
  20,
  ...zeros(16),
];
const icmp = (type: number): number[] => [type, 1, ...zeros(6), ...ipv4(6, tcp(2)).slice(0, 28)];

const SYN = 2;
const ACK = 16;

const v4: [string, boolean, number[]][] = [
  ['TCP SYN', true, ipv4(6, tcp(SYN))],
  ['TCP SYN-ACK', true, ipv4(6, tcp(SYN | ACK))],
  ['TCP FIN', true, ipv4(6, tcp(1 | ACK))],
  ['TCP RST', true, ipv4(6, tcp(4))],
  ['TCP ACK', false, ipv4(6, tcp(ACK))],
  ['TCP PSH ACK', false, ipv4(6, tcp(8 | ACK))],
  ['TCP SYN behind 40 bytes of options', true, ipv4(6, tcp(SYN), { options: 40 })],
  ['TCP ACK behind 40 bytes of options', false, ipv4(6, tcp(ACK), { options: 40 })],
  ['a first fragment with SYN', true, ipv4(6, tcp(SYN), { fragment: 0x2000 })],
  ['a later fragment', false, ipv4(6, tcp(SYN), { fragment: 0x0005 })],
  ['UDP', true, ipv4(17, udp(5_000, 53))],
  ['UDP to VXLAN’s port', false, ipv4(17, udp(5_000, 4_789))],
  ['UDP to flannel’s port', false, ipv4(17, udp(5_000, 8_472))],
  ['UDP from Geneve’s port', false, ipv4(17, udp(6_081, 5_000))],
  ['SCTP INIT', true, ipv4(132, sctp(1))],
  ['SCTP ABORT', true, ipv4(132, sctp(6))],
  ['SCTP DATA', false, ipv4(132, sctp(0))],
  ['SCTP HEARTBEAT', false, ipv4(132, sctp(4))],
  ['ICMP destination unreachable', true, ipv4(1, icmp(3))],
  ['ICMP time exceeded', true, ipv4(1, icmp(11))],
  ['ICMP echo request', false, ipv4(1, icmp(8))],
  ['GRE', false, ipv4(47, zeros(20))],
];

const v6: [string, boolean, number[]][] = [
  ['TCP SYN over IPv6', true, ipv6(6, tcp(SYN))],
  ['TCP ACK over IPv6', false, ipv6(6, tcp(ACK))],
  ['UDP over IPv6', true, ipv6(17, udp(5_000, 53))],
  ['UDP to VXLAN’s port over IPv6', false, ipv6(17, udp(5_000, 4_789))],
  ['SCTP INIT over IPv6', true, ipv6(132, sctp(1))],
  ['SCTP DATA over IPv6', false, ipv6(132, sctp(0))],
  ['ICMPv6 packet too big', true, ipv6(58, icmp(2))],
  ['ICMPv6 neighbour solicitation', false, ipv6(58, icmp(135))],
  ['IPv6 with a hop-by-hop header', true, ipv6(0, [6, 0, 1, 4, 0, 0, 0, 0, ...tcp(ACK)])],
  ['IPv6 with a fragment header', true, ipv6(44, [6, 0, 0, 1, 0, 0, 0, 9, ...tcp(SYN)])],
  ['IPv6 without next header', false, ipv6(59, [])],
];

/** With an Ethernet header. */
export const FILTER_CASES: readonly FilterCase[] = [
  ...v4.map(([name, passes, packet]) => ({ name, passes, frame: bytes(ETHERNET_4, packet) })),
  ...v6.map(([name, passes, packet]) => ({ name, passes, frame: bytes(ETHERNET_6, packet) })),
  { name: 'ARP', passes: false, frame: bytes(MACS, [0x08, 0x06], zeros(46)) },
  ...[true, false].flatMap((passes) => {
    const packet = [0x08, 0x00, ...ipv4(6, tcp(passes ? SYN : ACK))];
    const what = passes ? 'TCP SYN' : 'TCP ACK';
    return [
      { name: `${what} with a VLAN tag`, passes, frame: bytes(MACS, [0x81, 0, 0x20, 42], packet) },
      {
        name: `${what} with two VLAN tags`,
        passes,
        frame: bytes(MACS, [0x88, 0xa8, 0, 7, 0x81, 0, 0, 42], packet),
      },
    ];
  }),
  { name: 'only an Ethernet header', passes: false, frame: bytes(ETHERNET_4) },
  { name: 'IPv4 cut in its header', passes: false, frame: bytes(ETHERNET_4, [0x45, 0, 0, 40]) },
  {
    name: 'TCP cut before its flags',
    passes: false,
    frame: bytes(ETHERNET_4, ipv4(6, tcp(SYN)).slice(0, 33)),
  },
  {
    name: 'three VLAN tags',
    passes: false,
    frame: bytes(
      MACS,
      [0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 0x08, 0x00],
      ipv4(6, tcp(SYN)),
    ),
  },
];

/** Without a link header, as a tun device carries them. */
export const BARE_CASES: readonly FilterCase[] = [...v4, ...v6].map(([name, passes, packet]) => ({
  name,
  passes,
  frame: bytes(packet),
}));

/** A frame that passes and is like no other: what came before it has been seen or has been dropped. */
export const MARKER: Uint8Array = bytes(ETHERNET_4, ipv4(6, tcp(SYN, 65_001)));
export const BARE_MARKER: Uint8Array = bytes(ipv4(6, tcp(SYN, 65_001)));

export const hex = (frame: Uint8Array): string => Buffer.from(frame).toString('hex');
