import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Io } from '../../src/cli/io.js';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { Recorder } from '../../src/cli/record/recorder.js';
import { Correlator } from '../../src/correlate/correlator.js';
import { isRecording } from '../../src/decode/record/block-scanner.js';
import type { InputEvent } from '../../src/model/event.js';
import { Interfaces } from '../../src/model/interfaces.js';
import { P_NSEC, P_SEC, PACKET_WORDS } from '../../src/model/packet.js';
import { nanosOf, secondsOf, UTC } from '../../src/model/time.js';
import { inTime } from '../../src/pipeline/in-time.js';
import { RuleSurvey } from '../../src/pipeline/rule-survey.js';
import { createSink } from '../../src/sinks/create-sink.js';
import { SectionWriter } from '../../src/sinks/pcapng/section-writer.js';
import { emptyFrame } from '../../src/sources/capture/frame-tap.js';
import { openInputs } from '../../src/sources/files/open.js';
import { fakeIo } from '../cli/fake-io.js';
import { Collector } from '../sinks/collector.js';
import { seeded } from '../support/seeded.js';

const TUTORIAL = new URL('../../pcaps/tutorial', import.meta.url).pathname;

const folder = mkdtempSync(join(tmpdir(), 'whichpod-cut-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a live run would have said of the tutorial's recording, and the files that it would have written. */
interface Recorded {
  readonly said: string;
  readonly files: Uint8Array[];
}

/** `stepNs`: by how much more than its packets each tick moves the time on. */
async function recorded(limits: { maxBytes?: number } = {}, stepNs = 0n): Promise<Recorded> {
  const interfaces = new Interfaces();
  const inputs = await openInputs([{ path: TUTORIAL }], {
    interfaces,
    offsetAt: UTC,
    onProblem: () => undefined,
  });
  const files: Uint8Array[][] = [];
  const target = {
    begin: () => void files.push([]),
    write: (bytes: Uint8Array) => void files.at(-1)?.push(bytes.slice()),
    close: () => undefined,
  };
  const baseSeconds = inputs.firstTime === undefined ? 0 : secondsOf(inputs.firstTime);
  const recorder = new Recorder({
    target,
    interfaces,
    sources: 'a test',
    head: { version: '0', baseSeconds, firstListingIsOld: true, node: 'node1' },
    ...limits,
  });
  const machine = new Correlator({
    interfaces,
    baseSeconds,
    firstListingIsOld: true,
    node: 'node1',
  });
  const survey = new RuleSurvey();
  const stdout = new Collector();
  const colors = { stdout: false, stderr: false };
  const sink = await createSink('ndjson', {
    stdout,
    stderr: new Collector(),
    terminal: false,
    columns: () => undefined,
    colors,
    verbose: false,
    overflow: 'wait',
  });
  const frame = emptyFrame();
  const give = (event: InputEvent): void => {
    recorder.take(event);
    for (const one of survey.take(event)) machine.push(one);
    const events = machine.take();
    recorder.said(events);
    if (events.length > 0) sink.write(events);
  };
  for (const event of inputs.prelude) give(event);
  recorder.concluded();
  for (const one of survey.conclude()) machine.push(one);
  let last = 0n;
  let ticks = 0n;
  for await (const batch of inTime(inputs, interfaces)) {
    for (const event of batch) {
      if (event.type !== 'packets') {
        give(event);
        continue;
      }
      // One by one, with time in between: so there are many blocks.
      const { words } = event.rows;
      const { from = 0, to = event.rows.length } = event;
      for (let i = from; i < to; i++) {
        const row = i * PACKET_WORDS;
        const [seconds = 0, nanoseconds = 0] = [words[row + P_SEC], words[row + P_NSEC]];
        last = nanosOf(seconds, nanoseconds);
        const bytes = new Uint8Array(64);
        const sizes = { captured: 64, onWire: 64 };
        recorder.frame({
          ...frame,
          seconds,
          nanoseconds,
          linkType: 1,
          bytes,
          ...sizes,
          words,
          row,
        });
        give({ ...event, from: i, to: i + 1 });
        ticks++;
        give({ type: 'tick', time: last + ticks * stepNs });
      }
    }
  }
  const finished = machine.finish();
  recorder.said(finished);
  recorder.end(last);
  sink.write(finished);
  await sink.end();
  return { said: stdout.text, files: files.map((parts) => Buffer.concat(parts)) };
}

async function replay(args: readonly string[], world: Partial<Io> = {}) {
  const io = fakeIo(world);
  const code = await runCli(['replay', '-o', 'ndjson', ...args], io, commands);
  return { out: io.stdout.text, err: io.stderr.text, code };
}

function blocksOf(bytes: Uint8Array): { readonly at: number; readonly type: number }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const blocks = [];
  for (let at = 0; at < bytes.length; at += view.getUint32(at + 4, true)) {
    blocks.push({ at, type: view.getUint32(at, true) });
  }
  return blocks;
}

describe('a recording', () => {
  let whole: Recorded;
  let bytes: Uint8Array;
  const file = join(folder, 'case.pcapng');

  beforeAll(async () => {
    whole = await recorded();
    bytes = whole.files[0] ?? new Uint8Array(0);
  });

  it('is replayed to what was said', async () => {
    writeFileSync(file, bytes);
    expect(await replay([file])).toEqual({ out: whole.said, err: '', code: 0 });
    expect(whole.said.split('\n').length).toBeGreaterThan(20);
  });

  it('cut at any block or any of 200 places gives the beginning of it, and a loss', async () => {
    const blocks = blocksOf(bytes);
    const random = seeded(5);
    const all = whole.said.split('\n');
    const cuts = new Set(blocks.map(({ at }) => at));
    for (let i = 0; i < 200; i++) cuts.add(Math.floor(random() * bytes.length));
    const [, head, next] = blocks;
    for (let at = head?.at ?? 0; at < (next?.at ?? 0); at += 40) cuts.add(at);
    // The head is the second block; the end stands in the last one of state.
    const first = blocks[2]?.at ?? 0;
    const end = blocks.findLast(({ type }) => type === 0x8000_5770)?.at ?? 0;
    let longest = 0;
    for (const cut of cuts) {
      writeFileSync(file, bytes.subarray(0, cut));
      const { out, err, code } = await replay([file]);
      if (cut < first) {
        // Nothing of it can be used; of less than a section's first words it is not even seen what it is.
        const isSeen = cut >= 12;
        expect(code === 0 || !isSeen, `${cut}: ${err}`).toBe(true);
        expect(out.includes('"type":"loss"') || !isSeen, `${cut}: ${out}`).toBe(true);
        expect(out).not.toContain('"type":"attribution"');
        continue;
      }
      const lines = out.trimEnd().split('\n');
      const loss = lines.findIndex((line) => line.includes('"type":"loss"'));
      if (cut > end && loss < 0) {
        expect(out).toBe(whole.said);
        continue;
      }
      expect([code, loss >= 0, err.includes('cut')], `${cut}`).toEqual([0, true, true]);
      expect(lines.slice(0, loss)).toEqual(all.slice(0, loss));
      expect(lines.at(-1)).toContain('"type":"summary"');
      longest = Math.max(longest, loss);
    }
    expect(longest).toBeGreaterThan(10);
  });

  it('is told from a capture that was annotated and has no packets', async () => {
    writeFileSync(file, new SectionWriter({ application: 'whichpod 0' }).take());
    const { out, err, code } = await replay([file]);
    expect([code, err]).toEqual([0, '']);
    expect(out).not.toContain('"type":"loss"');
  });

  it('is seen to be one once its first block is there, however few bytes a pipe gives at first', () => {
    const next = blocksOf(bytes)[2]?.at ?? 0;
    expect(isRecording(bytes.subarray(0, next - 1))).toBe(false);
    expect(isRecording(bytes.subarray(0, next))).toBe(true);
  });

  it('damaged in any byte of its state gives a beginning of it, a loss, and no fault', async () => {
    const random = seeded(6);
    const states = blocksOf(bytes).filter(({ type }) => type === 0x8000_5770);
    for (let i = 0; i < 60; i++) {
      const damaged = bytes.slice();
      const { at } = states[1 + Math.floor(random() * (states.length - 1))] ?? { at: 0 };
      damaged[at + Math.floor(random() * 60)] = Math.floor(random() * 256);
      writeFileSync(file, damaged);
      const { code, out, err } = await replay([file]);
      expect(code, err).toBe(0);
      expect(out).toContain('"type":"summary"');
    }
  });

  it('in a series of files is one when they are given together, in any order', async () => {
    const { said, files } = await recorded({ maxBytes: 1 }, 100_000_000n);
    expect(files.length).toBeGreaterThan(2);
    const names = files.map((_, i) => join(folder, `part-${i}.pcapng`));
    for (const [i, name] of names.entries()) writeFileSync(name, files[i] ?? '');
    expect((await replay(names.toReversed())).out).toBe(said);
    // The last one alone knows rules and cluster, and is whole.
    const alone = await replay([names.at(-1) ?? '']);
    expect([alone.code, alone.err]).toEqual([0, '']);
    expect(alone.out).toContain('"code":"rules-read"');
    const lacking = await replay(names.filter((_, i) => i !== 1));
    expect(lacking.out).toMatch(/"type":"loss".*1 files? of the recording/);
  });
});
