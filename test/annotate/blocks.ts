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

/** Sizes of the numbers in a block's fixed part, and in its options, that a byte order turns (section 4 of the draft). */
const FIXED_NUMBERS: Readonly<Record<number, readonly number[]>> = {
  1: [2, 2, 4],
  2: [2, 2, 4, 4, 4, 4],
  3: [4],
  5: [4, 4, 4],
  6: [4, 4, 4, 4, 4],
  10: [4, 4],
  2989: [4],
};
const OPTION_NUMBERS: Readonly<Record<string, readonly number[]>> = {
  '1/8': [8],
  '1/10': [4],
  '1/14': [8],
  '1/2989': [4],
  '2/2': [4],
  '5/2': [4, 4],
  '5/4': [8],
  '5/5': [8],
  '5/7': [8],
  '6/2': [4],
  '6/4': [8],
  '6/5': [8],
  '6/6': [4],
};
/** With the first octet, which tells what it is: a filter that is a program, a verdict that is a number. */
const VARIED_NUMBERS: Readonly<Record<string, readonly number[]>> = {
  '1/11/1': [1, 2, 1, 1, 4],
  '6/7/2': [1, 8],
};

function littleEndian(value: Uint8Array, numbers: readonly number[], little: boolean): Uint8Array {
  const turned = value.slice();
  if (little) return turned;
  let at = 0;
  for (const size of numbers) {
    turned.subarray(at, at + size).reverse();
    at += size;
  }
  return turned;
}

/** A packet as it is whatever block it stands in, with the description of its interface in place of a number. */
export interface Sight {
  /** Of the interface, without what tells its snap length: link type and options. */
  readonly interface: string;
  readonly packet: string;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/**
 * What a capture tells, whatever the byte order and number of its sections: each packet of it, and each other thing but
 * section headers and names, in their order.
 */
export function toldBy(blocks: readonly Block[]): { packets: Sight[]; others: string[] } {
  let interfaces: string[] = [];
  let section = -1;
  const packets: Sight[] = [];
  const others: string[] = [];
  for (const block of blocks) {
    if (block.section !== section) interfaces = [];
    section = block.section;
    const { type, little } = block;
    const fixed = littleEndian(block.fixed, FIXED_NUMBERS[type] ?? [], little);
    const view = new DataView(fixed.buffer);
    const options = block.options
      .filter(({ code, value }) => !isOurs(code, value) && !isSnapRemark(code, value))
      .map(({ code, value }) => {
        const varied = VARIED_NUMBERS[`${type}/${code}/${value[0]}`];
        const numbers = varied ?? OPTION_NUMBERS[`${type}/${code}`] ?? [];
        return `${code}=${hex(littleEndian(value, numbers, little))}`;
      })
      .join(' ');
    if (type === SECTION || type === 4) continue;
    if (type === 1) {
      interfaces.push(`${view.getUint16(0, true)} ${options}`);
      others.push(`interface ${interfaces.at(-1)}`);
    } else if (type === 6 || type === 2) {
      const isOld = type === 2;
      const number = isOld ? view.getUint16(0, true) : view.getUint32(0, true);
      const rest = hex(fixed.subarray(4, 20 + view.getUint32(12, true)));
      const drops = isOld ? ` ${view.getUint16(2, true)}` : '';
      packets.push({ interface: interfaces[number] ?? '', packet: `${rest}${drops} ${options}` });
    } else if (type === 3) {
      const frame = hex(fixed.subarray(4));
      const length = hex(fixed.subarray(0, 4));
      const packet = `0000000000000000${length}${length}${frame} `;
      packets.push({ interface: interfaces[0] ?? '', packet });
    } else if (type === 5) {
      const of = interfaces[view.getUint32(0, true)] ?? '';
      others.push(`statistics of ${of}: ${hex(fixed.subarray(4))} ${options}`);
    } else {
      others.push(`${type}: ${hex(fixed)} ${options}`);
    }
  }
  return { packets, others };
}

/** What whichpod says of an interface whose snap length it had to state otherwise. */
function isSnapRemark(code: number, value: Uint8Array): boolean {
  return code === 1 && new TextDecoder().decode(value).startsWith('recorded with a snap length');
}

/** Options of the section header, as text. */
export function headerOf(blocks: readonly Block[]): string[] {
  const [header] = blocks;
  return (header?.options ?? []).map(
    ({ code, value }) => `${code} ${new TextDecoder().decode(value)}`,
  );
}
