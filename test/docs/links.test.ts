import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DOCUMENTS = [
  'README.md',
  'CHANGELOG.md',
  ...['docs', 'pcaps', 'pcaps/malformed'].flatMap((folder) =>
    readdirSync(join(ROOT, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `${folder}/${name}`),
  ),
];

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** Fenced blocks, and the text without them. */
function split(text: string): { readonly prose: string; readonly blocks: readonly string[] } {
  const fence = /^```.*\n([\s\S]*?)^```$/gm;
  const blocks = [...text.matchAll(fence)].map((m) => m[1] ?? '');
  return { prose: text.replace(fence, ''), blocks };
}

/** Anchors of headings, as GitHub makes them. */
function anchors(path: string): string[] {
  const { prose } = split(read(path));
  return [...prose.matchAll(/^#+ (.+)$/gm)].map((m) =>
    (m[1] ?? '')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\- _]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** Links to files and anchors that are not there. */
function brokenLinks(path: string): string[] {
  const { prose } = split(read(path));
  const targets = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map((m) => m[1] ?? '');
  return targets.filter((target) => {
    if (/^https?:/.test(target)) return false;
    const [file = '', anchor] = target.split('#');
    const to = file === '' ? path : relative(ROOT, join(ROOT, dirname(path), file));
    if (to.startsWith('..') || !existsSync(join(ROOT, to))) return true;
    if (anchor === undefined) return false;
    return statSync(join(ROOT, to)).isDirectory() || !anchors(to).includes(anchor);
  });
}

describe.each(DOCUMENTS)('%s', (path) => {
  const { prose, blocks } = split(read(path));

  it('links only to files and headings that exist', () => {
    expect(brokenLinks(path)).toEqual([]);
  });

  it('names only commands, scripts and files that exist', () => {
    const program = readdirSync(join(ROOT, 'src/cli'), { recursive: true, encoding: 'utf8' })
      .filter((name) => /^program\.ts$|\/command\.ts$/.test(name))
      .map((name) => read(`src/cli/${name}`))
      .join('\n');
    const commands = [...program.matchAll(/\.command\('([a-z]+)'\)/g)].map((m) => m[1]);
    const { scripts } = JSON.parse(read('package.json'));
    const code = [...blocks, ...[...prose.matchAll(/`([^`\n]+)`/g)].map((m) => m[1] ?? '')];
    for (const text of code) {
      const named = /(?:^|[\s$])(?:whichpod|dist\/main\.js) ([a-z][a-z-]*)\b(?![:=])/gm;
      for (const m of text.matchAll(named)) expect(commands, text).toContain(m[1]);
      for (const m of text.matchAll(/npm run ([a-z:]+)/g))
        expect(scripts).toHaveProperty(m[1] ?? '');
      for (const m of text.matchAll(/(?:^|\s)((?:test|src|pcaps|\.ci)\/[\w./-]+\w)/gm)) {
        expect(existsSync(join(ROOT, m[1] ?? '')), m[1]).toBe(true);
      }
    }
  });

  it('tells nothing by a path of the machine on which it was written', () => {
    expect(read(path)).not.toMatch(/(?<![\w./])\/(?:home|root|Users)\b/);
  });
});

/** Codes in a table of a document: the first cell of each row under a heading. */
function listed(path: string, heading: string): string[] {
  const section = read(path).split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  return [...section.matchAll(/^\| `([a-z-]+)` \|/gm)].map((m) => m[1] ?? '').sort();
}

describe('the codes of notices', () => {
  const sources = ['src/correlate', 'src/pipeline', 'src/sources', 'src/cli'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => read(`${folder}/${name}`)),
  );
  const inCode = new Set(
    sources.flatMap((text) => [
      // What stands in a notice, and what the two helpers that make notices are called with.
      ...[...text.matchAll(/notice(?:Once)?(?:\(|: )\{\s*code: '([a-z-]+)'/g)].map(
        (m) => m[1] ?? '',
      ),
      ...[...text.matchAll(/\.tell\(\s*'([a-z-]+)'/g)].map((m) => m[1] ?? ''),
      ...[...text.matchAll(/\.say\(\s*out,\s*'([a-z-]+)'/g)].map((m) => m[1] ?? ''),
    ]),
  );

  it.each([
    ['docs/schema.md', 'notice'],
    ['docs/operating.md', 'Troubleshooting'],
  ])('%s lists all that the code can say, and no other', (path, heading) => {
    expect(listed(path, heading)).toEqual([...inCode].sort());
  });
});
