import { describe, expect, it } from 'vitest';
import { OpenEntries } from '../../src/cli/record/open-entries.js';
import {
  C_BITS,
  C_EVENT,
  C_FAMILY,
  C_ID,
  C_LATENESS,
  C_ODPORT,
  C_ODST,
  C_OSPORT,
  C_OSRC,
  C_PROTOCOL,
  C_RDPORT,
  C_RSPORT,
  C_RSRC,
  C_SEC,
  C_TIMEOUT,
  C_ZONE,
  CONNTRACK_WORDS,
  EVENT_DESTROY,
  EVENT_LISTED,
  EVENT_NEW,
  EVENT_UPDATE,
  HAS_COUNTERS,
  HAS_ID,
  HAS_REPLY,
  HAS_TIME,
  HAS_TIMEOUT,
} from '../../src/model/conntrack.js';
import { ConntrackRows } from '../../src/model/conntrack-rows.js';
import { seeded } from '../support/seeded.js';

interface Entry {
  readonly event: number;
  readonly port: number;
  readonly id?: number;
  readonly protocol?: number;
  readonly zone?: number;
  readonly to?: number;
  readonly began?: number;
}

function rowsOf(entries: readonly Entry[]): ConntrackRows {
  const rows = new ConntrackRows();
  for (const { event, port, id, protocol = 6, zone = 0, to = 1, began } of entries) {
    const at = rows.add();
    const { words } = rows;
    words[at + C_EVENT] = event;
    words[at + C_FAMILY] = 4;
    words[at + C_PROTOCOL] = protocol;
    words[at + C_ZONE] = zone;
    words[at + C_BITS] = HAS_REPLY | HAS_TIMEOUT | HAS_COUNTERS | (id === undefined ? 0 : HAS_ID);
    words[at + C_ID] = id ?? 0;
    words[at + C_TIMEOUT] = 30;
    words[at + C_OSRC + 3] = 10;
    words[at + C_ODST + 3] = 20;
    words[at + C_OSPORT] = port;
    words[at + C_ODPORT] = 80;
    words[at + C_RSRC + 3] = to;
    words[at + C_RSPORT] = 8080;
    words[at + C_RDPORT] = port;
    if (began !== undefined) {
      words[at + C_SEC] = began + 1;
      words[at + C_LATENESS] = 1_000_000_000;
    }
  }
  return rows;
}

function told(entries: OpenEntries): [port: number, to: number][] {
  const all: [number, number][] = [];
  for (const { words, length } of entries.listed(5_000_000_007n)) {
    for (let at = 0; at < length * CONNTRACK_WORDS; at += CONNTRACK_WORDS) {
      all.push([words[at + C_OSPORT] ?? 0, words[at + C_RSRC + 3] ?? 0]);
    }
  }
  return all.sort(([a], [b]) => a - b);
}

function taken(...batches: (readonly Entry[])[]): OpenEntries {
  const entries = new OpenEntries();
  for (const batch of batches) entries.take(rowsOf(batch), 0, batch.length);
  return entries;
}

const [N, U, D, L] = [EVENT_NEW, EVENT_UPDATE, EVENT_DESTROY, EVENT_LISTED];

describe('the entries that are open', () => {
  it.each<[string, Entry[][], [number, number][]]>([
    ['none at the beginning', [], []],
    ['are those that began', [[{ event: N, port: 1 }]], [[1, 1]]],
    [
      'or were listed, until they end',
      [
        [
          { event: L, port: 1 },
          { event: N, port: 2 },
        ],
        [{ event: D, port: 1 }],
      ],
      [[2, 1]],
    ],
    [
      'have the last word on where they lead',
      [
        [
          { event: N, port: 1, to: 4 },
          { event: U, port: 1, to: 5 },
        ],
      ],
      [[1, 5]],
    ],
    [
      'outlive the end of an entry before them',
      [
        [
          { event: N, port: 1, id: 7 },
          { event: N, port: 1, id: 8 },
          { event: D, port: 1, id: 7 },
        ],
      ],
      [[1, 1]],
    ],
    [
      'differ by protocol and zone',
      [
        [
          { event: N, port: 1 },
          { event: N, port: 1, protocol: 17 },
          { event: N, port: 1, zone: 3 },
          { event: D, port: 1 },
        ],
      ],
      [
        [1, 1],
        [1, 1],
      ],
    ],
    [
      'are those of the last listing where nobody tells of ends',
      [
        [
          { event: L, port: 1, began: 100 },
          { event: L, port: 2, began: 100 },
        ],
        [{ event: L, port: 2, began: 200 }],
      ],
      [[2, 1]],
    ],
  ])('%s', (_, batches, expected) => {
    expect(told(taken(...batches))).toEqual(expected);
  });

  it('are forgotten where something was lost', () => {
    const entries = taken([{ event: N, port: 1 }]);
    entries.clear();
    expect(told(entries)).toEqual([]);
    entries.take(rowsOf([{ event: L, port: 2 }]), 0, 1);
    expect(told(entries)).toEqual([[2, 1]]);
  });

  it('are told as a listing of that moment, without what was true of another', () => {
    const [rows] = taken([{ event: N, port: 1, id: 9 }]).listed(5_000_000_007n);
    const { words } = rows ?? new ConntrackRows();
    expect([words[C_EVENT], words[C_SEC], words[C_LATENESS]]).toEqual([EVENT_LISTED, 5, 1]);
    expect(words[C_BITS]).toBe(HAS_REPLY | HAS_ID | HAS_TIME);
    expect(words[C_ID]).toBe(9);
  });

  it('are what a plain map of them would be, after 30,000 events', () => {
    const random = seeded(12);
    const entries = new OpenEntries();
    const plain = new Map<number, number>();
    for (let round = 0; round < 300; round++) {
      const batch = Array.from({ length: 100 }, (): Entry => {
        const port = Math.floor(random() * 6_000);
        return { event: random() < 0.6 ? N : D, port, to: 1 + Math.floor(random() * 9) };
      });
      for (const { event, port, to = 1 } of batch) {
        if (event === N) plain.set(port, to);
        else plain.delete(port);
      }
      entries.take(rowsOf(batch), 0, batch.length);
    }
    expect(told(entries)).toEqual([...plain].sort(([a], [b]) => a - b));
    expect(entries.leftOut).toBe(0);
  });

  it('beyond 262,144 are counted', () => {
    const entries = new OpenEntries();
    const batch = Array.from({ length: 4_096 }, (_, port): Entry => ({ event: N, port }));
    const rows = rowsOf(batch);
    for (let client = 0; client < 65; client++) {
      for (let i = 0; i < rows.length; i++) rows.words[i * CONNTRACK_WORDS + C_OSRC + 3] = client;
      entries.take(rows, 0, rows.length);
    }
    expect(entries.leftOut).toBe(4_096);
    let listed = 0;
    for (const { length } of entries.listed(0n)) listed += length;
    expect(listed).toBe(262_144);
  });
});
