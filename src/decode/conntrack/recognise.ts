import { ConntrackRows } from '../../model/conntrack-rows.js';
import { isRemark } from './remarks.js';
import { asciiOf } from './scan.js';
import { LINE_DAMAGED, TextLineScanner } from './text-line.js';

/** Lines that are tried: the first may have been cut, and a few remarks may come before the entries. */
const LINES_TRIED = 12;
/** Enough for a prolog with any encoding's name, a comment and the root element. */
const XML_BYTES = 1024;
const LINE_FEED = 0x0a;

/** A document of conntrack, or a flow of one whose beginning was cut off. */
const CONNTRACK_XML =
  /^\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--[\s\S]*?-->\s*)*(?:<conntrack[\s>/]|<flow(?:\s+type=["'](?:new|update|destroy)["'])?\s*>\s*<meta\s+direction=)/;

/**
 * Whether an input is conntrack's XML or text, judged by its first bytes (a few KiB, or all of a smaller
 * one). `undefined`: it is neither; an empty input says nothing.
 */
export function conntrackKind(first: Uint8Array): 'xml' | 'text' | undefined {
  const rows = new ConntrackRows(1);
  const scanner = new TextLineScanner();
  let remarks = false;
  // A byte order mark may have been put before.
  let from = first[0] === 0xef && first[1] === 0xbb && first[2] === 0xbf ? 3 : 0;
  for (let tried = 0; tried < LINES_TRIED && from < first.length; tried++) {
    let to = first.indexOf(LINE_FEED, from);
    if (to < 0) to = first.length;
    if (isRemark(first, from, to)) {
      remarks = true;
    } else {
      const head = asciiOf(first, from, Math.min(first.length, from + XML_BYTES));
      if (CONNTRACK_XML.test(head)) return 'xml';
      if (scanner.read(first, from, to, rows) !== LINE_DAMAGED) return 'text';
    }
    from = to + 1;
  }
  return remarks ? 'text' : undefined;
}
