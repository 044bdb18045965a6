import type { Readings } from '../../../model/readings.js';
import type { RuleNames } from './names.js';
import type { Pseudonyms } from './pseudonyms.js';

/** Of a version what kubernetes/kubernetes calls its releases; builders put their names behind it. */
const RELEASE = /^v?\d{1,3}\.\d{1,3}(?:\.\d{1,3})?(?=[-+]|$)/;

/**
 * What was read of a node, with pseudonyms in the place of addresses, devices and lists. A route or an address in
 * a list that is none is left out. Numbers stay.
 */
export function redactedReadings(
  { table, routes, recent, recentCapacity, kubeProxy, apiServer }: Readings,
  pseudonyms: Pseudonyms,
  names: RuleNames,
): Readings {
  const proxy = RELEASE.exec(kubeProxy ?? '')?.[0];
  const api = RELEASE.exec(apiServer ?? '')?.[0];
  return {
    ...(table !== undefined && {
      table: Object.fromEntries(COUNTS.flatMap((name) => pairOf(name, table[name]))),
    }),
    ...(routes !== undefined && {
      routes: routes.flatMap(({ network, prefix, device, metric }) => {
        const moved = pseudonyms.addressText(`${network}/${prefix}`)?.split('/')[0];
        if (moved === undefined) return [];
        return [{ network: moved, prefix, device: pseudonyms.interfaceName(device), metric }];
      }),
    }),
    ...(recent !== undefined && {
      recent: recent.map(([list, held]) => [
        names.chain(list),
        held.flatMap(([address, seconds]) => {
          const moved = pseudonyms.addressText(address);
          return moved === undefined ? [] : [[moved, seconds] as const];
        }),
      ]),
    }),
    ...(recentCapacity !== undefined && { recentCapacity }),
    ...(proxy !== undefined && { kubeProxy: proxy }),
    ...(api !== undefined && { apiServer: api }),
  };
}

const COUNTS = ['count', 'max', 'insertFailed', 'drop', 'earlyDrop'] as const;

function pairOf(name: string, value: number | undefined): [string, number][] {
  return value === undefined ? [] : [[name, value]];
}
