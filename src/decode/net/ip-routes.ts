import { canonicalAddress, parseAddress } from '../../model/address.js';
import type { Problem, Where } from '../../model/problem.js';
import type { Route } from '../../model/readings.js';
import { jsonFault } from '../json-fault.js';

export interface IpRoutes {
  readonly routes: readonly Route[];
  readonly problems: readonly Problem[];
}

const ADVICE = 'record it again: ip -j route';
/** More than these say nothing new about a file of rubbish. */
const MAX_PROBLEMS = 20;

/**
 * Whether an input that begins so is the output of `ip -j route` (iproute2's iproute.c, print_route): an
 * array of objects that begin with `dst`, or with `type` and `dst`, and name their `flags`. `ip -j neigh`
 * begins with `dst` too, and has a `state` and no flags.
 */
export function isIpRoutes(first: Uint8Array): boolean {
  const text = new TextDecoder().decode(first.subarray(0, 1_024));
  return /^\s*\[\s*\{\s*(?:"type"\s*:\s*"\w+"\s*,\s*)?"dst"\s*:\s*"[^"]*"\s*,[^{}]*"flags"\s*:/.test(
    text,
  );
}

interface Line {
  readonly dst?: unknown;
  readonly dev?: unknown;
  readonly metric?: unknown;
  readonly gateway?: unknown;
  readonly nexthops?: unknown;
}

/** Reads the output of `ip -j route` or `ip -j -6 route`. Routes that name no device are passed over. */
export function readIpRoutes(bytes: Uint8Array): IpRoutes {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return refused('the list of routes is damaged or cut off', jsonFault(bytes));
  }
  if (!Array.isArray(parsed)) return refused('this is no list of routes', { line: 1 });
  const routes: Route[] = [];
  const problems: Problem[] = [];
  // A default route tells its family by what else the list holds.
  const isV6 = parsed.some((row: unknown) => addressesOf(row).some((text) => text.includes(':')));
  for (const [index, row] of parsed.entries()) {
    if (typeof row !== 'object' || row === null) {
      problems.push(bad(index + 1, 'an entry that is no object'));
      continue;
    }
    const { dst, dev, metric }: Line = row;
    const device = typeof dev === 'string' ? dev : firstHop(row);
    // Unreachable ones, and what `ip` of the future may list.
    if (typeof dst !== 'string' || device === undefined) continue;
    const network = networkOf(dst, isV6);
    if (network === undefined) {
      problems.push(bad(index + 1, 'a destination that is no network'));
      continue;
    }
    routes.push({ ...network, device, metric: typeof metric === 'number' ? metric : 0 });
  }
  return { routes, problems: problems.slice(0, MAX_PROBLEMS) };
}

function addressesOf(row: unknown): string[] {
  if (typeof row !== 'object' || row === null) return [];
  const { dst, gateway }: Line = row;
  return [dst, gateway].filter((text): text is string => typeof text === 'string');
}

/** Of a route over several: the first. */
function firstHop({ nexthops }: Line): string | undefined {
  const first: unknown = Array.isArray(nexthops) ? nexthops[0] : undefined;
  if (typeof first !== 'object' || first === null || !('dev' in first)) return undefined;
  return typeof first.dev === 'string' ? first.dev : undefined;
}

function networkOf(
  text: string,
  isV6: boolean,
): { readonly network: string; readonly prefix: number } | undefined {
  if (text === 'default') return { network: isV6 ? '::' : '0.0.0.0', prefix: 0 };
  const m = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text);
  const network = canonicalAddress(m?.[1] ?? '');
  if (network === undefined) return undefined;
  const width = network.includes(':') ? 128 : 32;
  const prefix = m?.[2] === undefined ? width : Number(m[2]);
  return prefix > width ? undefined : { network, prefix };
}

const V4_BITS_BEFORE = 96;

/** The device by which a packet to this address leaves: of the longest networks that hold it the one with the lowest metric. */
export function deviceTo(routes: readonly Route[], address: string): string | undefined {
  const words = new Uint32Array(8);
  const family = parseAddress(address, words, 0);
  if (family === 0) return undefined;
  let best: Route | undefined;
  for (const route of routes) {
    if (parseAddress(route.network, words, 4) !== family) continue;
    const bits = route.prefix + (family === 4 ? V4_BITS_BEFORE : 0);
    if (!startsSame(words, bits)) continue;
    if (
      best === undefined ||
      route.prefix > best.prefix ||
      (route.prefix === best.prefix && route.metric < best.metric)
    ) {
      best = route;
    }
  }
  return best?.device;
}

/** Whether the first bits of the two addresses, four words each, are the same. */
function startsSame(words: Uint32Array, bits: number): boolean {
  for (let w = 0; w < 4; w++) {
    const left = bits - 32 * w;
    if (left <= 0) return true;
    const mask = left >= 32 ? 0xffff_ffff : ~(0xffff_ffff >>> left);
    if ((((words[w] ?? 0) ^ (words[w + 4] ?? 0)) & mask) !== 0) return false;
  }
  return true;
}

function bad(record: number, message: string): Problem {
  return {
    code: 'route-bad-entry',
    message,
    where: { record },
    advice: ADVICE,
    fatal: false,
    lost: 1,
  };
}

function refused(message: string, where: Where): IpRoutes {
  const problem: Problem = {
    code: 'routes-not-json',
    message,
    where,
    advice: ADVICE,
    fatal: true,
  };
  return { routes: [], problems: [problem] };
}
