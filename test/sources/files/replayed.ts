import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { C_EVENT, C_NSEC, C_SEC } from '../../../src/model/conntrack.js';
import type { InputEvent } from '../../../src/model/event.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import { P_INTERFACE } from '../../../src/model/packet.js';
import type { Problem } from '../../../src/model/problem.js';
import { formatNanos, nanosOf, type OffsetAt, UTC } from '../../../src/model/time.js';
import { mergeByTime } from '../../../src/pipeline/merge.js';
import type { InputArgument } from '../../../src/sources/files/expand.js';
import { openInputs, type ReplayInputs } from '../../../src/sources/files/open.js';
import { ethernet, ipv4, type PcapRecord, tcp } from '../../support/capture-builder.js';

/** A trimmed recording of a node; some files compressed, though nothing in their names says so. */
export const RECORDING = fileURLToPath(new URL('data/recording', import.meta.url));

/** A file of the recording, uncompressed. */
export function recordedBytes(path: string): Uint8Array {
  const bytes = readFileSync(join(RECORDING, path));
  return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes;
}

export function recordedText(path: string): string {
  return new TextDecoder().decode(recordedBytes(path));
}

/** A folder of a test's own. */
export class Scratch {
  readonly path = mkdtempSync(join(tmpdir(), 'whichpod-files-'));

  /** Writes a file and returns its path; folders on the way are made. */
  write(name: string, content: Uint8Array | string): string {
    const path = join(this.path, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return path;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export interface Replayed {
  readonly inputs: ReplayInputs;
  readonly prelude: string[];
  /** What the merged streams gave, one text an item. */
  readonly events: string[];
  readonly problems: { readonly file: string; readonly problem: Problem }[];
}

interface Options {
  readonly node?: string;
  readonly stdin?: AsyncIterable<Uint8Array>;
  readonly offsetAt?: OffsetAt;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Opens inputs and reads all of them. A string is a path. */
export async function replay(
  args: readonly (string | InputArgument)[],
  { offsetAt = UTC, ...options }: Options = {},
): Promise<Replayed> {
  const interfaces = new Interfaces();
  const problems: Replayed['problems'] = [];
  const inputs = await openInputs(
    args.map((arg) => (typeof arg === 'string' ? { path: arg } : arg)),
    {
      interfaces,
      offsetAt,
      ...options,
      onProblem: (file, problem) => problems.push({ file, problem }),
    },
  );
  const prelude = inputs.prelude.flatMap((event) => texts(event, interfaces));
  const events: string[] = [];
  for await (const batch of mergeByTime(inputs.streams, interfaces)) {
    for (const event of batch) events.push(...texts(event, interfaces));
  }
  return { inputs, prelude, events, problems };
}

const EVENTS = ['?', 'new', 'update', 'destroy', 'listed'];

/** All that an event says, one text a row; names in place of numbers that depend on the order of reading. */
function texts(event: InputEvent, interfaces: Interfaces): string[] {
  switch (event.type) {
    case 'packets':
    case 'conntrack': {
      const { rows, from = 0, to = rows.length } = event;
      const all: string[] = [];
      for (let row = from; row < to; row++) {
        const words = [...rows.words.subarray(row * rows.stride, (row + 1) * rows.stride)];
        if (event.type === 'packets') {
          const name = interfaces.name(words[P_INTERFACE] ?? 0) ?? '-';
          const node = interfaces.get(words[P_INTERFACE] ?? 0).node ?? '';
          words[P_INTERFACE] = 0;
          all.push(
            `packet ${formatNanos(nanosOf(words[0] ?? 0, words[1] ?? 0))} ${node}/${name} ${words.join()}`,
          );
        } else {
          const time = formatNanos(nanosOf(words[C_SEC] ?? 0, words[C_NSEC] ?? 0));
          all.push(`conntrack ${EVENTS[words[C_EVENT] ?? 0]} ${time} ${words.join()}`);
        }
      }
      return all;
    }
    case 'rules': {
      const { rules, services, node, time } = event;
      const tables =
        rules.kind === 'iptables' ? [...rules.tables.keys()].sort().join('+') : rules.kind;
      return [
        `rules ${node ?? ''} ${rules.family} ${rules.backend} ${tables} ${services.length} ${when(time)}`,
      ];
    }
    case 'cluster': {
      const { change, time } = event;
      const said =
        change.op === 'list'
          ? `${change.kind} x${change.items.length} @${change.resourceVersion ?? ''}`
          : `${change.item.kind} ${change.item.name} @${change.item.resourceVersion ?? ''}`;
      return [`cluster ${change.op} ${said} ${when(time)}`];
    }
    case 'readings':
      return [`readings ${event.time} ${JSON.stringify(event.readings)}`];
    case 'addresses':
      return [`addresses ${event.node ?? ''} ${event.addresses.join()} ${when(event.time)}`];
    case 'loss': {
      const { source, count, from, to, detail } = event.loss;
      return [`loss ${source} ${count} ${when(from)}..${when(to)} ${detail}`];
    }
    case 'notice':
    case 'tick':
      return [event.type];
  }
}

function when(time: bigint | undefined): string {
  return time === undefined ? '-' : formatNanos(time);
}

/** A SYN, `n` told by its source port. */
export function syn(n: number): Uint8Array {
  return ethernet(ipv4(tcp({ sport: 10_000 + n }), { protocol: 6 }));
}

/** A record of a capture: a SYN at a microsecond after second 1,800,000,000. */
export function synAt(n: number, microseconds: number): PcapRecord {
  return {
    frame: syn(n),
    seconds: 1_800_000_000 + Math.floor(microseconds / 1e6),
    fraction: microseconds % 1e6,
  };
}

/** `text` as the bytes of standard input, in pieces of `size`. */
export async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size);
}

/** What a test says of a list of conntrack: one entry. */
export function entry(reply: string, sport = 40_000): string {
  return (
    `tcp      6 100 ESTABLISHED src=10.244.1.2 dst=10.96.0.9 sport=${sport} dport=80 ` +
    `src=${reply} dst=10.244.1.2 sport=8080 dport=${sport} [ASSURED] mark=0 use=1\n`
  );
}

/** What `ip -j addr` prints, as far as it matters. */
export function ipAddr(index: number, name: string, address: string): string {
  return JSON.stringify([
    { ifindex: index, ifname: name, flags: [], addr_info: [{ family: 'inet', local: address }] },
  ]);
}
