import type { Explanation } from '../../model/explanation.js';
import type { Finding } from '../../model/finding.js';
import type { Story, StoryLine } from '../../model/story.js';
import { type Fact, factsOf, placesOf } from './facts.js';
import { walkList } from './html-walk.js';
import { waysTable } from './html-ways.js';
import { markup } from './markup.js';
import { titleOf } from './sentence.js';
import { walkFigure } from './svg.js';
import { colorsFor, DRAWING_STYLE } from './theme.js';
import { clock, sinceWords, uncertaintyWords } from './words.js';

/**
 * The page forbids itself everything but its own style sheet: names in packets and comments are hostile,
 * and should one of them get through as markup, it still could not run, load or send anything.
 */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE = [
  colorsFor(':root'),
  ':root{color-scheme:light dark}',
  '*{box-sizing:border-box}',
  'body{margin:0 auto;padding:1rem clamp(.75rem,3vw,2.5rem) 3rem;max-width:100rem;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}',
  'h1{font-size:1.35rem;line-height:1.3;margin:.5rem 0 1rem}h2{font-size:1.1rem;margin:2rem 0 .5rem;color:var(--accent)}h3{font-size:1rem;margin:1.25rem 0 .25rem}',
  'code,.rule,td,.when{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.85rem}',
  '.skip{position:absolute;left:-999rem}.skip:focus{position:static}',
  'a{color:var(--accent)}:focus-visible{outline:3px solid var(--accent);outline-offset:2px}',
  '.way{display:flex;flex-wrap:wrap;gap:.5rem;padding:0;margin:0 0 1rem;list-style:none}',
  '.way li{flex:1 1 16rem;border:1px solid var(--edge);border-radius:8px;padding:.6rem .8rem;background:var(--lane)}.way b{display:block}.way small{color:var(--dim);display:block}',
  'dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0}dt{color:var(--dim)}dd{margin:0}',
  '.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}.dim{color:var(--dim)}',
  'figure{margin:0}.scroll{overflow-x:auto;border:1px solid var(--edge);border-radius:8px;background:var(--paper)}.scroll svg{display:block}figcaption{color:var(--dim);font-size:.9rem;padding:.4rem 0}',
  'table{border-collapse:collapse;min-width:100%}th{text-align:left;color:var(--dim);font-weight:600;font-size:.85rem}th,td{padding:.25rem .75rem .25rem .5rem;border-bottom:1px solid var(--edge);vertical-align:top;overflow-wrap:normal}td.num,th.num{text-align:right;white-space:nowrap}',
  'tr.taken td{background:var(--good-fill)}meter{width:6rem;height:.8rem}',
  'ol.rules{list-style:none;margin:0;padding:0}ol.rules li{border-left:2px solid var(--edge);padding:.15rem 0 .15rem .6rem;margin-left:calc(var(--depth,0)*1.1rem)}',
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((depth) => `.d${depth}{--depth:${depth}}`),
  'ol.rules li.chain{font-weight:700;border-color:transparent;padding-top:.4rem}ol.rules li.matched{border-color:var(--good);background:var(--good-fill)}ol.rules li.refused{border-color:var(--bad);background:var(--bad-fill)}ol.rules li.unknown{border-color:var(--warn);background:var(--warn-fill)}ol.rules li.passed{color:var(--dim)}ol.rules li.end{border-color:var(--accent);background:var(--accent-fill);font-weight:600}',
  '.about{display:block;font-size:.85rem}.count{float:right;color:var(--dim);font-size:.8rem;padding:0 .5rem}',
  'summary{cursor:pointer;color:var(--dim)}details details{margin-left:1rem}',
  'article{border:1px solid var(--edge);border-left-width:6px;border-radius:8px;padding:.5rem 1rem;margin:.75rem 0}article.fault{border-left-color:var(--bad)}article.odd{border-left-color:var(--warn)}article.fact{border-left-color:var(--accent)}article h3{margin:.25rem 0}',
  'ul{margin:.25rem 0;padding-left:1.25rem}',
  DRAWING_STYLE,
  '@media print{.scroll{overflow:visible}.scroll svg{max-width:100%;height:auto}}',
].join('\n');

/** One page that needs nothing else: no script, no network, nothing of its own but its style. */
export function renderHtml(explanation: Explanation): string {
  const { attribution, walk, story, findings, remarks } = explanation;
  const title = markup(titleOf(explanation));
  const happened = attribution !== undefined;
  const sections = [
    head(explanation),
    section(
      'diagnosis',
      'The diagnosis',
      happened || findings.length > 0 ? diagnosis(findings) : '',
    ),
    section('walk', 'The walk', walk === undefined ? '' : figure(explanation)),
    section(
      'ways',
      happened ? 'Where it could have gone' : 'Where it goes',
      walk === undefined ? '' : waysTable(walk),
    ),
    section('story', 'The story', story === undefined ? '' : storyTable(story)),
    section('rules', 'Rule by rule', walk === undefined ? '' : walkList(walk)),
    section('limits', 'What limits this answer', remarks.length === 0 ? '' : list(remarks)),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>${title} · whichpod explain</title>
<style>
${STYLE}
</style>
</head>
<body>
<a class="skip" href="#rules">Skip the picture, to the rules</a>
<main>
<h1>${title}</h1>
${sections.filter((it) => it !== '').join('\n')}
</main>
</body>
</html>
`;
}

function section(id: string, title: string, body: string): string {
  if (body === '') return '';
  return `<section id="${id}" aria-labelledby="${id}-title">\n<h2 id="${id}-title">${title}</h2>\n${body}\n</section>`;
}

function head(explanation: Explanation): string {
  const { attribution } = explanation;
  if (attribution === undefined) return '';
  const places = placesOf(attribution).map(
    ({ role, name, address, note }) =>
      `<li><small>${role}</small><b>${markup(name)}</b><code>${markup(address)}</code><small>${markup(note)}</small></li>`,
  );
  const facts = factsOf(attribution).map(
    ({ label, text, tone }: Fact) => `<dt>${label}</dt><dd class="${tone}">${markup(text)}</dd>`,
  );
  return `<ol class="way" aria-label="From the client to the Pod">\n${places.join('\n')}\n</ol>\n<dl>\n${facts.join('\n')}\n</dl>`;
}

function figure(explanation: Explanation): string {
  return `<figure>
<div class="scroll" tabindex="0" role="group" aria-label="Picture of the walk; it may be wider than the window">
${walkFigure(explanation)}</div>
<figcaption>Chains from left to right, hooks from top to bottom; green is the way that was taken. Pointing at a rule shows its text; <a href="#rules">rule by rule</a> has the same in words.</figcaption>
</figure>`;
}

function diagnosis(findings: readonly Finding[]): string {
  if (findings.length === 0) {
    return '<p class="good">Nothing found: no known fault shows in this evidence.</p>';
  }
  return findings.map(finding).join('\n');
}

function finding({ code, weight, title, evidence, meaning, next }: Finding): string {
  const shown = evidence.map(({ from, says, time }) => {
    const at = clock(time);
    return `${from}${at === '' ? '' : ` ${at}`}: ${says}`;
  });
  const todo = next.length === 0 ? '' : `<dt>next</dt><dd>${list(next)}</dd>`;
  return `<article class="${weight}"><h3>${weight.toUpperCase()}: ${markup(title)}</h3>
<dl><dt>code</dt><dd><code>${markup(code)}</code></dd><dt>shown by</dt><dd>${list(shown)}</dd><dt>means</dt><dd>${markup(meaning)}</dd>${todo}</dl></article>`;
}

function list(items: readonly string[]): string {
  return `<ul>${items.map((it) => `<li>${markup(it)}</li>`).join('')}</ul>`;
}

/** A column a place; the words tell the way too, for those who do not see the arrow. */
function storyTable({ places, lines }: Story): string {
  if (lines.length === 0) return '<p>Nothing was seen of it.</p>';
  const columns = places.map(({ role, name, of }) => {
    const whose = of === undefined ? '' : `<br>${markup(of)}`;
    return `<th scope="col">${role === 'other' ? '' : `${role}<br>`}${markup(name)}${whose}</th>`;
  });
  const rows = lines.map((line) => {
    const cells = places.map((_, i) => `<td>${i === line.place ? storyCell(line) : ''}</td>`);
    return `<tr><td class="num">${sinceWords(line.sinceNs)}</td>${cells.join('')}</tr>`;
  });
  return `<div class="scroll" tabindex="0" role="group" aria-label="Events by place and time">
<table><thead><tr><th scope="col" class="num">since the first packet</th>${columns.join('')}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody></table></div>`;
}

function storyCell(line: StoryLine): string {
  const arrow =
    line.way === undefined
      ? ''
      : line.way === 'forward'
        ? '<span aria-label="to the Pod">→</span> '
        : '<span aria-label="to the client">←</span> ';
  const about = uncertaintyWords(line.uncertaintyNs);
  const detail = [line.detail, about].filter((it) => it !== '').join('  ');
  const more = detail === '' ? '' : `<br><span class="dim">${markup(detail)}</span>`;
  return `<span${line.bad ? ' class="bad"' : ''}>${arrow}${markup(line.what)}</span>${more}`;
}
