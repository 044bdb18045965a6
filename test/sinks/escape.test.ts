import fc from 'fast-check';
import stringWidth from 'string-width';
import { describe, expect, it } from 'vitest';
import { escapeText } from '../../src/sinks/escape.js';
import { displayWidth, shorten } from '../../src/sinks/width.js';
import { HOSTILE } from './events.js';

describe('escapeText', () => {
  it.each([
    ['plain text is untouched', 'nginx-86c57db685-vskrb', 'nginx-86c57db685-vskrb'],
    ['letters of any script are untouched', 'プロキシ-é-Ж', 'プロキシ-é-Ж'],
    ['an escape sequence becomes visible', '\u001b[31m', '\\u{1b}[31m'],
    ['C1 controls become visible', 'a\u009bb', 'a\\u{9b}b'],
    ['line ends and tabs become visible', 'a\r\n\tb', 'a\\u{d}\\u{a}\\u{9}b'],
    ['delete becomes visible', '\u007f', '\\u{7f}'],
    ['bidirectional overrides become visible', '\u202eabc\u2066', '\\u{202e}abc\\u{2066}'],
    [
      'zero-width characters become visible',
      'a\u200b\u200d\ufeffb',
      'a\\u{200b}\\u{200d}\\u{feff}b',
    ],
    ['lone surrogates become visible', '\ud800x\udfff', '\\u{d800}x\\u{dfff}'],
    ['pairs of surrogates stay together', '🚀', '🚀'],
    ['tag characters beyond the first plane become visible', '\u{e0041}', '\\u{e0041}'],
    ['spaces other than the plain one become visible', 'a b\u00a0\u3000', 'a b\\u{a0}\\u{3000}'],
    ['a combining mark cannot join the text before it', '\u0301a', '\\u{301}a'],
    ['a combining mark stays with its letter', 'e\u0301', 'e\u0301'],
  ])('%s', (_, text, expected) => {
    expect(escapeText(text)).toBe(expected);
  });

  it('leaves nothing that a terminal obeys or does not show', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(...HOSTILE),
      fc
        .array(fc.integer({ min: 0, max: 0xffff }).map((c) => String.fromCharCode(c)))
        .map((a) => a.join('')),
    );
    fc.assert(
      fc.property(text, (it) => {
        expect(escapeText(it)).not.toMatch(/[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u);
        expect(escapeText(escapeText(it))).toBe(escapeText(it));
      }),
      { numRuns: 300 },
    );
  });
});

describe('shorten', () => {
  it.each([
    ['text that fits is kept', 'nginx', 5, 'middle', 'nginx'],
    [
      'the middle goes, the unique suffix stays',
      'nginx-86c57db685-vskrb',
      15,
      'middle',
      'nginx-8…5-vskrb',
    ],
    ['the end goes', 'unknown-service', 11, 'end', 'unknown-se…'],
    ['one column is an ellipsis', 'nginx', 1, 'middle', '…'],
    ['no column is nothing', 'nginx', 0, 'middle', ''],
    ['wide characters are not cut in half', '東京東京東京', 7, 'middle', '東京…京'],
    ['an emoji is kept whole', '🚀🚀🚀', 4, 'end', '🚀…'],
  ] as const)('%s', (_, text, width, cut, expected) => {
    expect(shorten(text, width, cut)).toBe(expected);
  });

  it('a line of a tree is as wide as it is shown', () => {
    const line = '│  ├─ └─ KUBE-SEP-X — 5 µs…';
    expect(displayWidth(line)).toBe(stringWidth(line));
    expect(shorten(line, 12, 'end')).toBe('│  ├─ └─ KU…');
  });

  it('never takes more room than it has', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 40 }),
        fc.integer({ min: 0, max: 50 }),
        fc.constantFrom('middle' as const, 'end' as const),
        (text, width, cut) => {
          const safe = escapeText(text);
          const short = shorten(safe, width, cut);
          expect(stringWidth(short)).toBeLessThanOrEqual(Math.max(width, 0));
          expect(displayWidth(short)).toBe(stringWidth(short));
          if (stringWidth(safe) <= width) expect(short).toBe(safe);
        },
      ),
      { numRuns: 300 },
    );
  });
});
