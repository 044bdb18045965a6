import { readdir } from 'node:fs/promises';
import { canonicalAddress } from '../../model/address.js';
import { numberOf, textOf } from './read.js';

/** Net of one list: kube-proxy makes one an endpoint, of at most this many addresses each (ip_list_tot, 100 by default). */
const MAX_LISTS = 10_000;
const FOLDER = 'proc/net/xt_recent';
const CAPACITY = 'sys/module/xt_recent/parameters/ip_list_tot';

/** CONFIG_HZ as kernel/Kconfig.hz offers it. */
const TICKS_PER_SECOND = [100, 250, 300, 1_000];
/** include/linux/jiffies.h, INITIAL_JIFFIES: five minutes before 32 bits wrap. */
const FIRST_TICKS_SECONDS = 300;
const TWO_32 = 0x1_0000_0000;

export interface RecentLists {
  /** List, address, seconds since it was last seen. */
  readonly lists: readonly (readonly [
    list: string,
    held: readonly (readonly [address: string, seconds: number])[],
  ])[];
  /** How many addresses a list holds. */
  readonly capacity?: number;
}

/** The lists of iptables' `recent` match in this network namespace; `undefined` where the kernel has none. */
export async function readRecent(root: string): Promise<RecentLists | undefined> {
  const [names, capacity, uptime] = await Promise.all([
    readdir(`${root}${FOLDER}`).catch(() => undefined),
    numberOf(`${root}${CAPACITY}`),
    textOf(`${root}proc/uptime`),
  ]);
  if (names === undefined) return undefined;
  const up = Number.parseFloat(uptime ?? '');
  const files: [string, string][] = [];
  for (const name of names.sort().slice(0, MAX_LISTS)) {
    const text = await textOf(`${root}${FOLDER}/${name}`);
    if (text !== undefined) files.push([name, text]);
  }
  const held = files.map(([name, text]) => [name, heldIn(text)] as const);
  const perSecond = ticksPerSecond(
    held.flatMap(([, all]) => all.map(([, tick]) => tick)),
    up,
  );
  const now = perSecond === undefined ? 0 : tickAt(up, perSecond);
  return {
    lists: held.map(([name, all]) => [
      name,
      // Without a scale all that is known is that it was seen.
      all.map(([address, tick]) => [
        address,
        perSecond === undefined ? 0 : Math.max(0, (now - tick) / perSecond),
      ]),
    ]),
    ...(capacity !== undefined && { capacity }),
  };
}

/** `src=10.244.1.2 ttl: 64 last_seen: 4294995123 oldest_pkt: 1 4294995123` (net/netfilter/xt_recent.c, recent_seq_show). */
function heldIn(text: string): (readonly [address: string, tick: number])[] {
  return [...text.matchAll(/^src=(\S+) ttl: \d+ last_seen: (\d{1,16}) /gm)].flatMap((m) => {
    const address = canonicalAddress(m[1] ?? '');
    return address === undefined ? [] : [[address, Number(m[2])] as const];
  });
}

function tickAt(uptime: number, perSecond: number): number {
  return TWO_32 + (uptime - FIRST_TICKS_SECONDS) * perSecond;
}

/** The kernel tells its ticks and not how many make a second: the only rate at which all of them lie between its start and now. */
function ticksPerSecond(ticks: readonly number[], uptime: number): number | undefined {
  if (ticks.length === 0 || Number.isNaN(uptime)) return undefined;
  const latest = ticks.reduce((a, b) => Math.max(a, b), 0);
  const earliest = ticks.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const fitting = TICKS_PER_SECOND.filter(
    (rate) => latest <= tickAt(uptime, rate) + rate && earliest >= tickAt(0, rate),
  );
  // A slow rate never reaches a fast one's ticks, so of those that fit the slowest is the nearest.
  return fitting[0];
}
