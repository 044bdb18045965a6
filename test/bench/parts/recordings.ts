import { join } from 'node:path';
import type { Context } from '../context.js';
import {
  type Recording,
  type RecordingShape,
  STANDARD,
  writeRecording,
} from '../generate/recording.js';
import { inTurn, runOf } from '../in-turn.js';
import { judged, type Measured, type Row, type Run, ratioOf } from '../report.js';
import type { Reader } from './readers.js';

const QUICK: Partial<RecordingShape> = {
  packets: 8_000,
  connections: 800,
  live: 50,
  services: 10,
  clients: 20,
};

/** What RSS may be at most, whatever the file's size. */
const BASE_MEGABYTES = 120;
const BYTES_A_LIVE_CONNECTION = 100;

export const allowedMegabytes = (live: number): number =>
  BASE_MEGABYTES + (BYTES_A_LIVE_CONNECTION * live) / 2 ** 20;

/** The recording that the command line asks for. */
export const shapeOf = (context: Context): RecordingShape => ({
  ...STANDARD,
  ...(context.quick ? QUICK : {}),
  ...context.shape,
});

const made = new Map<string, Recording>();

/** A recording under a name of its own, made when it is first asked for. */
export function generated(context: Context, name: string, shape: RecordingShape): Recording {
  const folder = join(context.scratch, 'recordings', name);
  const known = made.get(folder);
  if (known !== undefined) return known;
  context.say(`generating ${name}: ${describe(shape)}`);
  const recording = writeRecording(folder, shape);
  made.set(folder, recording);
  return recording;
}

/** A run for each reader, in their order. */
export async function measure<const T extends readonly Reader[]>(
  context: Pick<Context, 'rounds' | 'quick' | 'say'>,
  readers: T,
): Promise<{ [K in keyof T]: Run }> {
  const all = await inTurn(context, readers);
  const runs = readers.map((it, i) => runOf(it.name, all[i] ?? [], it.packets));
  return runs as { [K in keyof T]: Run };
}

/** Packets a second of two runs, and at least how many times as many are wanted. */
export function against(id: string, run: Run, other: Run, times: number, remark?: string): Row {
  const [ours, peer] = [rate(run), rate(other)];
  const ratio = ratioOf(ours, peer);
  const row: Row = {
    id,
    target: `at least ${times}x`,
    ours,
    peer,
    ratio,
    remark: [...cpuRatio(run, other), ...(remark === undefined ? [] : [remark])].join('; '),
  };
  return judged(row, { side: 'at least', value: times }, ratio);
}

/** The same comparison by CPU a packet, which other work on the machine disturbs less. */
function cpuRatio(run: Run, other: Run): string[] {
  const cost = ({ cpuSeconds, seconds, perSecond }: Run): number =>
    (cpuSeconds?.median ?? 0) / ((perSecond?.median ?? 0) * seconds.median);
  const ratio = cost(other) / cost(run);
  return Number.isFinite(ratio) && ratio > 0 ? [`${ratio.toPrecision(2)}x by CPU`] : [];
}

export const rate = (run: Run): Measured => ({
  what: run.name,
  unit: '/s',
  figure: run.perSecond ?? run.seconds,
});

export function memoryRow(id: string, run: Run, live: number): Row {
  const allowed = allowedMegabytes(live);
  const row: Row = {
    id,
    target: `at most ${Math.round(allowed)} MB with ${live} connections open`,
    ours: { what: run.name, unit: 'MB', figure: run.peakMegabytes ?? run.seconds },
  };
  return judged(row, { side: 'at most', value: allowed });
}

export function describe(shape: RecordingShape): string {
  const traits = [
    shape.format,
    shape.link,
    ...(shape.vlan ? ['VLAN'] : []),
    ...(shape.ipv6Share > 0 ? [`${shape.ipv6Share * 100} % over IPv6`] : []),
  ];
  return `${shape.packets} packets, ${shape.connections} connections, ${shape.live} open at a time, ${shape.services} Services with ${shape.endpointsEach} Pods each, ${traits.join(', ')}`;
}
