import type { Explanation } from '../../model/explanation.js';
import { escapeText } from '../escape.js';
import { displayWidth } from '../width.js';
import { type Fact, factsOf, type Place, placesOf, type Tone } from './facts.js';
import type { Page } from './text-page.js';
import { packetWords } from './words.js';
import { hang, padEnd, wrap } from './wrap.js';

/** Client -> Service -> Pod, then what came of it and how that is known. */
export function headLines(explanation: Explanation, page: Page): string[] {
  const { attribution, walk, findings } = explanation;
  if (attribution) {
    return [
      ...placeLines(placesOf(attribution), page),
      '',
      ...factLines(factsOf(attribution), page),
    ];
  }
  // A question about a Pod: the gravest finding is the answer.
  const title = findings[0]?.title ?? (walk ? '' : 'nothing is known');
  const answer = wrap(escapeText(title), page.width).map((line) => page.colors.bold(line));
  if (walk === undefined) return answer;
  const packet = packetWords(walk.possible.packet);
  const asked = factLines([{ label: 'If this came', text: packet, tone: 'plain' }], page);
  return title === '' ? asked : [...answer, '', ...asked];
}

/** In three columns where they fit, else each place on lines of its own. */
function placeLines(list: readonly Place[], { width, colors }: Page): string[] {
  const safe = list.map(({ name, address: at, note }) => ({
    name: escapeText(name),
    address: escapeText(at),
    note: escapeText(note),
  }));
  const names = Math.max(...safe.map(({ name }) => displayWidth(name)));
  const addresses = Math.max(...safe.map((it) => displayWidth(it.address)));
  const notes = Math.max(...safe.map(({ note }) => displayWidth(note)));
  const arrow = (i: number): string => (i === 0 ? '  ' : '→ ');
  if (2 + names + 2 + addresses + 2 + notes <= width) {
    return safe.map(({ name, address: at, note }, i) =>
      `${arrow(i)}${colors.bold(padEnd(name, names))}  ${padEnd(at, addresses)}  ${colors.dim(note)}`.trimEnd(),
    );
  }
  return safe.flatMap(({ name, address: at, note }, i) => [
    ...hang({ text: arrow(i), shown: arrow(i) }, name, width, colors.bold),
    ...onOneLineOrMore([at, note], width - 4).flatMap((text) =>
      hang({ text: '    ', shown: '    ' }, text, width, colors.dim),
    ),
  ]);
}

function onOneLineOrMore(texts: readonly string[], width: number): string[] {
  const some = texts.filter((text) => text !== '');
  const line = some.join('  ');
  return some.length > 1 && displayWidth(line) <= width ? [line] : some;
}

function factLines(list: readonly Fact[], { width, colors }: Page): string[] {
  const paint: Readonly<Record<Tone, (text: string) => string>> = {
    good: colors.green,
    bad: colors.red,
    warn: colors.yellow,
    plain: (text) => text,
  };
  const labels = Math.max(...list.map(({ label }) => label.length));
  return list.flatMap(({ label, text, tone }) => {
    const head = `  ${label.padEnd(labels)}  `;
    return hang({ text: head, shown: colors.dim(head) }, escapeText(text), width, paint[tone]);
  });
}
