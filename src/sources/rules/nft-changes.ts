import { Observable } from 'rxjs';
import { type AddonLoad, loadAddon, type NetlinkSocket } from '../../native/binding.js';

// linux/netlink.h, linux/netfilter/nfnetlink.h (enum nfnetlink_groups)
const NETLINK_NETFILTER = 12;
const NFNLGRP_NFTABLES = 7;

/**
 * All that counts is that something came. A change of many rules has more to tell than fits, and the
 * kernel need not keep it: that it could not be kept is told as well.
 */
const RECEIVE_BUFFER_BYTES = 64 << 10;

/** `listening`: from now on each change of a table of nf_tables is told as `changed`, at least once. */
export type NftChange = 'listening' | 'changed';

/**
 * Changes of nf_tables in this process's network namespace, whoever makes them (nft and iptables-nft),
 * once they are in force. Ends at once, or when it can no longer hear, if there is no addon or no
 * CAP_NET_ADMIN: then nothing tells of changes.
 */
export function watchNftChanges(load: () => AddonLoad = loadAddon): Observable<NftChange> {
  return new Observable<NftChange>((subscriber) => {
    const loading = load();
    if (!loading.ok) {
      subscriber.complete();
      return undefined;
    }
    let socket: NetlinkSocket;
    try {
      socket = new loading.addon.NetlinkSocket(
        {
          protocol: NETLINK_NETFILTER,
          groups: [NFNLGRP_NFTABLES],
          receiveBufferBytes: RECEIVE_BUFFER_BYTES,
        },
        (_buffer, _count, failure) => {
          // Messages, and gaps between them, are all the same here.
          subscriber.next('changed');
          if (failure !== undefined) subscriber.complete();
        },
      );
    } catch {
      subscriber.complete();
      return undefined;
    }
    subscriber.next('listening');
    return () => socket.close();
  });
}
