import { canonicalAddress } from '../../model/address.js';
import type { NodeFacts } from '../../model/walk.js';

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
