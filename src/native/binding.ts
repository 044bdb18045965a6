import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/**
 * The one door to the addon (native/): its types, and the reason when it cannot be loaded. The addon
 * moves bytes between the kernel and JavaScript and understands none of them.
 */
interface Addon {
  readonly PacketRing: new (options: RingOptions, callback: BatchCallback) => PacketRing;
  readonly NetlinkSocket: new (options: NetlinkOptions, callback: BatchCallback) => NetlinkSocket;
  /**
   * The sizes of the tables of legacy iptables that there are in the process's network namespace. Rejects with a
   * NativeError (EPERM without CAP_NET_ADMIN, EACCES where only root may see which there are).
   */
  readonly legacyTables: (family: 4 | 6) => Promise<readonly LegacyTable[]>;
  /**
   * Has the kernel keep so many bytes for the reader of a pipe or socket, or as many as it allows; what it
   * keeps then, 0 if `fd` is neither.
   */
  readonly widen: (fd: number, bytes: number) => number;
}

/** As the kernel counts them: rules with their chains' heads and ends, and what these take. */
export interface LegacyTable {
  readonly name: string;
  readonly entries: number;
  readonly bytes: number;
}

/** What a failed system call throws: `code` is errno's name, `syscall` the call. */
export interface NativeError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
}

/**
 * Called on the environment's thread with the next of what has come: `count` records packed into
 * `buffer`, which may be read until the callback returns: then it is filled again. `failure` is set
 * once, when reading has ended for good; the object must still be closed. Not called again after `close`.
 *
 * What the open objects of one environment have is handed over in the order in which it came, a chunk of
 * some 64 KiB at a time, and the event loop turns after every few. While JavaScript does not come round,
 * up to 96 MiB are kept for each object; then reading pauses, and the kernel counts what it drops. What
 * the callback throws becomes an uncaught exception.
 */
type BatchCallback = (buffer: ArrayBuffer, count: number, failure: NativeError | undefined) => void;

interface RingOptions {
  /** A multiple of the page size, large enough for one frame of the filter's snaplen. */
  readonly blockBytes: number;
  readonly blocks: number;
  /** A block that holds anything is handed over after this many milliseconds at the latest. */
  readonly blockTimeoutMs: number;
  /**
   * A classic BPF program, two words an instruction: `code | jt << 16 | jf << 24`, and `k`. It returns
   * the bytes to keep, 0 to drop. It is in place before the first packet can come.
   */
  readonly filter: Uint32Array;
}

/**
 * A TPACKET_V3 ring over all interfaces of the process's network namespace, never promiscuous. Opening
 * throws a NativeError (EPERM without CAP_NET_RAW). While open it keeps the process alive.
 */
export interface PacketRing {
  /** Sums since the opening. */
  stats(): RingStats;
  /** Replaces the filter; packets that are already in the ring came through the old one. */
  setFilter(filter: Uint32Array): void;
  /** `undefined` if there is no such interface (any more). */
  interfaceName(index: number): string | undefined;
  /** Packets that were read and not handed over yet. */
  waiting(): number;
  /** Waits for the reader thread, frees the ring. Closing again does nothing; anything else then throws EBADF. */
  close(): void;
}

interface RingStats {
  /** Passed the filter, dropped ones included. */
  readonly packets: number;
  /** Passed the filter and found no room in the ring. */
  readonly drops: number;
  /** How often the ring was full. */
  readonly freezes: number;
}

/**
 * A packet in a batch begins with these words (native/ring.h, PacketRecord), in host order; the frame
 * follows, padded to a multiple of four bytes.
 */
export const RING_SECONDS = 0;
export const RING_NANOSECONDS = 1;
export const RING_INTERFACE = 2;
/** PACKET_HOST … PACKET_OUTGOING of linux/if_packet.h. */
export const RING_PACKET_TYPE = 3;
/** ARPHRD_ of linux/if_arp.h. */
export const RING_HARDWARE = 4;
// Word 5 is the EtherType as the kernel knows it, word 6 a VLAN tag that the kernel took out of the frame
// (TPID << 16 | TCI, 0 without): the frames are understood without them.
/** Where the network header begins in the frame. */
export const RING_NET_OFFSET = 7;
/** Bytes of the frame that follow. */
export const RING_CAPTURED = 8;
/** Bytes that the frame had. */
export const RING_ON_WIRE = 9;
export const RING_HEADER_WORDS = 10;

interface NetlinkOptions {
  /** NETLINK_ROUTE 0, NETLINK_NETFILTER 12 … (linux/netlink.h). */
  readonly protocol: number;
  /** Multicast groups by number, from 1. */
  readonly groups: readonly number[];
  /** Forced where CAP_NET_ADMIN allows, else as much as net.core.rmem_max allows. */
  readonly receiveBufferBytes: number;
}

/**
 * A netlink socket in the process's network namespace. Opening throws a NativeError (EPERM for groups
 * that need CAP_NET_ADMIN). A datagram is handed over at once while few come, within about a
 * millisecond when many do. While open it keeps the process alive.
 */
export interface NetlinkSocket {
  /** Sends one datagram to the kernel, which answers on this socket. A dump is asked for with `request`. */
  send(bytes: Uint8Array): void;
  /**
   * Has one datagram sent through a socket that requests have to themselves. The answer comes in batches
   * as everything else: behind all events that were read before it. What goes wrong comes as
   * NETLINK_KIND_REQUEST_FAILED, and then no more of any answer; the next request begins anew.
   */
  request(bytes: Uint8Array): void;
  /** What the kernel granted: twice what was asked if all of it (socket(7)). */
  receiveBufferBytes(): number;
  /** Datagrams that were read and not handed over yet. */
  waiting(): number;
  /** As `PacketRing.close`. */
  close(): void;
}

/**
 * A datagram in a batch begins with these words (native/netlink.h, NetlinkRecord), in host order; the
 * bytes follow, padded to a multiple of four.
 */
export const NETLINK_LENGTH = 0;
/** One of the NETLINK_KIND_ constants. */
export const NETLINK_KIND = 1;
/** When it was read from the socket. */
export const NETLINK_SECONDS = 2;
export const NETLINK_NANOSECONDS = 3;
/** ns that it may have waited in the socket before it was read, at most 2^32 - 1. */
export const NETLINK_WAITED = 4;
export const NETLINK_HEADER_WORDS = 5;

// 0 is a whole datagram.
/** Longer than the reader's buffer; only its beginning follows. */
export const NETLINK_KIND_TRUNCATED = 1;
/**
 * The socket's buffer overran, or the socket reported another error, and it has been read empty since. Three words follow: messages dropped (the
 * kernel counts them a moment after it reports the overrun, so 0 is possible), then seconds and
 * nanoseconds since when messages may be missing.
 */
export const NETLINK_KIND_GAP = 2;
/** A request could not be sent or its answer not be read to its end; one word follows: errno. */
export const NETLINK_KIND_REQUEST_FAILED = 3;

export type AddonLoad =
  | { readonly ok: true; readonly addon: Addon }
  | { readonly ok: false; readonly reason: string };

// The same two steps up from src/native and from dist/native.
const ADDON = fileURLToPath(new URL('../../native/build/Release/whichpod.node', import.meta.url));

let loaded: AddonLoad | undefined;

/** Loads the addon when first asked; the same answer afterwards. Never throws. */
export function loadAddon(): AddonLoad {
  loaded ??= load(ADDON);
  return loaded;
}

function load(path: string): AddonLoad {
  if (process.platform !== 'linux') {
    return {
      ok: false,
      reason: `whichpod's addon uses Linux's packet sockets and netlink; this is ${process.platform}`,
    };
  }
  if (!existsSync(path)) {
    return {
      ok: false,
      reason: `whichpod's addon is not built (no ${path}); build it with: npm run build:native`,
    };
  }
  try {
    return { ok: true, addon: createRequire(import.meta.url)(path) as Addon };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return {
      ok: false,
      reason: `whichpod's addon was not built for this machine (${process.arch}, Node ${process.version}): ${why}; build it again with: npm run build:native`,
    };
  }
}

export function isNativeError(error: unknown): error is NativeError {
  return error instanceof Error && 'syscall' in error && 'errno' in error && 'code' in error;
}
