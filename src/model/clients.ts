import { parseAddress } from './address.js';
import type { ClientCondition } from './services.js';

/** What is known of where a client is. */
export interface ClientPlace {
  /** Four words at `at`, IPv4 mapped. */
  readonly words: Uint32Array;
  readonly at: number;
  /** The address is one of the node's own; `undefined` if the node's addresses are not known. */
  readonly local: boolean | undefined;
  /** The interface that it came in by; `undefined` if that was not seen. A local client comes in by none. */
  readonly interface: string | undefined;
}

const BITS = 128;
const IPV4_BITS = 32;

/**
 * Whether a way that asks for these conditions (`EndpointRoute.clients`) is open to a client; `undefined`
 * where what is known does not decide it.
 */
export function isOpenTo(
  clients: readonly (readonly ClientCondition[])[] | undefined,
  place: ClientPlace,
): boolean | undefined {
  if (clients === undefined) return true;
  let best: boolean | undefined = false;
  for (const conditions of clients) {
    let all: boolean | undefined = true;
    for (const condition of conditions) {
      const one = holds(condition, place);
      if (one === false) {
        all = false;
        break;
      }
      if (one === undefined) all = undefined;
    }
    if (all === true) return true;
    if (all === undefined) best = undefined;
  }
  return best;
}

function holds(condition: ClientCondition, place: ClientPlace): boolean | undefined {
  const said = plainly(condition, place);
  return said === undefined ? undefined : said !== condition.negated;
}

function plainly(condition: ClientCondition, place: ClientPlace): boolean | undefined {
  switch (condition.is) {
    case 'network':
      return isIn(condition.network, place);
    case 'local':
      return place.local;
    case 'interface': {
      // In OUTPUT there is no interface: `-i` fails, `! -i` matches.
      if (place.local === true) return false;
      const { interface: seen } = place;
      if (seen === undefined) return undefined;
      const { name } = condition;
      return name.endsWith('+') ? seen.startsWith(name.slice(0, -1)) : seen === name;
    }
  }
}

/** A network as four words, and how many of their bits count. */
interface Network {
  readonly words: Uint32Array;
  readonly bits: number;
}

/** Networks in rules are few, and asked for again with every connection. */
const networks = new Map<string, Network | undefined>();
/** Someone's rules may name any number of networks over time; what was read last is read again. */
const MAX_NETWORKS = 4_096;

/** `undefined` where the text is no network in CIDR's form (a mask with holes). */
function isIn(text: string, { words, at }: ClientPlace): boolean | undefined {
  if (!networks.has(text)) {
    if (networks.size >= MAX_NETWORKS) networks.clear();
    networks.set(text, readNetwork(text));
  }
  const network = networks.get(text);
  if (network === undefined) return undefined;
  for (let w = 0; w < 4; w++) {
    const left = network.bits - 32 * w;
    if (left <= 0) return true;
    const mask = left >= 32 ? 0xffff_ffff : ~(0xffff_ffff >>> left) >>> 0;
    if ((((network.words[w] ?? 0) ^ (words[at + w] ?? 0)) & mask) !== 0) return false;
  }
  return true;
}

function readNetwork(text: string): Network | undefined {
  const m = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text);
  if (!m) return undefined;
  const words = new Uint32Array(4);
  const family = parseAddress(m[1] ?? '', words, 0);
  if (family === 0) return undefined;
  const width = family === 4 ? IPV4_BITS : BITS;
  const prefix = m[2] === undefined ? width : Number(m[2]);
  return prefix > width ? undefined : { words, bits: BITS - width + prefix };
}
