import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonFault } from '../../src/decode/json-fault.js';

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe('the place of a fault in JSON', () => {
  it.each([
    ['nothing at all', '', 0, 1],
    ['a text cut in a key', '{"ki', 4, 1],
    ['a text cut in a string behind a line feed', '{\n"a": "b', 9, 2],
    ['a text cut behind a backslash', '["a\\', 3, 1],
    ['a comma too many', '[1,]', 3, 1],
    ['a bracket of the wrong kind', '{"a":{]}', 6, 1],
    ['a missing colon', '{"a" 1}', 5, 1],
    ['a key that is none', '{a:1}', 1, 1],
    ['a word that is none', '[true,\n nul]', 8, 2],
    ['a number that is none', '[01]', 1, 1],
    ['an unknown escape', '["\\x"]', 2, 1],
    ['a control character in a string', '["a\u0001"]', 3, 1],
    ['something behind the end', '{} {}', 3, 1],
    ['a sign of no meaning', '\u00e9', 0, 1],
    ['bytes behind a byte order mark', '\ufeff[}', 4, 1],
    ['deep nesting that is cut', '['.repeat(100_000), 100_000, 1],
  ])('is told for %s', (_name, text, offset, line) => {
    expect(jsonFault(bytesOf(text))).toEqual({ offset, line });
  });

  it('is the end of a text that was cut, wherever that was', () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), (text, at) => {
        const cut = text.slice(0, at % (text.length + 1));
        fc.pre(!isJson(cut));
        // Cut within a number or word, its beginning is the place.
        const rest = /[\w.+-]*$/.exec(cut)?.[0].length ?? 0;
        const end = bytesOf(cut).length;
        const { offset = -1 } = jsonFault(bytesOf(cut));
        expect(offset).toBeGreaterThanOrEqual(
          end - bytesOf(cut.slice(cut.length - rest)).length - 1,
        );
        expect(offset).toBeLessThanOrEqual(end);
      }),
      { numRuns: 200 },
    );
  });

  it('lies at or behind the end only of what is JSON or was cut, and within any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const { offset = -1 } = jsonFault(bytes);
        expect(offset).toBeGreaterThanOrEqual(0);
        expect(offset).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 300 },
    );
  });

  it('is the end of sound JSON, of which nothing is wrong', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(jsonFault(bytesOf(text)).offset).toBe(bytesOf(text).length);
      }),
      { numRuns: 200 },
    );
  });
});
