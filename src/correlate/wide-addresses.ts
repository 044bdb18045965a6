import { sameAddress } from '../model/address.js';
import { ADDRESS_WORDS, MOST_WIDE, NOWHERE } from './plain-words.js';
import { mix } from './tuple-map.js';

const FIRST_PLACES = 256;

/** Whether a number stands for an IPv6 address: those of 0.0.0.0/8, which no IPv4 packet of a connection has. */
export const isWide = (address: number): boolean => address > 0 && address <= MOST_WIDE;

/**
 * IPv6 addresses as numbers, so that a plain connection has as many words over either family. None is forgotten: who
 * has the numbers makes new ones of those that are still used, from time to time.
 */
export class WideAddresses {
  size = 0;
  /** Four words each, from number 1 on. */
  private words = new Uint32Array(FIRST_PLACES * ADDRESS_WORDS);
  /** Open addressing with linear probing, at most half full; 0: a free place. */
  private places = new Int32Array(FIRST_PLACES * 2);

  /** The number of the address whose four words begin at `at`; NOWHERE if it has none. */
  find(row: Uint32Array, at: number): number {
    return this.places[this.place(row, at)] as number;
  }

  /** The same; it gets one if it has none. NOWHERE: all numbers are used. */
  put(row: Uint32Array, at: number): number {
    const place = this.place(row, at);
    const known = this.places[place] as number;
    if (known !== NOWHERE) return known;
    if (this.size === MOST_WIDE) return NOWHERE;
    const number = ++this.size;
    const to = number * ADDRESS_WORDS;
    if (to === this.words.length) this.grow();
    for (let i = 0; i < ADDRESS_WORDS; i++) this.words[to + i] = row[at + i] as number;
    this.places[place] = number;
    if (number * 2 >= this.places.length) this.renew();
    return number;
  }

  /** Writes the four words of a number's address. */
  write(number: number, into: Uint32Array, at: number): void {
    const from = number * ADDRESS_WORDS;
    for (let i = 0; i < ADDRESS_WORDS; i++) into[at + i] = this.words[from + i] as number;
  }

  /** The number of the same address among others. */
  among(others: WideAddresses, number: number): number {
    return others.put(this.words, number * ADDRESS_WORDS);
  }

  /** Where an address is found, or the free place where it would be. */
  private place(row: Uint32Array, at: number): number {
    const { words, places } = this;
    const mask = places.length - 1;
    for (let place = hashOf(row, at) & mask; ; place = (place + 1) & mask) {
      const number = places[place] as number;
      if (number === NOWHERE) return place;
      if (sameAddress(words, number * ADDRESS_WORDS, row, at)) return place;
    }
  }

  private grow(): void {
    const words = new Uint32Array(this.words.length * 2);
    words.set(this.words);
    this.words = words;
  }

  private renew(): void {
    this.places = new Int32Array(this.places.length * 2);
    for (let number = 1; number <= this.size; number++) {
      this.places[this.place(this.words, number * ADDRESS_WORDS)] = number;
    }
  }
}

function hashOf(row: Uint32Array, at: number): number {
  let h = Math.imul((row[at] as number) ^ 0x9e3779b9, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15) ^ (row[at + 1] as number), 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 13) ^ (row[at + 2] as number), 0x27d4eb2f);
  return mix(h ^ (row[at + 3] as number));
}
