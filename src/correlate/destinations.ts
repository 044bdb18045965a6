import { sameAddress } from '../model/address.js';
import type { ServiceEntry } from '../model/services.js';
import type { ServiceIndex } from './service-index.js';
import { mix } from './tuple-map.js';

/** What the rules and the cluster say of one destination. */
export interface Destination {
  readonly byRules: ServiceEntry | undefined;
  readonly byCluster: ServiceEntry | undefined;
  /** Where neither knows the port: an entry of the Service that has the address. */
  readonly byAddress: ServiceEntry | undefined;
  /** Whether any of these is known. */
  readonly isService: boolean;
}

/** Destinations remembered at once: as many as a busy node's SYNs go to within a moment. */
const PLACES = 16_384;
/** Address (four words), port, protocol. */
const KEY_WORDS = 6;

/**
 * What every opening packet is asked: whose is this destination? The answer takes up to six look-ups, and
 * few destinations are asked for again and again, so the last answers are kept, one a place, until the
 * rules or the cluster change.
 */
export class Destinations {
  private readonly byRules: ServiceIndex;
  private readonly byCluster: ServiceIndex;
  private readonly keys = new Uint32Array(PLACES * KEY_WORDS);
  private readonly answers: (Destination | undefined)[] = new Array<undefined>(PLACES).fill(
    undefined,
  );

  constructor(byRules: ServiceIndex, byCluster: ServiceIndex) {
    this.byRules = byRules;
    this.byCluster = byCluster;
  }

  /** `dst` is where the address's four words start. */
  find(words: Uint32Array, dst: number, port: number, protocol: number): Destination {
    const hash = mix(
      Math.imul((words[dst + 3] ?? 0) ^ (words[dst + 1] ?? 0), 0x9e3779b1) ^
        Math.imul(port, 0x85ebca6b) ^
        protocol,
    );
    const place = hash & (PLACES - 1);
    const { keys } = this;
    const at = place * KEY_WORDS;
    const known = this.answers[place];
    if (
      known !== undefined &&
      keys[at + 4] === port &&
      keys[at + 5] === protocol &&
      sameAddress(keys, at, words, dst)
    ) {
      return known;
    }
    const answer = this.ask(words, dst, port, protocol);
    for (let i = 0; i < 4; i++) keys[at + i] = words[dst + i] ?? 0;
    keys[at + 4] = port;
    keys[at + 5] = protocol;
    this.answers[place] = answer;
    return answer;
  }

  private ask(words: Uint32Array, dst: number, port: number, protocol: number): Destination {
    const byRules = this.byRules.find(words, dst, port, protocol);
    const byCluster = this.byCluster.find(words, dst, port, protocol);
    if (byRules !== undefined || byCluster !== undefined) {
      return { byRules, byCluster, byAddress: undefined, isService: true };
    }
    const byAddress = this.byRules.atAddress(words, dst) ?? this.byCluster.atAddress(words, dst);
    return byAddress === undefined ? NOWHERE : { byRules, byCluster, byAddress, isService: true };
  }
}

const NOWHERE: Destination = {
  byRules: undefined,
  byCluster: undefined,
  byAddress: undefined,
  isService: false,
};
