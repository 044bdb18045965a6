import { networkInterfaces } from 'node:os';
import { canonicalAddress } from '../../model/address.js';
import type { Case, ConntrackTable } from '../../model/case.js';
import type { Nanos } from '../../model/time.js';
import type { NodeReadings } from '../../pipeline/node-facts.js';
import { conntrackFacts } from '../../sources/node/conntrack.js';
import { kubeProxyFacts } from '../../sources/node/kube-proxy.js';
import { readRecent } from '../../sources/node/recent.js';
import { readRoutes } from '../../sources/node/routes.js';

const ROOT = '/';

/** What rules ask of this node, as it is now. Nothing is changed. */
export async function readNode(
  signal: AbortSignal,
): Promise<{ readonly readings: NodeReadings } & Pick<Case, 'recentCapacity' | 'versions'>> {
  const [routes, recent, { proxyVersion }] = await Promise.all([
    readRoutes(signal),
    readRecent(ROOT),
    kubeProxyFacts(signal),
  ]);
  const found = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  const addresses = found.flatMap(
    ({ address }) => canonicalAddress(address.replace(/%.*$/, '')) ?? [],
  );
  return {
    readings: {
      addresses: [...new Set(addresses)].sort(),
      ...(routes !== undefined && { routes }),
      ...(recent !== undefined && { recent: recent.lists }),
    },
    ...(recent?.capacity !== undefined && { recentCapacity: recent.capacity }),
    ...(proxyVersion !== undefined && { versions: { kubeProxy: proxyVersion } }),
  };
}

/** What the kernel says of its conntrack table now. */
export async function readConntrackTable(time: Nanos): Promise<ConntrackTable> {
  const { settings, counters } = await conntrackFacts(ROOT);
  const said = {
    count: settings['count'],
    max: settings['max'],
    insertFailed: counters['insert_failed'],
    drop: counters['drop'],
    earlyDrop: counters['early_drop'],
  };
  return {
    time,
    ...Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined)),
  };
}
