import { Places } from './places.js';
import { mix } from './tuple-map.js';

const NONE = -1;

/**
 * Finds connections by the number that NAT leaves alone: the initial sequence number (TCP), the tag (SCTP),
 * the fingerprint (UDP). Connections with one number hang together, newest first.
 */
export class SequenceTable {
  private readonly places = new Places();
  private older = new Int32Array(1024).fill(NONE);
  private numbers = new Uint32Array(1024);
  private protocols = new Uint8Array(1024);
  private linked = new Uint8Array(1024);

  /** The newest connection's slot, or -1. */
  head(number: number, protocol: number): number {
    const hash = mix(number ^ protocol);
    const { pairs, mask } = this.places;
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const entry = pairs[2 * i + 1] ?? 0;
      if (entry === 0) return NONE;
      if (pairs[2 * i] === hash && this.is(entry - 1, number, protocol)) return entry - 1;
    }
  }

  next(slot: number): number {
    return this.older[slot] ?? NONE;
  }

  set(slot: number, number: number, protocol: number): void {
    if (slot >= this.older.length) this.growSlots(slot);
    if (this.linked[slot] === 1) {
      if (this.numbers[slot] === number) return;
      this.unlink(slot);
    }
    this.numbers[slot] = number;
    this.protocols[slot] = protocol;
    this.linked[slot] = 1;
    this.places.reserve();
    const hash = mix(number ^ protocol);
    const { pairs, mask } = this.places;
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const entry = pairs[2 * i + 1] ?? 0;
      if (entry !== 0 && !(pairs[2 * i] === hash && this.is(entry - 1, number, protocol))) continue;
      this.older[slot] = entry - 1;
      if (entry === 0) this.places.fill(i, hash, slot);
      else pairs[2 * i + 1] = slot + 1;
      return;
    }
  }

  unlink(slot: number): void {
    if (this.linked[slot] !== 1) return;
    this.linked[slot] = 0;
    const number = this.numbers[slot] ?? 0;
    const protocol = this.protocols[slot] ?? 0;
    const hash = mix(number ^ protocol);
    const { pairs, mask } = this.places;
    const { older } = this;
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const entry = pairs[2 * i + 1] ?? 0;
      if (entry === 0) return;
      if (pairs[2 * i] !== hash) continue;
      if (entry - 1 === slot) {
        const next = older[slot] ?? NONE;
        if (next === NONE) this.places.clear(i);
        else pairs[2 * i + 1] = next + 1;
        return;
      }
      for (let before = entry - 1; before >= 0; before = older[before] ?? NONE) {
        if (older[before] !== slot) continue;
        older[before] = older[slot] ?? NONE;
        return;
      }
    }
  }

  /** Gives memory back; no connection has a place from `slots` on. */
  trim(slots: number): void {
    this.places.trim();
    if (slots >= this.older.length) return;
    this.older = this.older.slice(0, slots);
    this.numbers = this.numbers.slice(0, slots);
    this.protocols = this.protocols.slice(0, slots);
    this.linked = this.linked.slice(0, slots);
  }

  private is(slot: number, number: number, protocol: number): boolean {
    return this.numbers[slot] === number && this.protocols[slot] === protocol;
  }

  private growSlots(slot: number): void {
    let size = this.older.length;
    while (size <= slot) size *= 2;
    const older = new Int32Array(size).fill(NONE);
    older.set(this.older);
    this.older = older;
    this.numbers = copied(this.numbers, new Uint32Array(size));
    this.protocols = copied(this.protocols, new Uint8Array(size));
    this.linked = copied(this.linked, new Uint8Array(size));
  }
}

function copied<T extends Uint32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
