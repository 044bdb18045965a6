import type { InputEvent } from '../../model/event.js';
import type { RecordingHead } from './shapes.js';

/**
 * The machine's input sequence as a recording keeps it: items one after the other, each a byte that says
 * what it is, its length, and its content (docs/formats.md). The numbers are the file format: none is
 * ever given another meaning.
 */
export const ITEM_HEAD = 1;
/** The rules were read as far as they can be: what comes from here on is traffic, too. */
export const ITEM_CONCLUDED = 2;
export const ITEM_PACKETS = 3;
export const ITEM_CONNTRACK = 4;
export const ITEM_TICK = 5;
export const ITEM_RULES = 6;
export const ITEM_CLUSTER = 7;
export const ITEM_ADDRESSES = 8;
export const ITEM_LOSS = 9;
export const ITEM_NOTICE = 10;
/** An interface that rows name from here on, by the number that they have for it. */
export const ITEM_INTERFACE = 11;
/** The recording ended as it was meant to. */
export const ITEM_END = 12;
/** In a later file of a series: the state of the files before it has been told, the sequence goes on. */
export const ITEM_RESUMED = 13;
/** Rules as what differs from the last ones of their node, kind, family and back end. */
export const ITEM_RULES_CHANGE = 14;
/** What was read of the node, as far as it is news. */
export const ITEM_READINGS = 15;

/**
 * An item that says to be longer is taken for damage. Rules are the longest: what iptables-save may
 * print at most.
 */
export const MAX_ITEM_BYTES = 256 * 1024 * 1024;

/** What a recording tells, item by item. */
export type RecordedItem =
  | { readonly type: 'head'; readonly head: RecordingHead }
  | { readonly type: 'concluded' }
  | { readonly type: 'resumed' }
  | { readonly type: 'event'; readonly event: InputEvent }
  | { readonly type: 'end' };
