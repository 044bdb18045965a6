import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { renderJson } from '../../../src/sinks/explain/json.js';
import { COULD, EMPTY, EVIL_ONE, HAPPENED, REJECTED } from './samples.js';

const SAMPLES = { HAPPENED, COULD, REJECTED, EVIL_ONE, EMPTY } as const;
const schema = readFileSync(new URL('../../../docs/schema.md', import.meta.url), 'utf8');
const section = schema.split('\n# Output schema `whichpod-explain/1`\n')[1] ?? '';
/** Words in code within the first cell of a row. */
const documented = new Set(
  [...section.matchAll(/^\| (`[^|]+`) \|/gm)].flatMap((m) =>
    [...(m[1] ?? '').matchAll(/`([^`]+)`/g)].map((name) => name[1] ?? ''),
  ),
);

/** `walk.endings[].share.parts` and so on, of everything that is there. */
function paths(value: unknown, at: string): string[] {
  if (Array.isArray(value)) return value.flatMap((it) => paths(it, `${at}[]`));
  if (typeof value !== 'object' || value === null) return [at];
  return Object.entries(value).flatMap(([key, it]) => paths(it, at === '' ? key : `${at}.${key}`));
}

function nulls(value: unknown): unknown[] {
  if (value === null || value === '') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(nulls) : [];
}

describe('an explanation as JSON', () => {
  it.each(Object.entries(SAMPLES))('%s is JSON without anything unknown', (_, explanation) => {
    const json = JSON.parse(renderJson(explanation));
    expect(json.schema).toBe('whichpod-explain/1');
    expect(nulls(json)).toEqual([]);
    expect(renderJson(explanation)).toBe(renderJson(structuredClone(explanation)));
  });

  it.each(Object.entries(SAMPLES))('%s has documented fields only', (_, explanation) => {
    const fields = new Set(paths(JSON.parse(renderJson(explanation)), ''));
    const unknown = [...fields].filter(
      // The attribution is documented where its events are.
      (field) => !field.startsWith('attribution.') && !documented.has(field.replace(/\[\]$/, '')),
    );
    expect(unknown).toEqual([]);
  });

  it('has times with nanoseconds, shares exact and as numbers, rules once', () => {
    const { attribution, walk, story } = JSON.parse(renderJson(HAPPENED));
    expect(attribution.time).toBe('2026-11-22T19:55:00.200100123Z');
    expect(story.begin).toBe('2026-11-22T19:55:00.200100123Z');
    expect(walk.taken).toBe(0);
    expect(walk.endings[1].share).toEqual({
      parts: '2147483649',
      bits: 33,
      value: 2147483649 / 2 ** 33,
    });
    const texts = walk.rules.map((rule: unknown) => JSON.stringify(rule));
    expect(new Set(texts).size).toBe(texts.length);
    const last = walk.rules[walk.endings[0].steps.at(-1)];
    expect(last).toMatchObject({ table: 'nat', chain: 'POSTROUTING', position: 0 });
  });

  it('lets no foreign text act on a terminal, and gives it back as it was', () => {
    const text = renderJson(EVIL_ONE);
    expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}\p{Cs}]/u);
    expect(JSON.parse(text).remarks).toEqual(EVIL_ONE.remarks);
  });
});
