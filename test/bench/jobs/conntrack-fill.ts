import { loadAddon } from '../../../src/native/binding.js';
import { dnatEntry } from './conntrack-entry.js';

interface FillJob {
  /** The number of the first. */
  readonly first?: number;
  readonly entries: number;
}

// linux/netlink.h
const NETLINK_NETFILTER = 12;
/** Messages in one datagram: some 20 KiB, well below the socket's send buffer. */
const BATCH = 128;

/** Puts entries into the table of this network namespace; how many it was asked for. */
export function job({ first: begin = 0, entries }: FillJob): number {
  const loading = loadAddon();
  if (!loading.ok) throw new Error(loading.reason);
  const socket = new loading.addon.NetlinkSocket(
    { protocol: NETLINK_NETFILTER, groups: [], receiveBufferBytes: 1 << 20 },
    () => undefined,
  );
  for (let first = 0; first < entries; first += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, entries - first) }, (_, i) =>
      dnatEntry(begin + first + i),
    );
    socket.send(Buffer.concat(batch));
  }
  socket.close();
  return entries;
}
