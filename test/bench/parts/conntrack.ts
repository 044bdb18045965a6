import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Context, Part } from '../context.js';
import { figureOf, mapFigure } from '../figure.js';
import { conntrackXml } from '../generate/conntrack-xml.js';
import { writeTextFile } from '../generate/text-file.js';
import { inTurn, runOf } from '../in-turn.js';
import { conntrackLimit } from '../machine.js';
import { createNamespace, whyNoNamespaces } from '../network-namespace.js';
import { measureProgram } from '../program.js';
import { judged, type Measured, type PartReport, type Row, type Run, ratioOf } from '../report.js';
import { runJob } from '../run-job.js';

/** `conntrack -L -o xml` takes at least this many times as long. */
const LISTING_TIMES = 3;
const SAXES_TIMES = 5;

const SIZES = [10_000, 100_000, 1_000_000] as const;
const QUICK_SIZES = [500] as const;

const EVENT_MICROSECONDS = 1;
/** For V8, and then measured. */
const EVENTS = [30_000, 180_000] as const;
const QUICK_EVENTS = [100, 500] as const;

const XML_ENTRIES = 100_000;
const QUICK_XML_ENTRIES = 200;
const XML_WORLD = { services: 1000, endpointsEach: 10, clients: 1000 };

export const conntrack: Part = {
  name: 'conntrack',
  purpose: 'listings over netlink beside conntrack -L, and the XML scanner beside saxes',
  needs: ['conntrack'],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const rows: Row[] = [await xmlRow(context)];
  const runs: Run[] = [];
  const skipped: string[] = [];
  const unavailable = whyNoNamespaces();
  if (unavailable !== undefined) skipped.push(`listings: ${unavailable}`);
  else {
    rows.push(await eventsRow(context));
    for (const entries of tableSizes(context, skipped)) {
      const listing = await listings(context, entries);
      rows.push(...listing.rows);
      runs.push(...listing.runs);
    }
  }
  return {
    part: 'conntrack',
    input: 'Tables of translated TCP connections, filled over netlink in a network namespace',
    counted: 'entries',
    rows,
    runs,
    skipped,
  };
}

async function xmlRow(context: Context): Promise<Row> {
  const entries = context.quick ? QUICK_XML_ENTRIES : XML_ENTRIES;
  mkdirSync(context.scratch, { recursive: true });
  const file = join(context.scratch, 'conntrack.xml');
  writeTextFile(file, conntrackXml(XML_WORLD, entries));
  const { result } = await runJob('conntrack-xml', { file, rounds: context.rounds });
  if (result.entries !== entries || result.saxesEntries !== entries) {
    throw new Error(`of ${entries} entries ${result.entries} and ${result.saxesEntries} were read`);
  }
  const rate = (what: string, seconds: readonly number[]): Measured => ({
    what,
    unit: '/s',
    figure: mapFigure(figureOf(seconds), (s) => entries / s),
  });
  const ours = rate('XML scanner, entries', result.ours);
  const peer = rate('saxes', result.saxes);
  const ratio = ratioOf(ours, peer);
  const row: Row = {
    id: 'xml',
    target: `XML: at least ${SAXES_TIMES}x saxes`,
    ours,
    peer,
    ratio,
    remark: `${entries} entries, ${Math.round(statSync(file).size / entries)} bytes each`,
  };
  return judged(row, { side: 'at least', value: SAXES_TIMES }, ratio);
}

/** What an event costs from the socket to a row, while they come as fast as the kernel makes entries. */
async function eventsRow(context: Context): Promise<Row> {
  const [before, entries] = context.quick ? QUICK_EVENTS : EVENTS;
  const microseconds: number[] = [];
  let lost = 0;
  for (let round = 0; round < context.rounds; round++) {
    const { enter, close } = createNamespace();
    try {
      const { result } = await runJob('conntrack-events', { before, entries }, enter);
      microseconds.push(result.cpuMicroseconds);
      lost += result.losses + Math.abs(entries - result.events);
      context.say(`  ${result.events} events, ${result.cpuMicroseconds.toFixed(2)} µs each`);
    } finally {
      close();
    }
  }
  if (lost > 0) throw new Error(`${lost} of ${entries} events were lost or are too many`);
  return judged(
    {
      id: 'events',
      target: `an event takes at most ${EVENT_MICROSECONDS} µs of CPU in-process, and none is lost`,
      ours: { what: 'netlink to rows, NEW', unit: 'us', figure: figureOf(microseconds) },
      remark: `${entries} entries made as fast as the kernel makes them`,
    },
    { side: 'at most', value: EVENT_MICROSECONDS },
  );
}

/** Sizes that the machine's limit on entries admits; the limit itself where it is less. */
function tableSizes(context: Context, skipped: string[]): readonly number[] {
  if (context.quick) return QUICK_SIZES;
  const { limit, most } = conntrackLimit();
  const fit = SIZES.filter((size) => size <= most);
  if (fit.length === SIZES.length) return fit;
  skipped.push(
    `tables of more than ${most} entries: this machine's nf_conntrack_max is ${limit}, and a benchmark does not change it`,
  );
  return [...fit, most];
}

async function listings(
  context: Context,
  entries: number,
): Promise<{ readonly rows: Row[]; readonly runs: Run[] }> {
  const { enter, close } = createNamespace();
  try {
    context.say(`filling a table with ${entries} entries`);
    await runJob('conntrack-fill', { entries }, enter);
    const count = await measureProgram([...enter, 'conntrack', '-C']);
    if (Number(count.stdout) !== entries) {
      throw new Error(`${entries} entries were wanted, ${count.stdout.trim()} are there`);
    }
    const inProcess: number[] = [];
    const names = [
      `conntrack -L -o xml > /dev/null, ${entries} entries`,
      `netlink to rows, ${entries} entries, Node's start included`,
    ] as const;
    const [listed, dumped] = await inTurn(context, [
      {
        name: names[0],
        run: () => measureProgram([...enter, 'conntrack', '-L', '-o', 'xml'], { discard: true }),
      },
      {
        name: names[1],
        run: async () => {
          const run = await runJob('conntrack-dump', { entries }, enter);
          inProcess.push(run.result.seconds);
          return run;
        },
      },
    ]);
    const peerRun = runOf(names[0], listed ?? [], entries);
    const ourRun = runOf(names[1], dumped ?? [], entries);
    const ours: Measured = { what: names[1], unit: 's', figure: ourRun.seconds };
    const peer: Measured = { what: names[0], unit: 's', figure: peerRun.seconds };
    const own = figureOf(inProcess.slice(-(dumped?.length ?? 0)));
    const ratio = ratioOf(ours, peer);
    const row: Row = {
      id: `listing-${entries}`,
      target: `a listing takes at most 1/${LISTING_TIMES} of the time`,
      ours,
      peer,
      ratio,
      remark: `in-process ${own.median.toFixed(3)} s, ${(peer.figure.median / own.median).toFixed(1)}x`,
    };
    return {
      // Node's start is most of a short listing: the target is for a large one.
      rows: [
        entries < 100_000 ? row : judged(row, { side: 'at least', value: LISTING_TIMES }, ratio),
      ],
      runs: [peerRun, ourRun],
    };
  } finally {
    close();
  }
}
