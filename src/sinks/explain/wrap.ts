import { displayWidth } from '../width.js';

const segmenter = new Intl.Segmenter();
/** However deep the indentation, a line holds so much. */
const LEAST_ROOM = 12;

/** Escaped text in lines of no more than `width` columns, broken at spaces, within a word only where it must be. */
export function wrap(text: string, width: number): string[] {
  const room = Math.max(width, LEAST_ROOM);
  if (displayWidth(text) <= room) return [text];
  const lines: string[] = [];
  let line = '';
  let used = 0;
  for (const word of text.split(' ')) {
    for (const [i, piece] of pieces(word, room).entries()) {
      const size = displayWidth(piece);
      const gap = i === 0 && line !== '' ? 1 : 0;
      if (line !== '' && used + gap + size > room) {
        lines.push(line);
        line = piece;
        used = size;
      } else {
        line = gap === 1 ? `${line} ${piece}` : line + piece;
        used += gap + size;
      }
    }
  }
  lines.push(line);
  return lines;
}

/** A word that is wider than a line, in parts that are not. */
function pieces(word: string, room: number): string[] {
  if (displayWidth(word) <= room) return [word];
  const parts: string[] = [];
  let part = '';
  let used = 0;
  for (const { segment } of segmenter.segment(word)) {
    const size = displayWidth(segment);
    if (used + size > room && part !== '') {
      parts.push(part);
      part = '';
      used = 0;
    }
    part += segment;
    used += size;
  }
  parts.push(part);
  return parts;
}

/** Text after a label; the lines after the first stand below the text, not below the label. */
export function hang(
  label: { readonly text: string; readonly shown: string },
  text: string,
  width: number,
  paint: (line: string) => string,
): string[] {
  const indent = displayWidth(label.text);
  return wrap(text, width - indent).map((line, i) =>
    i === 0 ? label.shown + paint(line) : ' '.repeat(indent) + paint(line),
  );
}

export function padEnd(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - displayWidth(text)));
}

export function padStart(text: string, width: number): string {
  return ' '.repeat(Math.max(0, width - displayWidth(text))) + text;
}
