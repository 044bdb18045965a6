import { execFileSync } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { ChurnLab } from './churn-lab.js';
import { compiledChild } from './compile.js';
import { type Context, pause, programOf, settleMs } from './context.js';
import { Watched } from './watched.js';

/** tcpdump's ring hands its last packets over after a second (libpcap's default timeout). */
const TCPDUMP_SETTLE_MS = 1_200;
/** conntrack says nothing when it listens. */
const SILENT_START_MS = 500;

/** Packets that open or close a connection. */
const OPEN_OR_CLOSE = 'tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0';

/** cap copies a full snapshot of each packet, and calls JavaScript for each. */
const CAP_TIMES = 4;

/** What an observer made of the traffic. */
export interface Observed {
  readonly cpuSeconds: number;
  readonly peakMegabytes: number;
  /** What it got wrong of so many connections: those that it lacks, or has too many, and what it says it lost. */
  wrong(connections: number): number;
  /** What it says itself. */
  readonly remark: string;
}

/** Something that watches the node while traffic passes. */
export interface Observer {
  readonly name: string;
  /** So many times as much CPU as whichpod it is to take, if there is a target. */
  readonly times?: number;
  watch(traffic: () => Promise<unknown>): Promise<Observed>;
}

const LIVE = 'whichpod live -o ndjson';

/** `live -o ndjson` into a file, so that what it wrote can be checked. */
export function whichpodLive(context: Context, node: ChurnLab): Observer {
  return {
    name: `${LIVE} > FILE`,
    watch: async (traffic) => {
      const file = join(context.scratch, 'live.ndjson');
      const output = openSync(file, 'w');
      const watched = liveInto(context, node, output);
      closeSync(output);
      await watched.says(/^watching /m);
      const used = await watched.during(traffic, settleMs(context));
      return { ...used, ...accountOf(lastLine(file)) };
    },
  };
}

/** The same as the target has it: what a file takes to be written is not whichpod's. */
export function whichpodLiveUnread(context: Context, node: ChurnLab): Observer {
  return {
    name: `${LIVE} > /dev/null`,
    watch: async (traffic) => {
      const watched = liveInto(context, node, 'ignore');
      await watched.says(/^watching /m);
      const used = await watched.during(traffic, settleMs(context));
      return { ...used, wrong: () => 0, remark: 'not read' };
    },
  };
}

function liveInto(context: Context, node: ChurnLab, output: number | 'ignore'): Watched {
  const args = ['live', '--objects', node.objects, '-o', 'ndjson'];
  return new Watched(
    [...node.lab.enter('node'), process.execPath, programOf(context), ...args],
    output,
  );
}

/** No line is longer. */
const MAX_LINE_BYTES = 65_536;

/** The last line of a file, which may be larger than a string. */
function lastLine(file: string): string {
  const descriptor = openSync(file, 'r');
  try {
    const { size } = fstatSync(descriptor);
    const bytes = Buffer.alloc(Math.min(size, MAX_LINE_BYTES));
    readSync(descriptor, bytes, 0, bytes.length, size - bytes.length);
    return bytes.toString('utf8').trimEnd().split('\n').at(-1) ?? '';
  } finally {
    closeSync(descriptor);
  }
}

/** What the summary says with which NDJSON ends. */
function accountOf(line: string): Pick<Observed, 'wrong' | 'remark'> {
  const summary = JSON.parse(line) as {
    connections: { seen: number; attributed: number };
    packets: { dropped: number };
    losses: number;
  };
  const { losses, packets } = summary;
  const { seen, attributed } = summary.connections;
  return {
    wrong: (all) => Math.abs(all - seen) + Math.abs(all - attributed) + losses + packets.dropped,
    remark: `${seen} seen, ${attributed} attributed, ${losses} losses, ${packets.dropped} dropped`,
  };
}

/** What an observer wrote into a file. */
export interface Written extends Observed {
  readonly bytes: number;
}

/** `record -w FILE`; what it got wrong is what a replay of the file gets wrong. */
export function whichpodRecord(context: Context, node: ChurnLab) {
  return {
    name: 'whichpod record -w FILE',
    watch: async (traffic: () => Promise<unknown>): Promise<Written> => {
      const file = join(context.scratch, 'record.pcapng');
      const args = ['record', '--objects', node.objects, '-w', file];
      const watched = new Watched([
        ...node.lab.enter('node'),
        process.execPath,
        programOf(context),
        ...args,
      ]);
      await watched.says(/^watching /m);
      const used = await watched.during(traffic, settleMs(context));
      const replayed = execFileSync(
        process.execPath,
        [programOf(context), 'replay', file, '-o', 'summary'],
        { encoding: 'utf8', maxBuffer: 2 ** 30, stdio: ['ignore', 'pipe', 'ignore'] },
      );
      const { remark, wrong } = accountOf(replayed);
      return { ...used, bytes: statSync(file).size, wrong, remark };
    },
  };
}

/** tcpdump keeps the same packets up to their headers' end, without names, words or anything of conntrack. */
export function tcpdumpRecord(context: Context, node: ChurnLab) {
  return {
    name: 'tcpdump -i any -s 128 -w FILE SYN|FIN|RST',
    watch: async (traffic: () => Promise<unknown>): Promise<Written> => {
      const file = join(context.scratch, 'tcpdump.pcap');
      const observed = await tcpdumpInto(context, node, file, traffic);
      return { ...observed, bytes: statSync(file).size };
    },
  };
}

/** tcpdump keeps what whichpod's filter passes; every connection opens with a SYN on two interfaces. */
export function tcpdumpLive(context: Context, node: ChurnLab): Observer {
  return {
    name: 'tcpdump -i any -w /dev/null SYN|FIN|RST',
    watch: (traffic) => tcpdumpInto(context, node, '/dev/null', traffic),
  };
}

async function tcpdumpInto(
  context: Context,
  node: ChurnLab,
  file: string,
  traffic: () => Promise<unknown>,
): Promise<Observed> {
  // As the user that it runs as may not write into the scratch folder, it stays who it is.
  const args = ['-Z', 'root', '-i', 'any', '-s', '128', '-w', file, OPEN_OR_CLOSE];
  const watched = new Watched([...node.lab.enter('node'), 'tcpdump', ...args]);
  await watched.says(/listening on/);
  const used = await watched.during(traffic, Math.max(settleMs(context), TCPDUMP_SETTLE_MS));
  const count = (what: RegExp): number => Number(what.exec(watched.said.stderr)?.[1] ?? 'NaN');
  const packets = count(/(\d+) packets? captured/);
  const dropped = count(/(\d+) packets? dropped by kernel/);
  // Which connections the packets were of, it does not know.
  return {
    ...used,
    wrong: () => dropped,
    remark: `${packets} packets, ${dropped} dropped by the kernel`,
  };
}

/** cap alone: what it sees goes to JavaScript, where it is counted. */
export function capAlone(context: Context, node: ChurnLab): Observer {
  const job = ['cap-capture', JSON.stringify({ filter: OPEN_OR_CLOSE })];
  return {
    name: 'cap, packets counted',
    times: CAP_TIMES,
    watch: async (traffic) => {
      const watched = new Watched([
        ...node.lab.enter('node'),
        process.execPath,
        compiledChild(),
        ...job,
      ]);
      await watched.says(/^listening/m);
      const used = await watched.during(traffic, settleMs(context));
      const packets = Number(/(\d+) packets/.exec(watched.said.stderr)?.[1] ?? 'NaN');
      // How many it missed it cannot say.
      return { ...used, wrong: () => 0, remark: `${packets} packets` };
    },
  };
}

export function conntrackEvents(context: Context, node: ChurnLab): Observer {
  return {
    name: 'conntrack -E -e NEW -o xml > /dev/null',
    watch: async (traffic) => {
      const args = ['-E', '-e', 'NEW', '-o', 'xml'];
      const watched = new Watched([...node.lab.enter('node'), 'conntrack', ...args]);
      await pause(SILENT_START_MS);
      const used = await watched.during(traffic, settleMs(context));
      const seen = Number(
        /(\d+) flow events have been shown/.exec(watched.said.stderr)?.[1] ?? 'NaN',
      );
      return {
        ...used,
        wrong: (all) => Math.abs(all - seen),
        remark: `${seen} events shown`,
      };
    },
  };
}
