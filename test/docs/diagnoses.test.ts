import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { codesInSource, whyNotCodesInSource } from '../explain/codes.js';

const text = readFileSync(new URL('../../docs/diagnoses.md', import.meta.url), 'utf8');
const sections = new Map(
  text
    .split(/^### /m)
    .slice(1)
    .map((section) => [section.slice(0, section.indexOf('\n')), section] as const),
);

describe('docs/diagnoses.md', () => {
  it('has a section for every finding, and for no other', () => {
    expect([...sections.keys()].sort()).toEqual(
      [...codesInSource(), ...whyNotCodesInSource()].sort(),
    );
  });

  it.each([...sections])('tells of %s how to make it and what to do', (_, section) => {
    expect(section).toMatch(/\*\*In the lab:\*\* \S/);
    expect(section).toMatch(/\*\*Do:\*\* \S/);
  });
});
