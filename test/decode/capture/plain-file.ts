import type { Interfaces } from '../../../src/model/interfaces.js';
import { DIRECTION_IN, DIRECTION_OUT, DIRECTION_UNKNOWN } from '../../../src/model/packet.js';
import { type PlainRow, plainFrame } from './plain-decoder.js';

/**
 * The rows of a capture file that is all there, up to where it is damaged: what the readers of pcap and
 * pcapng have to say, written for reading and not for speed.
 */
export function plainFile(file: Uint8Array, interfaces: Interfaces): PlainRow[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const rows: PlainRow[] = [];
  try {
    if (view.getUint32(0) === SECTION) readPcapng(view, rows, interfaces);
    else readPcap(view, rows, interfaces);
  } catch (error) {
    // Reading beyond the end: the last record is cut.
    if (!(error instanceof RangeError)) throw error;
  }
  return rows;
}

const [MICROSECONDS, NANOSECONDS, PATCHED] = [0xa1b2c3d4, 0xa1b23c4d, 0xa1b2cd34];

function readPcap(view: DataView, rows: PlainRow[], interfaces: Interfaces): void {
  const magics = [MICROSECONDS, NANOSECONDS, PATCHED];
  const little = magics.includes(view.getUint32(0, true));
  const magic = view.getUint32(0, little);
  const linkType = view.getUint32(20, little) & 0x03ff_ffff;
  if (!magics.includes(magic)) return;
  if (view.getUint16(4, little) !== 2 || view.getUint16(6, little) !== 4) return;
  const head = magic === PATCHED ? 24 : 16;
  const unit = magic === NANOSECONDS ? 1n : 1_000n;
  for (let at = 24; ; ) {
    const captured = view.getUint32(at + 8, little);
    if (captured > 262_144) return;
    const frame = bytesOf(view, at + head, captured);
    const row = plainFrame(linkType, frame, view.getUint32(at + 12, little));
    const seconds = BigInt(view.getUint32(at, little));
    const fraction = BigInt(view.getUint32(at + 4, little)) * unit;
    const index = row?.linkIndex ?? 0;
    if (row !== undefined) {
      const id = index === 0 ? 0 : interfaces.id({ index });
      rows.push({
        ...row,
        ...split(seconds * SECOND + fraction),
        resolution: Number(unit),
        interface: id,
      });
    }
    at += head + captured;
  }
}

const SECTION = 0x0a0d0d0a;
const SECOND = 1_000_000_000n;
const LAST = 0xffff_ffffn * SECOND + SECOND - 1n;

/** A moment as far as a row can hold it. */
function split(nanoseconds: bigint): { seconds: number; nanoseconds: number } {
  const held = nanoseconds < 0n ? 0n : nanoseconds > LAST ? LAST : nanoseconds;
  return { seconds: Number(held / SECOND), nanoseconds: Number(held % SECOND) };
}

/** Throws RangeError if they are not all there. */
function bytesOf(view: DataView, at: number, length: number): Uint8Array {
  if (at + length > view.byteLength) throw new RangeError('cut');
  return new Uint8Array(view.buffer, view.byteOffset + at, length);
}

interface Described {
  readonly linkType: number;
  readonly snapLength: number;
  readonly unitsPerSecond: bigint;
  readonly offset: bigint;
  readonly name: string | undefined;
}

interface Option {
  readonly code: number;
  readonly value: DataView;
}

function readPcapng(view: DataView, rows: PlainRow[], interfaces: Interfaces): void {
  let little = true;
  let described: Described[] = [];
  for (let at = 0; ; ) {
    const type = view.getUint32(at, little);
    view.getUint32(at + 4, little);
    if (type === SECTION) {
      const [forth, back] = [view.getUint32(at + 8, true), view.getUint32(at + 8, false)];
      if (forth !== 0x1a2b3c4d && back !== 0x1a2b3c4d) return;
      little = forth === 0x1a2b3c4d;
    }
    const said = view.getUint32(at + 4, little);
    if (said < 12 || said % 4 !== 0 || said > 16 * 1024 * 1024) return;
    bytesOf(view, at, said);
    const size = type === SECTION || type === 1 ? realSize(view, at, said, little) : said;
    if (view.getUint32(at + size - 4, little) !== said) return;
    const block = new DataView(view.buffer, view.byteOffset + at, size - 4);
    at += size;
    if (type === SECTION) {
      described = [];
      if (size < 28 || block.getUint16(12, little) !== 1) return;
      if (![0, 2].includes(block.getUint16(14, little))) return;
    } else if (type === 1) {
      if (size < 20) return;
      described.push(describe(block, little));
    } else if (type === 3 && size >= 16) {
      const it = described[0];
      const onWire = block.getUint32(8, little);
      const captured = Math.min(onWire, it?.snapLength || Number.POSITIVE_INFINITY, size - 16);
      // It has neither a time nor options.
      if (it !== undefined) add(block, 12, captured, onWire, it, [], undefined);
    } else if ((type === 6 || type === 2) && size >= 32) {
      const it = described[type === 6 ? block.getUint32(8, little) : block.getUint16(8, little)];
      const captured = block.getUint32(20, little);
      if (it === undefined || captured > size - 32) continue;
      const time =
        (BigInt(block.getUint32(12, little)) << 32n) | BigInt(block.getUint32(16, little));
      const options = [...optionsOf(block, 28 + Math.ceil(captured / 4) * 4, little)];
      add(block, 28, captured, block.getUint32(24, little), it, options, time);
    }
  }

  function add(
    block: DataView,
    at: number,
    captured: number,
    onWire: number,
    it: Described,
    options: readonly Option[],
    time: bigint | undefined,
  ): void {
    const row = plainFrame(it.linkType, bytesOf(block, at, captured), onWire);
    if (row === undefined) return;
    const known = it.name === undefined ? {} : { name: it.name };
    const id = interfaces.id(row.linkIndex === 0 ? known : { index: row.linkIndex });
    const flags = options.find(({ code, value }) => code === 2 && value.byteLength === 4);
    const way = flags === undefined ? 0 : flags.value.getUint32(0, little) & 3;
    const told = way === 1 ? DIRECTION_IN : way === 2 ? DIRECTION_OUT : DIRECTION_UNKNOWN;
    const direction = row.direction === DIRECTION_UNKNOWN ? told : row.direction;
    const units = it.unitsPerSecond;
    const moment =
      time === undefined
        ? {}
        : {
            ...split((time * SECOND) / units + it.offset * SECOND),
            resolution: Number(units >= SECOND ? 1n : (SECOND + units - 1n) / units),
          };
    rows.push({ ...row, ...moment, interface: id, direction });
  }
}

/** Where a description really ends: the longest that ends at a word that repeats its length and stands before a block. */
function realSize(view: DataView, at: number, said: number, little: boolean): number {
  for (let size = said - 8; size >= 12; size -= 4) {
    if (view.getUint32(at + size - 4, little) !== said) continue;
    const type = view.getUint32(at + size, little);
    const length = view.getUint32(at + size + 4, little);
    const isBlock = type >= 1 && type <= 6 && length >= 12 && length % 4 === 0;
    if (type === SECTION || (isBlock && length <= 16 * 1024 * 1024)) return size;
  }
  return said;
}

function describe(block: DataView, little: boolean): Described {
  let name: string | undefined;
  let resolution = 6;
  let offset = 0n;
  for (const { code, value } of optionsOf(block, 16, little)) {
    if (code === 2) {
      const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
      name = new TextDecoder().decode(bytes).split('\0')[0];
    }
    if (code === 9 && value.byteLength === 1) resolution = value.getUint8(0);
    if (code === 14 && value.byteLength === 8) offset = value.getBigInt64(0, little);
  }
  const power = BigInt(resolution & 0x7f);
  return {
    linkType: block.getUint16(8, little),
    snapLength: block.getUint32(12, little),
    unitsPerSecond: resolution > 0x7f ? 2n ** power : 10n ** power,
    offset,
    name: name === '' || name === 'any' ? undefined : name,
  };
}

/** The options up to the end mark, or to one that does not fit. */
function* optionsOf(block: DataView, from: number, little: boolean): Generator<Option> {
  for (let at = from; at + 4 <= block.byteLength; ) {
    const code = block.getUint16(at, little);
    const length = block.getUint16(at + 2, little);
    if (code === 0 || at + 4 + length > block.byteLength) return;
    yield { code, value: new DataView(block.buffer, block.byteOffset + at + 4, length) };
    at += 4 + Math.ceil(length / 4) * 4;
  }
}
