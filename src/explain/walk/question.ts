import { canonicalAddress } from '../../model/address.js';
import type { Branch, NodeFacts } from '../../model/walk.js';

/**
 * Something that rules ask and nobody knows. A walk that comes to it goes both ways, each with its
 * sentence among its assumptions; who asks the same again on that way gets the same answer.
 */
export interface Question {
  readonly yes: string;
  readonly no: string;
  /** For `Distribution.remarks`, where the way parts at it. */
  readonly remark?: string;
}

/** What a way has assumed about it; `undefined`: nothing yet. */
export function assumed(question: Question, assuming: readonly string[]): boolean | undefined {
  if (assuming.includes(question.yes)) return true;
  return assuming.includes(question.no) ? false : undefined;
}

/** Whether the node itself has an address; '' is one of its own of which nobody knows which. */
export function isLocal(address: string, facts: NodeFacts): boolean | Question {
  // inet_addr_type: all of 127.0.0.0/8 stands in the local table.
  if (address === '' || address.startsWith('127.') || address === '::1') return true;
  const { addresses } = facts;
  if (addresses) return addresses.has(address) || addresses.has(canonicalAddress(address) ?? '');
  if (facts.isPods?.(address) === true) return false;
  return {
    yes: `${address} is an address of the node`,
    no: `${address} is not an address of the node`,
  };
}

/**
 * Whether a packet comes in, or leaves, by an interface, where nobody knows by which. By what it leaves depends on where
 * it goes; and it is one interface, so what was assumed of one name answers for others. `cali+` is any name that begins so.
 */
export function passesBy(
  side: 'in' | 'out',
  name: string,
  { destination, assuming }: Pick<Branch, 'destination' | 'assuming'>,
): { readonly question: Question; readonly is: boolean | undefined } {
  const [is, isNot] = interfaceWords(side, destination);
  const question = { yes: is + name, no: isNot + name };
  for (const one of assuming) {
    if (one.startsWith(is)) {
      const own = one.slice(is.length);
      if (covers(name, own)) return { question, is: true };
      if (!covers(own, name)) return { question, is: false };
    } else if (one.startsWith(isNot) && covers(one.slice(isNot.length), name)) {
      return { question, is: false };
    }
  }
  return { question, is: undefined };
}

function interfaceWords(side: 'in' | 'out', destination: string): readonly [string, string] {
  if (side === 'in') return ['it comes in by ', 'it does not come in by '];
  if (destination === '') return ['it leaves by ', 'it does not leave by '];
  return [`${destination} is reached by `, `${destination} is not reached by `];
}

/** Whether all that a name stands for is among what the other one stands for. */
function covers(names: string, name: string): boolean {
  return names.endsWith('+') ? name.startsWith(names.slice(0, -1)) : name === names;
}
