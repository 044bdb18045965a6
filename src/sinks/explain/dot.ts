import type { Explanation } from '../../model/explanation.js';
import { escapeText } from '../escape.js';
import { type Box, type Graph, graphOf, type Row } from './graph.js';
import { titleOf } from './sentence.js';
import { HOOK_TITLES } from './words.js';

/** The walk in Graphviz's language: a cluster a hook, a box a chain, the way that was taken in green. */
export function renderDot(explanation: Explanation): string {
  const { walk } = explanation;
  const graph: Graph = walk === undefined ? { lanes: [], left: 0 } : graphOf(walk);
  const lines: string[] = [
    'digraph walk {',
    '  rankdir=LR;',
    `  label=${quoted(titleOf(explanation))};`,
    '  labelloc=t;',
    '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=monospace, fontsize=10];',
    '  edge [fontname=monospace, fontsize=9];',
  ];
  let count = 0;
  const put = (box: Box): string => {
    const name = `n${count++}`;
    const label = [heading(box), ...box.rows.map(rowLabel)].map((line) => `${inside(line)}\\l`);
    const look = box.taken
      ? `, color="#0b6b3a", penwidth=2${box.kind === 'chain' ? '' : ', fillcolor="#dff3e6"'}`
      : '';
    lines.push(`    ${name} [label="${label.join('')}"${look}];`);
    for (const row of box.rows) {
      for (const to of row.to) {
        const taken = row.taken && to.taken ? ', color="#0b6b3a", penwidth=2' : '';
        const edge = `label=${quoted(row.share)}${taken}`;
        lines.push(`    ${name} -> ${put(to)} [${edge}];`);
      }
    }
    return name;
  };
  graph.lanes.forEach(({ hook, boxes, quiet }, i) => {
    lines.push(`  subgraph cluster_${i} {`, `    label=${quoted(HOOK_TITLES[hook])};`);
    for (const box of boxes) put(box);
    if (boxes.length === 0) {
      lines.push(`    n${count++} [shape=plaintext, label=${quoted(quiet.join('; '))}];`);
    }
    lines.push('  }');
  });
  if (graph.left > 0) {
    lines.push(`  left [shape=plaintext, label="${graph.left} more ways are not drawn"];`);
  }
  return `${[...lines, '}'].join('\n')}\n`;
}

const heading = ({ title, about }: Box): string => (about === '' ? title : `${title}  (${about})`);

function rowLabel({ number, label }: Row): string {
  return number === '' ? label : `${number} ${label}`;
}

/** Within a quoted string of dot only the quotation mark and the backslash act. */
function inside(text: string): string {
  return escapeText(text).replace(/[\\"]/g, (c) => `\\${c}`);
}

const quoted = (text: string): string => `"${inside(text)}"`;
