import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecordDecoder } from '../../../src/decode/record/decoder.js';
import { RecordEncoder } from '../../../src/decode/record/encoder.js';
import { IptablesSaveReader } from '../../../src/decode/rules/iptables-save.js';
import type { InputEvent } from '../../../src/model/event.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import type { NftablesRules, RuleSet } from '../../../src/model/ruleset.js';
import { seeded } from '../../support/seeded.js';

function read(text: string): RuleSet {
  const reader = new IptablesSaveReader({ backend: 'nft' });
  reader.feed(new TextEncoder().encode(text));
  reader.end();
  const [rules] = reader.dumps;
  return { kind: 'iptables', family: 4, backend: 'nft', tables: rules?.tables ?? new Map() };
}

/** Rules of chains, each a number that stands for its text and one for its counters. */
type Chains = readonly (readonly (readonly [number, number])[])[];

function dump(chains: Chains): string {
  const names = chains.map((_, i) => `:KUBE-SVC-${i} - [0:0]`);
  const rules = chains.flatMap((all, i) =>
    all.map(([rule, count]) => `[${count}:${count * 60}] -A KUBE-SVC-${i} -j KUBE-SEP-${rule}`),
  );
  return ['# Generated', '*nat', ...names, ...rules, 'COMMIT', '# Completed', ''].join('\n');
}

/** What can be compared of a rule set. */
function flat(rules: RuleSet): unknown {
  if (rules.kind === 'nftables') return rules;
  return [...rules.tables.values()].map(({ name, chains }) => ({
    name,
    chains: [...chains.values()].map(({ name: chain, packets, bytes, rules: its }) => ({
      chain,
      counters: [packets, bytes],
      rules: its.map((rule) => [rule.line, rule.text, rule.packets, rule.bytes]),
    })),
  }));
}

const event = (rules: RuleSet): InputEvent => ({ type: 'rules', rules, services: [] });

function decode(bytes: Uint8Array): { rules: RuleSet[]; problem: string | undefined } {
  const decoder = new RecordDecoder(new Interfaces());
  const rules: RuleSet[] = [];
  decoder.feed(bytes);
  for (let item = decoder.next(); item !== undefined; item = decoder.next()) {
    if (item.type === 'event' && item.event.type === 'rules') rules.push(item.event.rules);
  }
  return { rules, problem: decoder.problem?.code };
}

/** Each rule set taken before the next is told, as while a run goes on. */
function encode(sets: readonly RuleSet[]): Uint8Array[] {
  const encoder = new RecordEncoder(new Interfaces());
  return sets.map((rules) => {
    encoder.event(event(rules));
    return encoder.takeAll().slice();
  });
}

describe('rules that change', () => {
  const rule = fc.tuple(fc.nat(30), fc.nat(3));
  const chains = fc.array(fc.array(rule, { maxLength: 6 }), { maxLength: 6 });

  it('come back line for line, counters and line numbers included', () => {
    fc.assert(
      fc.property(fc.array(chains, { minLength: 2, maxLength: 5 }), (dumps) => {
        const sets = dumps.map((one) => read(dump(one)));
        const { rules, problem } = decode(Buffer.concat(encode(sets)));
        expect(problem).toBeUndefined();
        expect(rules.map(flat)).toEqual(sets.map(flat));
      }),
      { numRuns: 200 },
    );
  });

  it('are told by what differs, wherever that stands', () => {
    const all: Chains = Array.from({ length: 300 }, (_, i) => [
      [i, 0],
      [i + 1_000, 0],
    ]);
    const changed = all.toSpliced(7, 1).toSpliced(100, 0, [[77_777, 5]]);
    const sets = [all, all, changed, all.toReversed()].map((one) => read(dump(one)));
    const [whole, same, few] = encode(sets).map((bytes) => bytes.length);
    expect(whole).toBeGreaterThan(20_000);
    expect(same).toBeLessThan(100);
    // Chains are numbered here, so those between have other names: two hundred lines and their chains.
    expect(few).toBeLessThan((whole ?? 0) / 2);
    expect(decode(Buffer.concat(encode(sets))).rules.map(flat)).toEqual(sets.map(flat));
  });

  it('with other counters only take a few bytes a rule that counted', () => {
    const at = (count: number) => [
      Array.from({ length: 2_000 }, (_, i) => [i, i % 100 === 0 ? count : 0] as const),
    ];
    const sets = [read(dump(at(5))), read(dump(at(6)))];
    const [, change] = encode(sets);
    expect(change?.length).toBeLessThan(20 * 16 + 100);
    expect(decode(Buffer.concat(encode(sets))).rules.map(flat)).toEqual(sets.map(flat));
  });

  it('come back also where several wait at once, and what waits behind them in its order', () => {
    const dumps: Chains[] = [[[[1, 0]]], [[[2, 0]]], [[[3, 0]], []]];
    const sets = dumps.map((one) => read(dump(one)));
    const encoder = new RecordEncoder(new Interfaces());
    for (const [i, rules] of sets.entries()) {
      encoder.event({ type: 'tick', time: BigInt(i) });
      encoder.event(event(rules));
    }
    encoder.event({ type: 'tick', time: 9n });
    const pieces: Uint8Array[] = [];
    while (encoder.busy) {
      const piece = encoder.take(7);
      if (piece === undefined) continue;
      expect(piece.length).toBeLessThanOrEqual(7);
      pieces.push(piece.slice());
    }
    const decoder = new RecordDecoder(new Interfaces());
    decoder.feed(Buffer.concat(pieces));
    const kinds: string[] = [];
    for (let item = decoder.next(); item !== undefined; item = decoder.next()) {
      kinds.push(item.type === 'event' ? item.event.type : item.type);
    }
    expect(kinds).toEqual(['tick', 'rules', 'tick', 'rules', 'tick', 'rules', 'tick']);
    expect(decode(Buffer.concat(pieces)).rules.map(flat)).toEqual(sets.map(flat));
  });

  it('of several dumps in one text are each told alone', () => {
    const reader = new IptablesSaveReader({ backend: 'nft' });
    const header = '# Generated by iptables-save v1.8.9 (nf_tables) on Sun Nov 22 19:40:40 2026\n';
    const later = header.replace('19:40:40', '19:50:40');
    const text = `${header}${dump([[[1, 0]]])}${later}${dump([[[2, 0]], [[3, 1]]])}`;
    reader.feed(new TextEncoder().encode(text));
    reader.end();
    expect(reader.dumps.length).toBe(2);
    const { rules } = decode(Buffer.concat(encode(reader.dumps)));
    const withoutLines = (all: readonly RuleSet[]) =>
      JSON.stringify(all.map(flat)).replace(/\[\d+,"-j/g, '["-j');
    expect(withoutLines(rules)).toBe(withoutLines(reader.dumps));
  });

  it('of nftables are told by parts and elements', () => {
    const nft = (ports: readonly number[]): NftablesRules => ({
      kind: 'nftables',
      family: 4,
      backend: 'nft',
      chains: new Map([['services', { name: 'services', rules: [{ expressions: [{ a: 1 }] }] }]]),
      sets: new Map(),
      maps: new Map([
        [
          'service-ips',
          {
            name: 'service-ips',
            keyTypes: ['ipv4_addr'],
            valueType: 'verdict',
            flags: [],
            elements: ports.map((port) => ({ key: `10.96.0.${port}`, value: { drop: null } })),
          },
        ],
      ]),
    });
    const ports = Array.from({ length: 200 }, (_, i) => i);
    const sets = [nft(ports), nft(ports.toSpliced(50, 3, 250)), nft([])];
    const [whole, change] = encode(sets).map((bytes) => bytes.length);
    expect(whole).toBeGreaterThan(8_000);
    expect(change).toBeLessThan(250);
    expect(decode(Buffer.concat(encode(sets))).rules).toEqual(sets);
  });

  it('damaged anywhere give rules or a problem, never more', () => {
    const random = seeded(41);
    const dumps: Chains[] = [
      [[[1, 0]], [[2, 2]]],
      [[[1, 1]], [[4, 2]], [[2, 2]]],
    ];
    const sets = dumps.map((one) => read(dump(one)));
    const [whole = new Uint8Array(0), change = new Uint8Array(0)] = encode(sets);
    const problems = new Set<string | undefined>();
    for (let round = 0; round < 2_000; round++) {
      const bytes = change.slice();
      for (let i = 1 + Math.floor(random() * 3); i > 0; i--) {
        bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      }
      const { rules, problem } = decode(Buffer.concat([whole, bytes]));
      expect(rules.length).toBeLessThanOrEqual(2);
      problems.add(problem);
    }
    expect(problems).toEqual(new Set([undefined, 'recording-damaged']));
    // Without the rules that it tells of it is nothing.
    expect(decode(change)).toEqual({ rules: [], problem: 'recording-damaged' });
  });
});
