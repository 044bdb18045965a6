import { createHash } from 'node:crypto';

/** A block of a well-formed pcapng, its options apart. */
export interface Block {
  readonly section: number;
  readonly type: number;
  readonly little: boolean;
  /** What stands before the options. */
  readonly fixed: Uint8Array;
  readonly options: readonly { readonly code: number; readonly value: Uint8Array }[];
}

const SECTION = 0x0a0d0d0a;
/** Bytes of a block's body before its options; blocks that are not here have none. */
const FIXED: Readonly<Record<number, number>> = { [SECTION]: 16, 1: 8, 2: 20, 5: 12, 6: 20 };

/** `excess`: by how much the lengths of section headers and interface descriptions are too large. */
export function blocksOf(bytes: Uint8Array, excess = 0): Block[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks: Block[] = [];
  let little = true;
  let section = -1;
  for (let at = 0; at < bytes.length; ) {
    const isSection = view.getUint32(at) === SECTION;
    if (isSection) {
      little = view.getUint32(at + 8, true) === 0x1a2b3c4d;
      section++;
    }
    const type = view.getUint32(at, little);
    const said = view.getUint32(at + 4, little);
    const size = said - (isSection || type === 1 ? excess : 0);
    if (view.getUint32(at + size - 4, little) !== said) throw new Error(`no block at ${at}`);
    const body = at + 8;
    const end = at + size - 4;
    const isPacket = type === 6 || type === 2;
    const packet = isPacket ? (view.getUint32(body + 12, little) + 3) & ~3 : 0;
    const fixed = FIXED[type];
    const from = fixed === undefined ? end : body + fixed + packet;
    const options: { code: number; value: Uint8Array }[] = [];
    for (let option = from; end - option >= 4; ) {
      const code = view.getUint16(option, little);
      const length = view.getUint16(option + 2, little);
      if (code === 0) break;
      options.push({ code, value: bytes.slice(option + 4, option + 4 + length) });
      option += 4 + ((length + 3) & ~3);
    }
    // A section's length may be known or not.
    const until = isSection ? body + 8 : from;
    blocks.push({ section, type, little, fixed: bytes.slice(body, until), options });
    at += size;
  }
  return blocks;
}

/** Whichpod's own addition. */
function isOurs(code: number, value: Uint8Array): boolean {
  return code === 1 && new TextDecoder().decode(value).startsWith('whichpod connection=');
}

/** Each block in a line, without what whichpod adds (`added`: its names), to be compared. */
export function printsOf(blocks: readonly Block[]): string[] {
  return blocks.map(({ section, type, little, fixed, options }) => {
    const hash = createHash('sha256').update(fixed);
    const codes: number[] = [];
    for (const { code, value } of options) {
      if (isOurs(code, value)) continue;
      codes.push(code);
      hash.update(`${code} ${value.length}`).update(value);
    }
    const order = little ? 'little' : 'big';
    return `${section} ${type} ${order} [${codes.join(' ')}] ${hash.digest('hex')}`;
  });
}

/** Comments by number of the packet, counted from 1 over all sections. */
export function commentsOf(blocks: readonly Block[]): Map<number, string[]> {
  const comments = new Map<number, string[]>();
  let packet = 0;
  for (const { type, options } of blocks) {
    if (type !== 6 && type !== 2 && type !== 3) continue;
    packet++;
    const texts = options
      .filter(({ code }) => code === 1)
      .map(({ value }) => new TextDecoder().decode(value));
    if (texts.length > 0) comments.set(packet, texts);
  }
  return comments;
}
