import { spawnSync } from 'node:child_process';
import { SaxesParser } from 'saxes';
import { describe, expect, it } from 'vitest';
import { renderDot } from '../../../src/sinks/explain/dot.js';
import { renderHtml } from '../../../src/sinks/explain/html.js';
import { renderSvg } from '../../../src/sinks/explain/svg.js';
import { COULD, EMPTY, EVIL_ONE, HAPPENED, REJECTED } from './samples.js';

const SAMPLES = Object.entries({ HAPPENED, COULD, REJECTED, EVIL_ONE, EMPTY });

interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  text: string;
}

/** Every element of well-formed XML; throws for anything else. */
function elements(xml: string): Element[] {
  const all: Element[] = [];
  const open: Element[] = [];
  const parser = new SaxesParser();
  parser.on('error', (error) => {
    throw error;
  });
  parser.on('opentag', ({ name, attributes }) => {
    const element: Element = { name, attributes, text: '' };
    all.push(element);
    open.push(element);
  });
  parser.on('text', (text) => {
    for (const element of open) element.text += text;
  });
  parser.on('closetag', () => {
    open.pop();
  });
  parser.write(xml).close();
  return all;
}

const svgOf = (html: string): string => /<svg[\s\S]*<\/svg>/.exec(html)?.[0] ?? '';

describe('the picture', () => {
  it.each(SAMPLES)('of %s is well-formed, titled and described', (_, explanation) => {
    const all = elements(renderSvg(explanation));
    const [root] = all;
    expect(root?.attributes).toMatchObject({ role: 'img', 'aria-labelledby': 'wp-title wp-desc' });
    for (const id of ['wp-title', 'wp-desc']) {
      const named = all.find(({ attributes }) => attributes['id'] === id);
      expect(named?.text).not.toBe('');
    }
    const names = new Set(all.map(({ name }) => name));
    expect([...names].filter((name) => !DRAWN.has(name))).toEqual([]);
  });

  it.each(SAMPLES)('of %s stays within its frame, and boxes of a lane do not overlap', (_, it) => {
    const all = elements(renderSvg(it));
    const [root] = all;
    const width = Number(root?.attributes['width']);
    const boxes = all
      .filter(({ attributes }) => attributes['class'] === 'box')
      .map(({ attributes: a }) => ({
        left: Number(a['x']),
        top: Number(a['y']),
        right: Number(a['x']) + Number(a['width']),
        bottom: Number(a['y']) + Number(a['height']),
      }));
    for (const [i, a] of boxes.entries()) {
      expect(a.right).toBeLessThanOrEqual(width);
      for (const b of boxes.slice(i + 1)) {
        const apart =
          a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
        expect(apart).toBe(true);
      }
    }
  });

  it('highlights the way that was taken, and it alone', () => {
    const all = elements(renderSvg(HAPPENED));
    const taken = (kind: string): number =>
      all.filter(({ attributes }) => attributes['class'] === kind).length;
    expect(taken('endpoint taken')).toBe(1);
    expect(taken('endpoint')).toBe(3);
    const could = elements(renderSvg(COULD));
    expect(could.filter(({ attributes: a }) => a['class']?.includes('taken'))).toEqual([]);
  });
});

const GRAPHVIZ = 'dot';
const DRAWN = new Set(['svg', 'title', 'desc', 'style', 'rect', 'g', 'path', 'text', 'tspan']);

describe('the page', () => {
  it.each(SAMPLES)('of %s allows itself nothing, and asks for nothing', (_, explanation) => {
    const html = renderHtml(explanation);
    expect(html).toContain("content=\"default-src 'none'; style-src 'unsafe-inline';");
    expect(html).not.toMatch(/<(?:script|link|iframe|img|object|embed|form)\b/i);
    // Namespaces are names; no attribute leads anywhere but into the page.
    expect(html.match(/(?:src|href|action)="(?!#)/g)).toBe(null);
    expect(html.match(/url\(|@import/g)).toBe(null);
  });

  it.each(SAMPLES)(
    'of %s has every id once, and every reference leads to one',
    (_, explanation) => {
      const html = renderHtml(explanation);
      const ids = [...html.matchAll(/ id="([^"]+)"/g)].map((m) => m[1]);
      expect(new Set(ids).size).toBe(ids.length);
      const references = [...html.matchAll(/ aria-labelledby="([^"]+)"/g)];
      for (const m of references)
        for (const id of (m[1] ?? '').split(' ')) expect(ids).toContain(id);
    },
  );

  it('holds the picture, the walk in words with what was passed over folded, the story', () => {
    const html = renderHtml(HAPPENED);
    expect(elements(svgOf(html)).length).toBeGreaterThan(20);
    expect(html).toContain('<summary>4,998 rules passed over (destination is another)</summary>');
    expect(html).toContain('<meter min="0" max="1" value="0.2500">25%</meter>');
    expect(html).toContain('SYN again');
    // A phone need not hold five thousand rules.
    expect(html.length).toBeLessThan(300_000);
  });

  it('shows hostile names as text', () => {
    const html = renderHtml(EVIL_ONE);
    expect(html).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
    expect(html).not.toContain('<script');
    expect(html).not.toMatch(/ onload="x"/);
    expect(html.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Bidi_Control}\p{Cs}]/u);
    expect(renderSvg(EVIL_ONE)).not.toContain('<script');
  });
});

/** A string that begins nowhere else: what dot takes as one token. */
const DOT_TOKEN = /"(?:[^"\\]|\\[\s\S])*"|->|[A-Za-z_][A-Za-z0-9_]*|\d+(?:\.\d+)?|[{}[\];,=]|\s+/y;

describe("Graphviz's text", () => {
  it.each(SAMPLES)('of %s is made of its tokens alone, in pairs of brackets', (_, explanation) => {
    const dot = renderDot(explanation);
    let depth = 0;
    for (let at = 0; at < dot.length; ) {
      DOT_TOKEN.lastIndex = at;
      const token = DOT_TOKEN.exec(dot)?.[0];
      expect(token, dot.slice(at, at + 40)).toBeDefined();
      if (token === '{' || token === '[') depth++;
      if (token === '}' || token === ']') depth--;
      at += token?.length ?? dot.length;
    }
    expect(depth).toBe(0);
  });

  const installed = spawnSync(GRAPHVIZ, ['-V']).error === undefined;
  // Graphviz is no part of the set-up: where it is, it must agree.
  if (installed) {
    it.each(SAMPLES)('of %s is accepted by dot', (_, explanation) => {
      const { status, stderr } = spawnSync(GRAPHVIZ, ['-Tplain'], {
        input: renderDot(explanation),
      });
      expect(stderr.toString()).toBe('');
      expect(status).toBe(0);
    });
  }
});
