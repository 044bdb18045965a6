/**
 * The kernel's filter for the ring, in classic BPF (linux/filter.h,
 * Documentation/networking/filter.rst): what the correlator needs passes, everything else costs
 * nothing more than these instructions.
 *
 * It passes TCP segments with SYN, FIN or RST; UDP except tunnels (see `tunnels`); SCTP packets whose
 * first chunk opens or ends an association; ICMP errors; and IPv6 with extension headers whatever they
 * lead to, since a filter without loops cannot walk them. Later fragments have no ports and do not pass.
 * VLAN tags are looked through, whether the kernel took them out of the frame or not.
 */
export interface FilterOptions {
  /** Bytes of a passing frame to keep. */
  readonly snaplen: number;
  /**
   * true: UDP to or from the ports of VXLAN and Geneve passes. By default it does not: it is all
   * traffic between Pods of different nodes, and what it carries is seen on the tunnel's own device.
   */
  readonly tunnels?: boolean;
  /** true: every packet passes, whatever it is; only lo's second copies are left out. */
  readonly everything?: boolean;
}

/**
 * Link header with two VLAN tags (22), IPv6 (40) with some extension headers, or an ICMP error with
 * the quoted packet (8 + 40), TCP with all options (60) or UDP with the first 32 bytes of payload that
 * are compared: 22 + 40 + 8 + 40 + 60 = 170. The rest is for extension headers.
 */
export const SNAPLEN = 192;

// linux/bpf_common.h: classes, sizes, modes, operations.
const LD_BYTE_INDIRECT = 0x50;
const LD_HALF_ABSOLUTE = 0x28;
const LD_HALF_INDIRECT = 0x48;
const LD_WORD_ABSOLUTE = 0x20;
const LD_MEMORY = 0x60;
const LDX_IMMEDIATE = 0x01;
const STORE = 0x02;
const ADD = 0x04;
const ADD_X = 0x0c;
const AND = 0x54;
const SHIFT_LEFT = 0x64;
const JUMP = 0x05;
const JUMP_EQUAL = 0x15;
const JUMP_AT_LEAST = 0x35;
const JUMP_ANY_BIT = 0x45;
const RETURN = 0x06;
const A_TO_X = 0x07;
const X_TO_A = 0x87;

// linux/filter.h: loads below zero reach what the kernel knows of the packet.
const SKF_AD_OFF = 0xffff_f000;
const SKF_AD_PROTOCOL = SKF_AD_OFF + 0;
const SKF_AD_PKTTYPE = SKF_AD_OFF + 4;
const SKF_AD_HATYPE = SKF_AD_OFF + 28;
/** Added to an offset: counted from the network header. */
const SKF_NET_OFF = 0xfff0_0000;

const PACKET_OUTGOING = 4; // linux/if_packet.h
const ARPHRD_ETHER = 1; // linux/if_arp.h
const ARPHRD_LOOPBACK = 772;
const ETHERNET_HEADER = 14;
const VLAN_TAG = 4;
/** 802.1Q, 802.1ad, and what was used for stacked tags before 802.1ad. */
const VLAN_TYPES = [0x8100, 0x88a8, 0x9100];
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const IPV6_HEADER = 40;
/** Hop-by-hop, routing, fragment, authentication, destination options (RFC 8200, section 4). */
const IPV6_EXTENSIONS = [0, 43, 44, 51, 60];
const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const SCTP = 132;
const TCP_SYN_FIN_RST = 0x07;
/** Destination unreachable, time exceeded, parameter problem (RFC 792). */
const ICMP_ERRORS = [3, 11, 12];
/** ICMPv6 errors are the types below this (RFC 4443, section 2.1). */
const ICMPV6_FIRST_INFORMATIONAL = 128;
/** INIT, INIT ACK, ABORT, SHUTDOWN, SHUTDOWN ACK, SHUTDOWN COMPLETE (RFC 9260, section 3.2). */
const SCTP_CHUNKS = [1, 2, 6, 7, 8, 14];
/** VXLAN by IANA and as Linux and flannel use it; Geneve. */
const TUNNEL_PORTS = [4789, 8472, 6081];

interface Instruction {
  readonly code: number;
  readonly k: number;
  /** Labels; a jump without one goes on with the next instruction. */
  readonly yes?: string;
  readonly no?: string;
}

/** The program, two words an instruction, as `PacketRing` takes it. */
export function captureFilter(options: FilterOptions): Uint32Array {
  const code: (Instruction | string)[] = [];
  const put = (op: number, k = 0, yes?: string, no?: string): void => {
    code.push({ code: op, k, ...(yes && { yes }), ...(no && { no }) });
  };
  const label = (name: string): void => {
    code.push(name);
  };
  const jumpIfOneOf = (values: readonly number[], to: string): void => {
    for (const value of values) put(JUMP_EQUAL, value, to);
  };

  // What leaves through lo comes back through it: one of the two is enough (libpcap does the same).
  put(LD_WORD_ABSOLUTE, SKF_AD_HATYPE);
  put(JUMP_EQUAL, ARPHRD_ETHER, 'ethernet');
  put(JUMP_EQUAL, ARPHRD_LOOPBACK, undefined, 'bare');
  put(LD_WORD_ABSOLUTE, SKF_AD_PKTTYPE);
  put(JUMP_EQUAL, PACKET_OUTGOING, 'drop');

  if (options.everything === true) {
    label('ethernet');
    label('bare');
    put(JUMP, 0, 'pass');
  } else {
    chosen();
  }

  label('pass');
  put(RETURN, options.snaplen);
  label('drop');
  put(RETURN, 0);

  return assemble(code);

  function chosen(): void {
    // X is where the packet begins, A its EtherType.
    label('ethernet');
    for (let tags = 0; tags < 3; tags++) {
      const at = ETHERNET_HEADER + tags * VLAN_TAG;
      put(LDX_IMMEDIATE, at);
      put(LD_HALF_ABSOLUTE, at - 2);
      if (tags === 2) break;
      jumpIfOneOf(VLAN_TYPES, `tag ${tags + 1}`);
      put(JUMP, 0, 'type');
      label(`tag ${tags + 1}`);
    }
    put(JUMP, 0, 'type');

    // tun, ipip, wireguard, ppp …: the kernel knows where the packet begins.
    label('bare');
    put(LDX_IMMEDIATE, SKF_NET_OFF);
    put(LD_WORD_ABSOLUTE, SKF_AD_PROTOCOL);

    label('type');
    put(JUMP_EQUAL, ETHERTYPE_IPV4, 'ipv4');
    put(JUMP_EQUAL, ETHERTYPE_IPV6, 'ipv6', 'drop');

    // From here on X is where the transport header begins, A the protocol.
    label('ipv4');
    put(LD_HALF_INDIRECT, 6);
    put(JUMP_ANY_BIT, 0x1fff, 'drop');
    put(LD_BYTE_INDIRECT, 9);
    put(STORE, 0);
    put(LD_BYTE_INDIRECT, 0);
    put(AND, 0x0f);
    put(SHIFT_LEFT, 2);
    put(ADD_X);
    put(A_TO_X);
    put(LD_MEMORY, 0);
    put(JUMP_EQUAL, ICMP, 'icmp', 'transport');

    label('ipv6');
    put(LD_BYTE_INDIRECT, 6);
    put(STORE, 0);
    put(X_TO_A);
    put(ADD, IPV6_HEADER);
    put(A_TO_X);
    put(LD_MEMORY, 0);
    put(JUMP_EQUAL, ICMPV6, 'icmpv6');
    jumpIfOneOf(IPV6_EXTENSIONS, 'pass');

    label('transport');
    put(JUMP_EQUAL, TCP, 'tcp');
    put(JUMP_EQUAL, UDP, 'udp');
    put(JUMP_EQUAL, SCTP, 'sctp', 'drop');

    label('tcp');
    put(LD_BYTE_INDIRECT, 13);
    put(JUMP_ANY_BIT, TCP_SYN_FIN_RST, 'pass', 'drop');

    label('udp');
    if (options.tunnels !== true) {
      for (const port of [0, 2]) {
        put(LD_HALF_INDIRECT, port);
        jumpIfOneOf(TUNNEL_PORTS, 'drop');
      }
    }
    put(JUMP, 0, 'pass');

    label('sctp');
    put(LD_BYTE_INDIRECT, 12);
    jumpIfOneOf(SCTP_CHUNKS, 'pass');
    put(JUMP, 0, 'drop');

    label('icmp');
    put(LD_BYTE_INDIRECT, 0);
    jumpIfOneOf(ICMP_ERRORS, 'pass');
    put(JUMP, 0, 'drop');

    label('icmpv6');
    put(LD_BYTE_INDIRECT, 0);
    put(JUMP_AT_LEAST, ICMPV6_FIRST_INFORMATIONAL, 'drop', 'pass');
  }
}

/** Replaces labels by distances: from the next instruction, as jumps count. */
function assemble(code: readonly (Instruction | string)[]): Uint32Array {
  const places = new Map<string, number>();
  const instructions: Instruction[] = [];
  for (const item of code) {
    if (typeof item === 'string') places.set(item, instructions.length);
    else instructions.push(item);
  }
  const words = new Uint32Array(instructions.length * 2);
  instructions.forEach((it, i) => {
    const distance = (label: string | undefined): number =>
      label === undefined ? 0 : (places.get(label) ?? Number.NaN) - i - 1;
    const far = it.code === JUMP;
    const yes = distance(it.yes);
    const no = distance(it.no);
    // A conditional jump has eight bits for its distance, and none goes backwards.
    if (!(yes >= 0 && no >= 0 && (far || (yes < 256 && no < 256)))) {
      throw new RangeError(`instruction ${i} jumps where BPF cannot`);
    }
    words[2 * i] = it.code | (far ? 0 : (yes << 16) | (no << 24));
    words[2 * i + 1] = far ? yes : it.k;
  });
  return words;
}
