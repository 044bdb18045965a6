import { deviceTo } from '../decode/net/ip-routes.js';
import type { RecentLists, Route } from '../model/readings.js';
import type { NodeFacts } from '../model/walk.js';

/** What was read of a node, in plain data. */
export interface NodeReadings {
  /** Its own addresses; absent where they are not known. */
  readonly addresses?: readonly string[];
  /** Absent where no routes are known. */
  readonly routes?: readonly Route[];
  readonly recent?: RecentLists;
}

/** The same as rules ask for it. */
export function nodeFacts({ addresses, routes, recent }: NodeReadings): NodeFacts {
  return {
    ...(addresses !== undefined && { addresses: new Set(addresses) }),
    ...(routes !== undefined && {
      interfaceTo: (address: string) => deviceTo(routes, address),
    }),
    ...(recent !== undefined && {
      recent: new Map(recent.map(([list, held]) => [list, new Map(held)])),
    }),
  };
}

/** The interface that leads to this very address and to no other: of a Pod's veth, where Pods have routes of their own. */
export function interfaceOf(routes: readonly Route[], address: string): string | undefined {
  const own = routes.find(
    ({ network, prefix }) => network === address && prefix === (address.includes(':') ? 128 : 32),
  );
  return own?.device;
}
