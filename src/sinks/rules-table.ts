import pc from 'picocolors';
import type { RuleOverview } from '../model/rule-view.js';
import { endpointColumns, RuleLayout, rowsOf, SERVICE_COLUMN } from './rules-columns.js';
import type { RulesTextOptions } from './rules-tree.js';
import { addressWord, refusedWord, serviceWord } from './rules-words.js';

/** One row an endpoint, then the Services that have none. */
export function* rulesTable(
  overview: RuleOverview,
  { columns, colors }: RulesTextOptions,
): Generator<string> {
  const paint = pc.createColors(colors);
  const others = endpointColumns(overview).map((it) => ({ ...it, rank: it.rank + 1 }));
  const layout = new RuleLayout([SERVICE_COLUMN, ...others], overview, columns);
  yield `${paint.bold(layout.header())}\n`;
  for (const row of rowsOf(overview)) yield `${layout.row(row, paint.dim)}\n`;
  for (const { service, protocol, ways, balancers } of overview.services) {
    if (balancers.length > 0) continue;
    const where = ways.map(addressWord).join(', ');
    const why = new Set(ways.map(refusedWord));
    yield `${serviceWord(service, protocol)}  ${where}  ${paint.red([...why].join('; '))}\n`;
  }
}
