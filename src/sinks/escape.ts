/**
 * Text from outside (Pod names, labels of chains, file names, messages of programs) that a terminal would
 * not simply show: every control, format, surrogate, private and unassigned character (\p{C}: C0, DEL, C1,
 * ESC, bidirectional overrides and isolates, zero-width ones), line and paragraph separators, spaces other
 * than the plain one, and what Unicode says may be ignored in display (variation selectors, Hangul fillers).
 */
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}|^\p{M}/gu;
/** Printable ASCII, our own signs and the lines of trees: nearly everything, one column a character, no closer look needed. */
export const PLAIN = /^[ -~µ…—─│├└]*$/;

/** Makes foreign text safe for a terminal and for a line of a table: what would act is shown as `\u{1b}`. */
export function escapeText(text: string): string {
  if (PLAIN.test(text)) return text;
  return text.replace(UNSAFE, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);
}
