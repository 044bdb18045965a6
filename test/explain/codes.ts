import { readdirSync, readFileSync } from 'node:fs';

const FINDINGS = new URL('../../src/explain/findings/', import.meta.url);
const WHY_NOT = new URL('../../src/explain/why-not.ts', import.meta.url);

/** Every code that a finding may have, sorted: what stands in the code that makes them. */
export function codesInSource(): string[] {
  const found = new Set<string>();
  for (const name of readdirSync(FINDINGS)) {
    const text = readFileSync(new URL(name, FINDINGS), 'utf8');
    for (const m of text.matchAll(/(?:\bcode: |\bcode: CODE|CODE = )'([a-z-]+)'/g))
      found.add(m[1] ?? '');
  }
  return [...found].sort();
}

/** Every code of an answer to --why-not, sorted. */
export function whyNotCodesInSource(): string[] {
  const text = readFileSync(WHY_NOT, 'utf8');
  const found = [...text.matchAll(/\bfinding\(\s*'([a-z-]+)'/g)];
  return found.map((m) => `why-not-${m[1]}`).sort();
}
