import type { ExplainedWalk } from '../../model/explanation.js';
import { toNumber } from '../../model/share.js';
import { markup } from './markup.js';
import { type Way, waysOf } from './ways.js';

/** The distribution: a row for each end, a bar for its share. */
export function waysTable(walk: ExplainedWalk): string {
  const tables = waysOf(walk).map(({ assuming, ways }) => {
    const head = assuming.map((it) => `<p class="warn">${markup(it)}</p>`).join('');
    return `${head}<div class="scroll" tabindex="0" role="group" aria-label="Where it can go, with probabilities"><table>
<thead><tr><th scope="col"></th><th scope="col" class="num">share</th><th scope="col" class="num">exactly</th><th scope="col">to</th><th scope="col">Pod</th><th scope="col">node</th><th scope="col"></th></tr></thead>
<tbody>
${ways.map(row).join('\n')}
</tbody></table></div>`;
  });
  const remarks = walk.possible.remarks.map((it) => `<p class="warn">${markup(it)}</p>`);
  return [...tables, ...remarks].join('\n');
}

function row(way: Way): string {
  const value = toNumber(way.share).toFixed(4);
  const bad = way.kind === 'dropped' || way.kind === 'rejected' ? ' class="bad"' : '';
  const notes = way.taken ? ['taken', ...way.notes] : way.notes;
  return `<tr${way.taken ? ' class="taken"' : ''}><td><meter min="0" max="1" value="${value}">${way.percent}</meter></td><td class="num">${markup(way.percent)}</td><td class="num">${way.exact}</td><td${bad}>${markup(way.to)}</td><td>${markup(way.pod)}</td><td>${markup(way.node)}</td><td>${markup(notes.join(', '))}</td></tr>`;
}
