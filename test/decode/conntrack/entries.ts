import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { formatAddress, formatEndpoint } from '../../../src/model/address.js';
import * as C from '../../../src/model/conntrack.js';
import type { ConntrackRows } from '../../../src/model/conntrack-rows.js';
import { formatNanos, nanosOf } from '../../../src/model/time.js';

const data = new URL('./data/', import.meta.url);

/** Names of the recorded files (without .gz) whose name fits. */
export function recordings(fits: RegExp): string[] {
  return readdirSync(data)
    .map((name) => name.replace(/\.gz$/, ''))
    .filter((name) => fits.test(name));
}

export function recording(name: string): Uint8Array {
  return new Uint8Array(gunzipSync(readFileSync(new URL(`${name}.gz`, data))));
}

/** A row in words that a test can compare: what was not told is absent. */
export interface Entry {
  event: number;
  protocol: number;
  original: string;
  reply?: string;
  time?: string;
  resolution?: number;
  lateness?: number;
  status?: string;
  userspace?: true;
  kernelTime?: true;
  state?: string;
  timeout?: number;
  mark?: number;
  id?: number;
  zones: string;
  start?: string;
  stop?: string;
  counters?: string;
}

export function entriesOf(rows: ConntrackRows): Entry[] {
  const entries: Entry[] = [];
  const { words } = rows;
  for (let i = 0; i < rows.length; i++) {
    const row = i * rows.stride;
    const at = (field: number): number => words[row + field] ?? -1;
    const has = (bit: number): boolean => (at(C.C_BITS) & bit) !== 0;
    const endpoint = (address: number, port: number): string =>
      formatEndpoint(formatAddress(words, row + address, at(C.C_FAMILY)), at(port));
    const time = (field: number): string => formatNanos(nanosOf(at(field), at(field + 1)));
    const counter = (field: number): bigint =>
      BigInt(at(field + 1)) * 0x1_0000_0000n + BigInt(at(field));
    const entry: Entry = {
      event: at(C.C_EVENT),
      protocol: at(C.C_PROTOCOL),
      original: `${endpoint(C.C_OSRC, C.C_OSPORT)} > ${endpoint(C.C_ODST, C.C_ODPORT)}`,
      zones: `${at(C.C_ZONE)} ${at(C.C_ZONE_ORIGINAL)} ${at(C.C_ZONE_REPLY)}`,
    };
    if (has(C.HAS_REPLY)) {
      entry.reply = `${endpoint(C.C_RSRC, C.C_RSPORT)} > ${endpoint(C.C_RDST, C.C_RDPORT)}`;
    }
    if (has(C.HAS_TIME)) {
      entry.time = time(C.C_SEC);
      entry.resolution = at(C.C_RESOLUTION);
      entry.lateness = at(C.C_LATENESS);
    }
    if (has(C.HAS_STATUS)) {
      entry.status = `${has(C.IS_ASSURED) ? 'assured' : ''} ${has(C.IS_UNREPLIED) ? 'unreplied' : ''}`;
    }
    if (has(C.IS_USERSPACE)) entry.userspace = true;
    if (has(C.IS_KERNEL_TIME)) entry.kernelTime = true;
    if (has(C.HAS_STATE)) entry.state = C.TCP_STATES[at(C.C_STATE)] ?? `${at(C.C_STATE)}`;
    if (has(C.HAS_TIMEOUT)) entry.timeout = at(C.C_TIMEOUT);
    if (has(C.HAS_MARK)) entry.mark = at(C.C_MARK);
    if (has(C.HAS_ID)) entry.id = at(C.C_ID);
    if (has(C.HAS_START)) entry.start = time(C.C_START_SEC);
    if (has(C.HAS_STOP)) entry.stop = time(C.C_STOP_SEC);
    if (has(C.HAS_COUNTERS)) {
      const fields = [C.C_OPACKETS, C.C_OBYTES, C.C_RPACKETS, C.C_RBYTES];
      entry.counters = fields.map(counter).join(' ');
    }
    entries.push(entry);
  }
  return entries;
}

/** A copy with a few random changes: bytes replaced, stretches removed, doubled or moved. */
export function mutate(bytes: Uint8Array, random: () => number): Uint8Array {
  let out = Array.from(bytes);
  const below = (n: number): number => Math.floor(random() * n);
  const changes = 1 + below(3);
  for (let i = 0; i < changes && out.length > 0; i++) {
    const at = below(out.length);
    const length = 1 + below(20);
    switch (below(5)) {
      case 0:
        out[at] = below(256);
        break;
      case 1: // Another character of the same text, so that it stays plausible.
        out[at] = out[below(out.length)] ?? 0;
        break;
      case 2:
        out.splice(at, length);
        break;
      case 3:
        out.splice(below(out.length), 0, ...out.slice(at, at + length));
        break;
      default:
        out = out.slice(0, at + 1);
    }
  }
  return Uint8Array.from(out);
}

interface Datagram {
  readonly sec: number;
  readonly nsec: number;
  readonly bytes: Uint8Array;
}

/** The recordings hold datagrams as a little-endian kernel sent them: length, seconds, nanoseconds, bytes. */
export function datagrams(name: string): Datagram[] {
  const bytes = recording(name);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const all: Datagram[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = view.getUint32(at, true);
    const data = bytes.slice(at + 12, at + 12 + length);
    all.push({
      sec: view.getUint32(at + 4, true),
      nsec: view.getUint32(at + 8, true),
      bytes: data,
    });
    at += 12 + length;
  }
  return all;
}
