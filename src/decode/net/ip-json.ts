import { canonicalAddress } from '../../model/address.js';
import type { Problem, Where } from '../../model/problem.js';
import { jsonFault } from '../json-fault.js';

/** What `ip -j addr` or `ip -j link` says of a node. */
export interface IpJson {
  /** Canonical, sorted; empty for `ip -j link`, which tells none. */
  readonly addresses: readonly string[];
  /** Interface names by kernel index. */
  readonly names: ReadonlyMap<number, string>;
  readonly problems: readonly Problem[];
}

const ADVICE = 'record it again: ip -j addr';

/**
 * Whether an input that begins so is the output of `ip -j addr` or `ip -j link` (iproute2's ipaddress.c:
 * an array of objects that begin with `ifindex` and, but for a VLAN's or veth's `link`, go on with
 * `ifname`), pretty-printed or not. `ip -j route`, `ip -j neigh` and `bridge -j fdb` begin otherwise.
 */
export function isIpJson(first: Uint8Array): boolean {
  const text = new TextDecoder().decode(first.subarray(0, 512));
  return /^\s*\[\s*(?:\{\s*\}\s*,\s*)*\{\s*"ifindex"\s*:\s*\d+\s*,\s*"(?:ifname|link|link_index)"\s*:/.test(
    text,
  );
}

interface Line {
  readonly ifindex?: unknown;
  readonly ifname?: unknown;
  readonly addr_info?: unknown;
}

/** Reads the output of `ip -j addr` or `ip -j link`. Entries that say nothing of use are passed over. */
export function readIpJson(bytes: Uint8Array): IpJson {
  const names = new Map<number, string>();
  const addresses = new Set<string>();
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return refused('ip-not-json', 'the list of interfaces is damaged or cut off', jsonFault(bytes));
  }
  if (!Array.isArray(parsed))
    return refused('ip-not-a-list', 'this is no list of interfaces', { line: 1 });
  const problems: Problem[] = [];
  let record = 0;
  for (const row of parsed) {
    record++;
    if (typeof row !== 'object' || row === null) {
      problems.push(bad(record, 'an entry that is no object'));
      continue;
    }
    const { ifindex, ifname, addr_info }: Line = row;
    if (typeof ifindex === 'number' && typeof ifname === 'string') names.set(ifindex, ifname);
    if (!Array.isArray(addr_info)) continue;
    for (const info of addr_info) {
      const local: unknown =
        typeof info === 'object' && info !== null && 'local' in info ? info.local : undefined;
      // `ip -br` and point-to-point links leave empty objects behind.
      if (typeof local !== 'string') continue;
      const address = canonicalAddress(local);
      if (address === undefined) problems.push(bad(record, 'an address that is none'));
      else addresses.add(address);
    }
  }
  return { addresses: [...addresses].sort(), names, problems: problems.slice(0, MAX_PROBLEMS) };
}

/** More than these say nothing new about a file of rubbish. */
const MAX_PROBLEMS = 20;

function bad(record: number, message: string): Problem {
  return {
    code: 'ip-bad-entry',
    message,
    where: { record },
    advice: ADVICE,
    fatal: false,
    lost: 1,
  };
}

function refused(code: string, message: string, where: Where): IpJson {
  const problem: Problem = { code, message, where, advice: ADVICE, fatal: true };
  return { addresses: [], names: new Map(), problems: [problem] };
}
