/**
 * Classic BPF as Documentation/networking/filter.rst of the kernel describes it, with the two extensions
 * that matter here: what the kernel knows of the packet, and offsets from the network header.
 */
export interface Packet {
  readonly frame: Uint8Array;
  /** Where the network header begins. */
  readonly network: number;
  readonly protocol: number;
  readonly hardware: number;
  readonly packetType: number;
}

const SKF_AD_OFF = -0x1000;
const SKF_NET_OFF = -0x10_0000;

/** Runs a program (two words an instruction) over a packet; what it returns. A load beyond the end returns 0. */
export function runBpf(program: Uint32Array, packet: Packet): number {
  const memory = new Uint32Array(16);
  let a = 0;
  let x = 0;
  const view = new DataView(packet.frame.buffer, packet.frame.byteOffset, packet.frame.byteLength);
  const load = (offset: number, size: number): number | undefined => {
    let at = offset | 0;
    if (at >= SKF_AD_OFF && at < 0) {
      switch (at - SKF_AD_OFF) {
        case 0:
          return packet.protocol;
        case 4:
          return packet.packetType;
        case 28:
          return packet.hardware;
        default:
          throw new Error(`no ancillary ${at - SKF_AD_OFF}`);
      }
    }
    if (at < 0) at = at - SKF_NET_OFF + packet.network;
    if (at < 0 || at + size > packet.frame.length) return undefined;
    return size === 4 ? view.getUint32(at) : size === 2 ? view.getUint16(at) : view.getUint8(at);
  };
  for (let pc = 0; pc < program.length / 2; pc++) {
    const head = program[2 * pc] ?? 0;
    const k = program[2 * pc + 1] ?? 0;
    const jump = (yes: boolean): void => {
      pc += yes ? (head >>> 16) & 255 : head >>> 24;
    };
    const take = (value: number | undefined): boolean => {
      a = value ?? 0;
      return value !== undefined;
    };
    switch (head & 0xffff) {
      case 0x20:
        if (!take(load(k, 4))) return 0;
        break;
      case 0x28:
        if (!take(load(k, 2))) return 0;
        break;
      case 0x48:
        if (!take(load(x + k, 2))) return 0;
        break;
      case 0x50:
        if (!take(load(x + k, 1))) return 0;
        break;
      case 0x60:
        a = memory[k] ?? 0;
        break;
      case 0x01:
        x = k;
        break;
      case 0x02:
        memory[k] = a;
        break;
      case 0x04:
        a = (a + k) >>> 0;
        break;
      case 0x0c:
        a = (a + x) >>> 0;
        break;
      case 0x54:
        a = (a & k) >>> 0;
        break;
      case 0x64:
        a = (a << k) >>> 0;
        break;
      case 0x05:
        pc += k;
        break;
      case 0x15:
        jump(a === k);
        break;
      case 0x35:
        jump(a >= k);
        break;
      case 0x45:
        jump((a & k) !== 0);
        break;
      case 0x06:
        return k;
      case 0x07:
        x = a;
        break;
      case 0x87:
        a = x;
        break;
      default:
        throw new Error(`no instruction 0x${(head & 0xffff).toString(16)}`);
    }
  }
  throw new Error('ran beyond the end of the program');
}
