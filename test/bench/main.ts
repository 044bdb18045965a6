import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generate } from './generate.js';

/**
 * `npm run bench [-- replay] [--packets N] [--rounds N]`: whole programs, each beside its peer on the same file
 * in the same run, in turn; medians and ratios. Figures go to docs/benchmarks.md by hand, with the command.
 */
const PROGRAM = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
/** The same packets that whichpod looks at. */
const FILTER = 'tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0';

/** A module for `node --import` that prints the process's peak memory when it ends. */
const PEAK_MEMORY = `data:text/javascript,${encodeURIComponent(
  "process.on('exit', () => process.stderr.write('peak-rss-kb=' + process.resourceUsage().maxRSS))",
)}`;

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const complain = (line: string): void => void process.stderr.write(`${line}\n`);

interface Run {
  readonly seconds: number;
  readonly rssMegabytes: number;
  readonly output: string;
}

function option(name: string, otherwise: number): number {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : Number(process.argv[at + 1]);
}

/** Runs a program to its end: wall clock as seen from here, peak memory as the program itself reports it at its exit. */
function time(command: string, args: readonly string[], discard = false): Run {
  const before = process.hrtime.bigint();
  const done = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', discard ? openSync('/dev/null', 'w') : 'pipe', 'pipe'],
  });
  const seconds = Number(process.hrtime.bigint() - before) / 1e9;
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${done.stderr}`);
  return { seconds, rssMegabytes: peakOf(done.stderr), output: done.stdout ?? '' };
}

/** From the line that PEAK_MEMORY prints; 0 for a program that does not. */
function peakOf(stderr: string): number {
  const m = /peak-rss-kb=(\d+)/.exec(stderr);
  return m ? Number(m[1]) / 1024 : 0;
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
};

function replayBench(packets: number, rounds: number): void {
  const folder = mkdtempSync(join(tmpdir(), 'whichpod-bench-'));
  try {
    const shape = { packets, packetsEach: 20, services: 100, endpointsEach: 10 };
    const made = generate(folder, shape);
    const megabytes = Math.round(made.bytes / 1e6);
    say(
      `replay: ${made.packets} packets, ${made.connections} connections, ${megabytes} MB, ${shape.services} Services with ${shape.endpointsEach} Pods`,
    );
    const forms = [
      { name: 'whichpod -o summary', args: ['-o', 'summary'], discard: false },
      { name: 'whichpod -o ndjson > /dev/null', args: ['-o', 'ndjson'], discard: true },
    ];
    const results = new Map<string, Run[]>();
    const keep = (name: string, run: Run): void => {
      results.set(name, [...(results.get(name) ?? []), run]);
    };
    for (let round = 0; round <= rounds; round++) {
      const peer = time('tcpdump', ['-r', made.capture, '-w', '/dev/null', FILTER]);
      if (round > 0) keep('tcpdump -r -w /dev/null', peer);
      for (const form of forms) {
        const run = time(
          process.execPath,
          ['--import', PEAK_MEMORY, PROGRAM, 'replay', folder, ...form.args],
          form.discard,
        );
        if (!form.discard) check(run.output, made.connections);
        if (round > 0) keep(form.name, run);
      }
    }
    report(results, made.packets);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A figure counts only if the work was done: every connection attributed. */
function check(output: string, connections: number): void {
  const last = output.trim().split('\n').at(-1) ?? '';
  const summary: unknown = JSON.parse(last);
  const text = JSON.stringify(summary);
  if (!text.includes(`"seen":${connections},"attributed":${connections}`)) {
    throw new Error(`not all of ${connections} connections were attributed: ${text}`);
  }
}

function report(results: ReadonlyMap<string, readonly Run[]>, packets: number): void {
  const base = median((results.get('tcpdump -r -w /dev/null') ?? []).map((r) => r.seconds));
  for (const [name, runs] of results) {
    const seconds = runs.map((r) => r.seconds);
    const mid = median(seconds);
    const rss = median(runs.map((r) => r.rssMegabytes));
    say(
      [
        name.padEnd(32),
        `${mid.toFixed(3)} s`.padStart(10),
        `(${Math.min(...seconds).toFixed(3)}-${Math.max(...seconds).toFixed(3)})`.padEnd(16),
        `${(packets / mid / 1e6).toFixed(2)} M packets/s`.padStart(18),
        `${(base / mid).toFixed(2)} x tcpdump`.padStart(16),
        rss > 0 ? `${Math.round(rss)} MB` : '',
      ].join('  '),
    );
  }
}

const parts: Readonly<Record<string, () => void>> = {
  replay: () => replayBench(option('--packets', 2_000_000), option('--rounds', 5)),
};

const asked = process.argv.slice(2).filter((a) => !a.startsWith('--') && !/^\d+$/.test(a));
say(
  `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}, ${execFileSync('uname', ['-sr'], { encoding: 'utf8' }).trim()}`,
);
for (const name of asked.length > 0 ? asked : Object.keys(parts)) {
  const part = parts[name];
  if (part === undefined) {
    complain(`no benchmark ${name}; there are: ${Object.keys(parts).join(', ')}`);
    process.exitCode = 2;
  } else {
    part();
  }
}
