import { expect, it } from 'vitest';
import { BlockScanner, isRecording } from '../../../src/decode/record/block-scanner.js';
import { STATE_BLOCK_TYPE, stateBlock } from '../../../src/decode/record/state-block.js';
import { SectionWriter } from '../../../src/sinks/pcapng/section-writer.js';

function sample(numbers: readonly number[] = [0, 1, 2]): Uint8Array {
  const writer = new SectionWriter();
  for (const number of numbers) {
    const deflated = Uint8Array.from({ length: 21 + 7 * number }, (_, i) => i + number);
    writer.block(STATE_BLOCK_TYPE, stateBlock({ number, stateBytes: 100 + number, deflated }));
    writer.names([{ address: '10.0.0.1', names: ['a.b.pod'] }]);
    // Another program's, for its own use.
    writer.block(STATE_BLOCK_TYPE, new Uint8Array([1, 2, 3]));
  }
  return writer.take().slice();
}

function scan(bytes: Uint8Array, piece = bytes.length) {
  const scanner = new BlockScanner();
  const found: string[] = [];
  for (let at = 0; at < bytes.length; at += piece) {
    scanner.feed(bytes.subarray(at, at + piece));
    for (let block = scanner.next(); block !== undefined; block = scanner.next()) {
      found.push(`${block.number} ${block.stateBytes} ${block.deflated.join()}`);
    }
  }
  return { found, problem: scanner.problem?.code, done: scanner.done };
}

it('finds the same blocks in pieces of any size', () => {
  const bytes = sample();
  const whole = scan(bytes);
  expect(whole.found.length).toBe(3);
  expect(whole.done).toBe(bytes.length);
  for (let piece = 1; piece < bytes.length; piece++) expect(scan(bytes, piece)).toEqual(whole);
});

it('cut at any length finds the blocks that are whole', () => {
  const bytes = sample();
  const { found } = scan(bytes);
  for (let length = 0; length < bytes.length; length++) {
    const cut = scan(bytes.slice(0, length), 16);
    expect(cut.problem).toBeUndefined();
    expect(cut.found).toEqual(found.slice(0, cut.found.length));
    expect(cut.done).toBeLessThanOrEqual(length);
  }
});

it('stops where a block is missing', () => {
  expect(scan(sample([0, 2]))).toMatchObject({ problem: 'recording-damaged' });
  expect(scan(sample([0, 2])).found.length).toBe(1);
});

it.each<[string, (bytes: DataView, first: number) => void, string]>([
  [
    'a length that no block has',
    (view, at) => view.setUint32(at + 4, 13, true),
    'recording-damaged',
  ],
  [
    'a length beyond all bounds',
    (view, at) => view.setUint32(at + 4, 0x7fff_fffc, true),
    'recording-damaged',
  ],
  ['an unknown version', (view, at) => view.setUint16(at + 16, 9, true), 'recording-version'],
  [
    'more state than fits',
    (view, at) => view.setUint32(at + 24, 2 ** 30, true),
    'recording-damaged',
  ],
])('stops at %s', (_, change, code) => {
  const bytes = sample();
  const view = new DataView(bytes.buffer);
  change(view, view.getUint32(4, true));
  expect(scan(bytes)).toMatchObject({ found: [], problem: code });
});

it('is how a recording is told from a capture', () => {
  const bytes = sample();
  expect(isRecording(bytes)).toBe(true);
  for (let length = 0; length < 56; length++)
    expect(isRecording(bytes.subarray(0, length))).toBe(false);
  expect(isRecording(sample([]))).toBe(false);
});
