import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { Recorder } from '../../src/cli/record/recorder.js';
import {
  readStateBlock,
  STATE_BLOCK_TYPE,
  stateBlock,
} from '../../src/decode/record/state-block.js';
import type { InputEvent } from '../../src/model/event.js';
import { Interfaces } from '../../src/model/interfaces.js';
import type { Readings } from '../../src/model/readings.js';
import { UTC } from '../../src/model/time.js';
import { inTime } from '../../src/pipeline/in-time.js';
import { openInputs } from '../../src/sources/files/open.js';
import { fakeIo } from '../cli/fake-io.js';

const S = 1_000_000_000n;
const BASE = 1_795_377_469n * S;
const folder = mkdtempSync(join(tmpdir(), 'whichpod-readings-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const reading = (second: bigint, readings: Readings): InputEvent => ({
  type: 'readings',
  time: BASE + second * S,
  readings,
});

/** The files of a recorder that begins another one at each tick. */
function files(events: readonly InputEvent[], maxBytes?: number): string[] {
  const parts: Uint8Array[][] = [];
  const recorder = new Recorder({
    target: {
      begin: () => void parts.push([]),
      write: (bytes) => void parts.at(-1)?.push(bytes.slice()),
      close: () => undefined,
    },
    interfaces: new Interfaces(),
    sources: 'a test',
    head: { version: '0', baseSeconds: Number(BASE / S), firstListingIsOld: true, node: 'node1' },
    ...(maxBytes !== undefined && { maxBytes }),
  });
  recorder.concluded();
  for (const event of events) recorder.take(event);
  recorder.end(BASE);
  return parts.map((pieces, i) => {
    const name = join(folder, `${Math.random()}-${i}.pcapng`);
    writeFileSync(name, Buffer.concat(pieces));
    return name;
  });
}

async function readingsIn(paths: readonly string[]): Promise<readonly InputEvent[]> {
  const interfaces = new Interfaces();
  const onProblem = (file: string, problem: unknown): void => {
    throw new Error(`${file}: ${JSON.stringify(problem)}`);
  };
  const args = paths.map((path) => ({ path }));
  const inputs = await openInputs(args, { interfaces, offsetAt: UTC, onProblem });
  const all = [...inputs.prelude];
  for await (const batch of inTime(inputs, interfaces)) all.push(...batch);
  return all.filter(({ type }) => type === 'readings');
}

const routes = [{ network: '10.0.0.1', prefix: 32, device: 'veth1', metric: 0 }];
const SEQUENCE = [
  reading(0n, { table: { count: 1 }, routes, kubeProxy: '1.30.4' }),
  reading(10n, { table: { count: 2 }, recent: [['L', [['10.0.0.2', 1.25]]]] }),
  reading(20n, { table: { count: 3 } }),
];
const tick = (second: bigint): InputEvent => ({ type: 'tick', time: BASE + second * S });

describe('what was read of a node', () => {
  it('is in a recording of it, in its place', async () => {
    expect(await readingsIn(files(SEQUENCE))).toEqual(SEQUENCE);
  });

  it('is told once of a series, and by its last file alone as far as it still holds', async () => {
    const events = SEQUENCE.flatMap((event, i) => [event, tick(BigInt(i) * 10n + 5n)]);
    const series = files(events, 1);
    expect(series.length).toBeGreaterThan(2);
    expect(await readingsIn(series)).toEqual(SEQUENCE);
    expect(await readingsIn(series.slice(-1))).toEqual([
      reading(0n, { routes }),
      reading(0n, { kubeProxy: '1.30.4' }),
      reading(10n, { recent: [['L', [['10.0.0.2', 1.25]]]] }),
      reading(20n, { table: { count: 3 } }),
    ]);
  });

  it('makes a replay say nothing else', async () => {
    const [plain, more] = [files([tick(1n), tick(2n)]), files([tick(1n), ...SEQUENCE, tick(2n)])];
    const said = await Promise.all([plain, more].map((paths) => replay(paths)));
    expect(said[1]).toEqual(said[0]);
    expect(said[0]?.err).toBe('');
  });
});

async function replay(
  paths: readonly string[],
): Promise<{ out: string; err: string; code: number }> {
  const io = fakeIo();
  const code = await runCli(['replay', '-o', 'ndjson', ...paths], io, commands);
  return { out: io.stdout.text, err: io.stderr.text, code };
}

it('items that a later version has added are passed over, and counted on stderr', async () => {
  const [path = ''] = files([tick(1n), tick(2n)]);
  const known = await replay([path]);
  // Two items of kind 99 and one of kind 77, before what the last block of state says.
  const bytes = readFileSync(path);
  const at = lastState(bytes);
  const size = bytes.readUInt32LE(at + 4);
  const block = readStateBlock(bytes.subarray(at + 8, at + size - 4));
  if ('code' in block) throw new Error(block.message);
  const state = Buffer.concat([
    Uint8Array.of(99, 1, 5, 77, 0, 99, 0),
    inflateRawSync(block.deflated),
  ]);
  const body = stateBlock({
    number: block.number,
    stateBytes: state.length,
    deflated: deflateRawSync(state),
  });
  writeFileSync(
    path,
    Buffer.concat([bytes.subarray(0, at), whole(body), bytes.subarray(at + size)]),
  );
  const { out, err, code } = await replay([path]);
  expect([out, code]).toEqual([known.out, 0]);
  expect(err).toBe(
    `${path}: 3 items of kinds that this version does not know (77, 99) were passed over; the rest counts; the whichpod version that wrote it reads all of it\n`,
  );
});

function lastState(bytes: Buffer): number {
  let last = 0;
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at + 4)) {
    if (bytes.readUInt32LE(at) === STATE_BLOCK_TYPE) last = at;
  }
  return last;
}

/** A block with its type, its lengths, and what fills it up to a multiple of four. */
function whole(body: Uint8Array): Buffer {
  const size = 12 + Math.ceil(body.length / 4) * 4;
  const block = Buffer.alloc(size);
  block.writeUInt32LE(STATE_BLOCK_TYPE, 0);
  block.writeUInt32LE(size, 4);
  block.set(body, 8);
  block.writeUInt32LE(size, size - 4);
  return block;
}
