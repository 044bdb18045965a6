import { mkdirSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Context, Part } from '../context.js';
import { figureOf } from '../figure.js';
import { iptablesSave } from '../generate/rules.js';
import { writeTextFile } from '../generate/text-file.js';
import { inTurn, runOf } from '../in-turn.js';
import { toolVersion } from '../machine.js';
import { createNamespace, whyNoNamespaces } from '../network-namespace.js';
import { measureProgram } from '../program.js';
import { judged, type Measured, type PartReport, type Row, ratioOf } from '../report.js';
import { runJob } from '../run-job.js';

const WORLD = { services: 5_000, endpointsEach: 20, clients: 0 };
const QUICK_WORLD = { services: 20, endpointsEach: 5, clients: 0 };

const SECONDS = 0.35;
const MEGABYTES = 250;
const BLOCK_MS = 20;

export const rules: Part = {
  name: 'rules',
  purpose: 'a large rule set: time, memory, and how long the event loop stands still',
  needs: [],
  uses: ['iptables-restore'],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const world = context.quick ? QUICK_WORLD : WORLD;
  mkdirSync(context.scratch, { recursive: true });
  const file = join(context.scratch, 'iptables-save.txt');
  writeTextFile(file, iptablesSave(world, 4));
  const megabytes = (statSync(file).size / 2 ** 20).toFixed(1);
  const endpoints = world.services * world.endpointsEach;
  const blocks: number[] = [];
  const blocksAgain: number[] = [];
  const seconds: number[] = [];
  const parsed: number[] = [];
  const floors: number[] = [];
  const names = [
    'rules to the index',
    'rules to the index, read again',
    'one anchored pattern',
    'rules in memory to the index',
    'iptables-restore --test',
  ] as const;
  const skipped: string[] = [];
  const restore = restoreTest(file, skipped);
  const read = async (again: boolean) => {
    const run = await runJob('rules', { file, again });
    if (run.result.endpoints !== endpoints) {
      throw new Error(`${run.result.endpoints} of ${endpoints} endpoints were read`);
    }
    if (!again) seconds.push(run.result.seconds);
    (again ? blocksAgain : blocks).push(run.result.blockMs);
    return run;
  };
  const [ours, twice, floor, inMemory, restored] = await inTurn(context, [
    { name: names[0], run: () => read(false) },
    { name: names[1], run: () => read(true) },
    {
      name: names[2],
      run: async () => {
        const run = await runJob('rules-floor', { file });
        floors.push(run.result.seconds);
        return run;
      },
    },
    {
      name: names[3],
      run: async () => {
        const run = await runJob('rules', { file, fromMemory: true });
        parsed.push(run.result.seconds);
        return run;
      },
    },
    ...(restore === undefined ? [] : [{ name: names[4], run: restore.run }]),
  ]);
  restore?.close();
  const last = <T>(values: readonly T[]): readonly T[] => values.slice(-(ours?.length ?? 0));
  const runs = [
    runOf(names[0], ours ?? []),
    runOf(names[1], twice ?? []),
    runOf(names[2], floor ?? []),
    runOf(names[3], inMemory ?? []),
  ];
  if (restored !== undefined) runs.push(runOf(names[4], restored));
  const mine: Measured = { what: names[3], unit: 's', figure: figureOf(last(parsed)) };
  const whole: Measured = { what: names[0], unit: 's', figure: figureOf(last(seconds)) };
  const least: Measured = { what: names[2], unit: 's', figure: figureOf(last(floors)) };
  const rows: Row[] = [
    judged(
      {
        id: 'time',
        target: `parsed and indexed in at most ${SECONDS} s`,
        ours: mine,
        peer: least,
        ratio: ratioOf(mine, least),
      },
      { side: 'at most', value: SECONDS },
    ),
    {
      id: 'whole',
      target: '(comparison) a program and its pipe included',
      ours: whole,
      peer: least,
      ratio: ratioOf(whole, least),
    },
    judged(
      {
        id: 'memory',
        target: `at most ${MEGABYTES} MB`,
        ours: {
          what: 'peak, with Node',
          unit: 'MB',
          figure: figureOf((ours ?? []).map((run) => run.peakMegabytes)),
        },
      },
      { side: 'at most', value: MEGABYTES },
    ),
    judged(
      {
        id: 'block',
        target: `the event loop stands still for at most ${BLOCK_MS} ms, the first time`,
        ours: { what: 'longest', unit: 'ms', figure: figureOf(last(blocks)) },
        remark: 'traffic is watched only after it; all code is still uncompiled',
      },
      { side: 'at most', value: BLOCK_MS },
    ),
    judged(
      {
        id: 'block-again',
        target: `the event loop stands still for at most ${BLOCK_MS} ms, when read again`,
        ours: { what: 'longest', unit: 'ms', figure: figureOf(last(blocksAgain)) },
      },
      { side: 'at most', value: BLOCK_MS },
    ),
  ];
  return {
    part: 'rules',
    input: `${world.services} Services with ${world.endpointsEach} endpoints each, ${megabytes} MB of iptables-save, from a program's output to the machine's index`,
    rows,
    runs,
    skipped,
  };
}

/** The kernel tools' own reader of the same text, in a namespace; it changes nothing there either. */
function restoreTest(
  file: string,
  skipped: string[],
): { run(): ReturnType<typeof measureProgram>; close(): void } | undefined {
  const missing = toolVersion('iptables-restore') === undefined;
  const why = missing ? 'it is not there' : whyNoNamespaces();
  if (why !== undefined) {
    skipped.push(`iptables-restore --test: ${why}`);
    return undefined;
  }
  const { enter, close } = createNamespace();
  return {
    run: () =>
      measureProgram([...enter, 'iptables-restore', '--test'], { stdinFile: openSync(file, 'r') }),
    close,
  };
}
