import { networkInterfaces } from 'node:os';
import { distinctUntilChanged, map, type Observable, timer } from 'rxjs';
import { canonicalAddress } from '../model/address.js';
import type { InputEvent } from '../model/event.js';

/** A node's addresses change when it joins networks; nothing depends on the second. */
const INTERVAL_MS = 10_000;

/** The addresses of this network namespace, at once and whenever they have changed. Never ends by itself. */
export function watchAddresses(): Observable<InputEvent> {
  return timer(0, INTERVAL_MS).pipe(
    map(ownAddresses),
    distinctUntilChanged((a, b) => a.join() === b.join()),
    map((addresses): InputEvent => ({ type: 'addresses', addresses })),
  );
}

function ownAddresses(): string[] {
  const found = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  const addresses = found.map(({ address }) => canonicalAddress(address.replace(/%.*$/, '')));
  return [...new Set(addresses.filter((a) => a !== undefined))].sort();
}
