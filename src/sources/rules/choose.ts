import { merge, NEVER, type Observable, shareReplay } from 'rxjs';
import type { InputEvent } from '../../model/event.js';
import { Budget } from './budget.js';
import { watchIptables } from './iptables.js';
import { watchIpvs } from './ipvs.js';
import { watchLegacyChanges } from './legacy-changes.js';
import { watchNftChanges } from './nft-changes.js';
import { watchNftables } from './nftables.js';

/** The node's rules, as far as they were asked for. */
export interface ChosenRules {
  /** For people. */
  readonly name: string;
  readonly events: Observable<InputEvent>;
}

interface WatchOptions {
  readonly node?: string;
  /** Changes of Services and their endpoints in the cluster. */
  readonly clusterChanges: Observable<unknown>;
  /** Called when everything that was chosen has been read, and again with every later reading. */
  readonly onRead: () => void;
}

/**
 * Whose rules are watched. Both in `auto`: a node that changed kube-proxy's mode may hold rules of both,
 * and where there is no table of kube-proxy, looking for it costs one short run of nft a family.
 */
export function chooseRules(
  choice: 'auto' | 'iptables' | 'nftables' | 'none',
  { onRead, clusterChanges, ...others }: WatchOptions,
): ChosenRules {
  // One socket for both.
  const nft = watchNftChanges().pipe(shareReplay({ bufferSize: 1, refCount: true }));
  const options = {
    ...others,
    changes: { cluster: clusterChanges, nft },
    budget: new Budget(),
  };
  const iptables = {
    ...options,
    changes: { ...options.changes, legacy: watchLegacyChanges() },
  };
  switch (choice) {
    case 'none':
      return { name: 'none', events: NEVER };
    case 'iptables':
      return { name: 'iptables', events: watchIptables({ ...iptables, onRead }) };
    case 'nftables':
      return { name: 'nftables', events: watchNftables({ ...options, onRead }) };
    case 'auto': {
      const unread = new Set(['iptables', 'nftables']);
      const read = (what: string) => (): void => {
        unread.delete(what);
        if (unread.size === 0) onRead();
      };
      return {
        name: 'iptables and nftables',
        events: merge(
          watchIpvs(),
          watchIptables({ ...iptables, onRead: read('iptables') }),
          watchNftables({ ...options, onRead: read('nftables') }),
        ),
      };
    }
  }
}
