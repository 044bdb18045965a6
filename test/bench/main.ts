import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Context, Part } from './context.js';
import { jsonOf, writeDocuments } from './documents.js';
import { faultOf, STANDARD, writeRecording } from './generate/recording.js';
import { loadBefore, machineFacts, toolVersion } from './machine.js';
import { markdownOf } from './markdown.js';
import { type Options, parseOptions } from './options.js';
import { annotate } from './parts/annotate.js';
import { cluster } from './parts/cluster.js';
import { conntrack } from './parts/conntrack.js';
import { decode } from './parts/decode.js';
import { explain } from './parts/explain.js';
import { formats } from './parts/formats.js';
import { live } from './parts/live.js';
import { memory } from './parts/memory.js';
import { node } from './parts/node.js';
import { record } from './parts/record.js';
import { replay } from './parts/replay.js';
import { rules } from './parts/rules.js';
import { scale } from './parts/scale.js';
import { startup } from './parts/startup.js';
import type { DatedReport, PartReport } from './report.js';

const PARTS: readonly Part[] = [
  replay,
  formats,
  scale,
  decode,
  live,
  node,
  record,
  annotate,
  conntrack,
  rules,
  explain,
  cluster,
  memory,
  startup,
];

const USAGE = `npm run bench [-- PART...] [--quick] [--rounds N] [--json FILE] [--write] [--dist DIR]
${PARTS.map((part) => `  ${part.name.padEnd(10)} ${part.purpose}`).join('\n')}
replay, formats and annotate also take what generate takes.

npm run bench -- generate DIR [--packets N] [--connections N] [--live N]
    [--format pcap|pcap-ns|pcap-be|pcapng] [--link ethernet|sll2] [--vlan] [--ipv6-share 0.2]
    [--retransmit-share 0.01] [--reuse-share 0.01] [--payload BYTES] [--seed N]
    [--services N] [--endpoints N] [--clients N]
`;

/** Enough for a median with a spread around it. */
const ROUNDS = 5;

/** As of whichpod itself. */
const INTERRUPTED = 130;

const DIST = fileURLToPath(new URL('../../dist', import.meta.url));

/** Interrupted it ends through its exit handlers: what was compiled, generated and built is theirs to take away. */
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(INTERRUPTED));
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const complain = (text: string): void => void process.stderr.write(`${text}\n`);

async function main(args: readonly string[]): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    complain(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return 2;
  }
  const [first, folder] = options.words;
  if (first === 'generate') return generate(options, folder);
  const unknown = options.words.filter((word) => !PARTS.some((part) => part.name === word));
  if (unknown.length > 0) {
    complain(`no benchmark ${unknown.join(', ')}\n\n${USAGE}`);
    return 2;
  }
  const parts = PARTS.filter(
    (part) => options.words.length === 0 || options.words.includes(part.name),
  );
  return bench(parts, options, args);
}

function generate(options: Options, folder: string | undefined): number {
  const shape = { ...STANDARD, ...options.shape };
  const fault = folder === undefined ? 'generate into which folder?' : faultOf(shape);
  if (fault !== undefined || folder === undefined) {
    complain(`${fault}\n\n${USAGE}`);
    return 2;
  }
  const { capture, captureBytes } = writeRecording(folder, shape);
  say(`${capture}: ${shape.packets} packets, ${Math.round(captureBytes / 1e6)} MB`);
  return 0;
}

/** One part that fails does not keep the others from being measured: it is told, and the exit code is 1. */
async function bench(
  parts: readonly Part[],
  options: Options,
  args: readonly string[],
): Promise<number> {
  const scratch = mkdtempSync(join(tmpdir(), 'whichpod-bench-'));
  process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));
  const context: Context = {
    quick: options.quick,
    rounds: options.rounds ?? (options.quick ? 1 : ROUNDS),
    dist: options.dist === undefined ? DIST : resolve(options.dist),
    scratch,
    shape: options.shape,
    say: complain,
  };
  const machine = machineFacts();
  const failures: string[] = [];
  const reports: DatedReport[] = [];
  for (const part of parts) {
    complain(`${part.name}: ${part.purpose}`);
    const load = loadBefore();
    const report = await runPart(part, context).catch((error: unknown) => {
      failures.push(`${part.name}: ${error instanceof Error ? error.message : String(error)}`);
    });
    if (report === undefined) continue;
    const dated: DatedReport = {
      ...report,
      // Tiny inputs show that it works; how fast, they do not.
      rows: context.quick ? report.rows.map(({ met: _, ...row }) => row) : report.rows,
      date: new Date().toISOString().slice(0, 10),
      machine: `${machine}, ${load}`,
      tools: [...part.needs, ...(part.uses ?? [])].flatMap((tool) => toolVersion(tool) ?? []),
      command: ['npm run bench --', part.name, ...flagsOf(args, parts)].join(' '),
    };
    reports.push(dated);
    say(`\n## ${part.name}\n\n${markdownOf(dated)}`);
  }
  if (options.json !== undefined) writeFileSync(options.json, jsonOf(reports));
  if (options.write) writeDocuments(reports);
  for (const failure of failures) complain(failure);
  return failures.length > 0 ? 1 : 0;
}

async function runPart(part: Part, context: Context): Promise<PartReport> {
  const missing = part.needs.filter((tool) => toolVersion(tool) === undefined);
  if (missing.length === 0) return part.run(context);
  const skipped = [`not installed: ${missing.join(', ')}`];
  return { part: part.name, input: part.purpose, rows: [], runs: [], skipped };
}

/** Options that say nothing about what was measured: where figures go, where the program lies. */
const ASIDE = new Set(['--json', '--dist']);

/** The command line without the names of parts and such options. */
function flagsOf(args: readonly string[], parts: readonly Part[]): string[] {
  const names = new Set(parts.map((part) => part.name));
  return args.filter(
    (arg, i) =>
      !names.has(arg) && arg !== '--write' && !ASIDE.has(arg) && !ASIDE.has(args[i - 1] ?? ''),
  );
}

process.exitCode = await main(process.argv.slice(2));
