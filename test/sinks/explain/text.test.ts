import { stripVTControlCharacters } from 'node:util';
import stringWidth from 'string-width';
import { describe, expect, it } from 'vitest';
import { renderText } from '../../../src/sinks/explain/text.js';
import { expectGolden } from '../golden.js';
import { COULD, EMPTY, EVIL_ONE, HAPPENED, REJECTED } from './samples.js';

const SAMPLES = { HAPPENED, COULD, REJECTED, EVIL_ONE, EMPTY } as const;

describe('an explanation as text', () => {
  it.each([
    ['happened', HAPPENED, 80],
    ['happened', HAPPENED, 100],
    ['happened', HAPPENED, 160],
    ['could', COULD, 100],
    ['rejected', REJECTED, 80],
    ['rejected', REJECTED, 160],
    ['hostile', EVIL_ONE, 100],
  ] as const)('%s in %s %d columns is as recorded', (name, explanation, width) => {
    const text = renderText(explanation, { width, colors: false });
    expectGolden(new URL(`data/${name}-${width}.txt`, import.meta.url), text);
  });

  it.each(Object.entries(SAMPLES))('%s is never wider than the terminal', (_, explanation) => {
    for (let width = 60; width <= 200; width += width < 100 ? 10 : 35) {
      const lines = renderText(explanation, { width, colors: false }).split('\n');
      expect(Math.max(...lines.map((line) => stringWidth(line)))).toBeLessThanOrEqual(width);
    }
  });

  it.each(Object.entries(SAMPLES))('%s says the same with colours', (_, explanation) => {
    const plain = renderText(explanation, { width: 100, colors: false });
    const coloured = renderText(explanation, { width: 100, colors: true });
    expect(stripVTControlCharacters(coloured)).toBe(plain);
    if (explanation !== EMPTY) expect(coloured).not.toBe(plain);
  });

  it('lets no foreign text act on a terminal', () => {
    const text = renderText(EVIL_ONE, { width: 100, colors: false });
    expect(text.replaceAll('\n', '')).not.toMatch(
      /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u,
    );
  });

  it('folds thousands of passed-over rules into a line, and shows them where it is asked to', () => {
    const options = { width: 100, colors: false };
    expect(renderText(HAPPENED, options)).toContain(
      '… 4,998 rules passed over (destination is another)',
    );
    const all = renderText(HAPPENED, { ...options, everyRule: true });
    expect(all.split('destination is another').length - 1).toBe(4998);
  });

  it('tells which way was taken, how that is known, and what else could have been', () => {
    const text = renderText(HAPPENED, { width: 100, colors: false });
    expect(text).toContain('⇒ to 10.44.0.1:80 default/nginx-86c57db685-vskrb');
    expect(text).toContain("known because conntrack's reply tuple names 10.44.0.1:80");
    expect(text).toMatch(/▶ +25% +1\/4 +10\.44\.0\.1:80/);
    expect(text).toMatch(/ {2}25\.0000% +2147483649\/2\^33 +10\.44\.0\.3:80/);
  });

  it('tells every way of a packet that could come, with what they have in common once', () => {
    const text = renderText(COULD, { width: 100, colors: false });
    expect(text.split('KUBE-POSTROUTING\n').length - 1).toBe(1);
    expect(text.match(/⇒ 25/g)).toHaveLength(4);
  });
});
