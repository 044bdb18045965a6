import type { Problem } from '../../model/problem.js';

/**
 * A block of whichpod's own in a pcapng file. draft-ietf-opsawg-pcapng gives block types with the
 * highest bit set to local use, and readers pass over types that they do not know (4.1 says they must).
 * A custom block (type 0x0BAD) would need a Private Enterprise Number of our own, and Wireshark 4.0
 * lists each as a packet. "Wp" in the low half, and the magic in the block, so that another program's
 * local blocks are not taken for ours.
 */
export const STATE_BLOCK_TYPE = 0x8000_5770;

/**
 * What a recording's section says it was made by, with the version behind. A section of captures that were annotated
 * says `whichpod` and the version, and may hold nothing; one of a recording holds state, or the rest of it is missing.
 */
export const RECORDING_APPLICATION = 'whichpod record';

/** `whichpod`, then: version 2 bytes, 2 unused, number of the block 4, bytes of state 4. Little-endian. */
const MAGIC = 'whichpod';
const HEADER_BYTES = 20;
const VERSION = 1;

/** Bytes of state in one block before compression; larger ones are taken for damage. */
export const MAX_STATE_BYTES = 1024 * 1024;

export interface StateBlock {
  /** Counts the blocks of a file from 0. */
  readonly number: number;
  /** Bytes after inflating. */
  readonly stateBytes: number;
  /** Deflated without a header (RFC 1951). */
  readonly deflated: Uint8Array;
}

export function stateBlock({ number, stateBytes, deflated }: StateBlock): Uint8Array {
  const body = new Uint8Array(HEADER_BYTES + deflated.length);
  const view = new DataView(body.buffer);
  for (let i = 0; i < MAGIC.length; i++) body[i] = MAGIC.charCodeAt(i);
  view.setUint16(8, VERSION, true);
  view.setUint32(12, number, true);
  view.setUint32(16, stateBytes, true);
  body.set(deflated, HEADER_BYTES);
  return body;
}

/** Whether a block's body begins like one of ours. */
export function isStateBlock(body: Uint8Array): boolean {
  return body.length >= HEADER_BYTES && [...MAGIC].every((c, i) => body[i] === c.charCodeAt(0));
}

/** Reads a body of which `isStateBlock` holds. */
export function readStateBlock(body: Uint8Array): StateBlock | Problem {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const version = view.getUint16(8, true);
  if (version !== VERSION) {
    return {
      code: 'recording-version',
      message: `the recording's state has version ${version}, and only ${VERSION} is known`,
      where: {},
      advice:
        'use the whichpod version that wrote it; the packets can still be replayed as a capture',
      fatal: true,
    };
  }
  const stateBytes = view.getUint32(16, true);
  if (stateBytes > MAX_STATE_BYTES) {
    return {
      code: 'recording-damaged',
      message: `a block holds ${stateBytes} bytes of state, and at most ${MAX_STATE_BYTES} are written`,
      where: {},
      advice: 'what came before counts; copy or record the file again',
      fatal: true,
    };
  }
  return { number: view.getUint32(12, true), stateBytes, deflated: body.subarray(HEADER_BYTES) };
}
