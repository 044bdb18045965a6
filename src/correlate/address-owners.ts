import { type Nanos, parseRfc3339 } from '../model/time.js';

/** Before every moment, and after every moment, that an input can name. */
export const BEGINNING: Nanos = -(1n << 63n);
const FOREVER: Nanos = (1n << 63n) - 1n;

/** One owner's hold on one address, from `from` until before `to`. */
interface Claim<T> {
  readonly key: string;
  owner: T;
  readonly from: Nanos;
  to: Nanos;
  /** When the owner itself came to be, where it says so: as it says it until somebody asks. */
  created: Nanos | string | undefined;
  /** Nobody is known to have had the address before. */
  readonly first: boolean;
  /** From when on the owner is on its way out. */
  leaving: Nanos;
}

/**
 * Who had an address, and when. Claims are made and given up in order of time; a look-up names any
 * time. Mostly an address has one claim, so a look-up is one Map access and two comparisons.
 */
export class AddressOwners<T> {
  private readonly byIp = new Map<string, Claim<T>[]>();
  /** Claims that have ended, in order of their end: what prune has to look at. */
  private ended: { readonly ip: string; readonly claim: Claim<T> }[] = [];

  /** `key` tells owners apart; `created`, in RFC 3339, bounds how far a claim may reach back. */
  claim(
    ip: string,
    key: string,
    owner: T,
    leaving: boolean,
    at: Nanos,
    created: string | undefined,
  ): void {
    const claims = this.byIp.get(ip);
    const claim: Claim<T> = {
      key,
      owner,
      from: at,
      to: FOREVER,
      created,
      first: claims === undefined,
      leaving: leaving ? at : FOREVER,
    };
    if (claims === undefined) this.byIp.set(ip, [claim]);
    else claims.push(claim);
  }

  /** Replaces what is known of an owner and, from `at` on, whether it is leaving. */
  renew(ip: string, key: string, owner: T, leaving: boolean, at: Nanos): void {
    const claim = this.open(ip, key);
    if (claim === undefined) return;
    claim.owner = owner;
    if (!leaving) claim.leaving = FOREVER;
    else if (claim.leaving === FOREVER) claim.leaving = at;
  }

  giveUp(ip: string, key: string, at: Nanos): void {
    const claim = this.open(ip, key);
    if (claim === undefined) return;
    claim.to = at;
    // One that was first seen as it ended still tells who had the address until then.
    if (claim.to > claim.from || claim.first) this.ended.push({ ip, claim });
    else this.drop(ip, claim);
  }

  /**
   * Who had the address at `time`. Of two, the one that is not leaving, then the one that came later.
   * Without a time: the owner, if there was only one in all that is known.
   */
  at(ip: string, time: Nanos | undefined): T | undefined {
    const claims = this.byIp.get(ip);
    if (claims === undefined) return undefined;
    if (time === undefined) {
      const last = claims[claims.length - 1];
      return claims.every((claim) => claim.key === last?.key) ? last?.owner : undefined;
    }
    let best: Claim<T> | undefined;
    for (const claim of claims) {
      if (holds(claim, time) && (best === undefined || beats(claim, best, time))) best = claim;
    }
    return best?.owner;
  }

  /** Forgets claims that ended at or before `before`. */
  prune(before: Nanos): void {
    let count = 0;
    for (const { ip, claim } of this.ended) {
      if (claim.to > before) break;
      this.drop(ip, claim);
      count++;
    }
    if (count > 0) this.ended = this.ended.slice(count);
  }

  private open(ip: string, key: string): Claim<T> | undefined {
    return this.byIp.get(ip)?.find((claim) => claim.key === key && claim.to === FOREVER);
  }

  private drop(ip: string, claim: Claim<T>): void {
    const claims = this.byIp.get(ip)?.filter((other) => other !== claim) ?? [];
    if (claims.length === 0) this.byIp.delete(ip);
    else this.byIp.set(ip, claims);
  }
}

function holds(claim: Claim<unknown>, time: Nanos): boolean {
  if (time >= claim.to) return false;
  // Nobody has an address before it exists, not even in a list that is taken to hold from the beginning.
  if (claim.from === BEGINNING) return (createdAt(claim) ?? BEGINNING) <= time;
  if (time >= claim.from) return true;
  // First seen later than asked: it had the address before it was seen, if nobody else is known to
  // have had it and it existed already.
  return claim.first && (createdAt(claim) ?? FOREVER) <= time;
}

/** When the owner came to be: of the 10,000 Pods of a list few are ever asked. */
function createdAt(claim: Claim<unknown>): Nanos | undefined {
  const { created } = claim;
  if (typeof created !== 'string') return created;
  const at = parseRfc3339(created);
  claim.created = at;
  return at;
}

/** Of two owners the one that is not leaving, then the one that came later. */
function beats(a: Claim<unknown>, b: Claim<unknown>, time: Nanos): boolean {
  const leaving = a.leaving <= time;
  if (leaving !== b.leaving <= time) return !leaving;
  if (a.from !== b.from) return a.from > b.from;
  const created = createdAt(a) ?? BEGINNING;
  const other = createdAt(b) ?? BEGINNING;
  return created === other ? a.key > b.key : created > other;
}
