import pc from 'picocolors';
import type { Audit, Drift, RuleOverview } from '../model/rule-view.js';
import { escapeText } from './escape.js';
import type { RulesTextOptions } from './rules-tree.js';
import { percentWord, plural, podWord, serviceWord, timeWord } from './rules-words.js';
import { humanCount } from './units.js';
import { displayWidth, shorten } from './width.js';

/** An endpoint's name is shown up to here. */
const MAX_NAME = 48;
const NARROW = 100;
const NARROW_NAME = 28;

/** In what rules and cluster differ, for people. */
export function* driftReport(
  drifts: readonly Drift[],
  overview: RuleOverview,
  { colors }: RulesTextOptions,
): Generator<string> {
  const paint = pc.createColors(colors);
  let last: string | undefined;
  for (const { code, service, protocol, detail, since } of drifts) {
    const who = service === undefined ? 'of no Service' : serviceWord(service, protocol);
    if (who !== last) yield `${last === undefined ? '' : '\n'}${paint.bold(who)}\n`;
    last = who;
    const when = since === undefined ? '' : ` (since ${timeWord(since)})`;
    yield `  ${paint.red(code.padEnd(16))}  ${escapeText(detail)}${when}\n`;
  }
  const compared = `${plural(overview.services.length, 'Service port')} compared`;
  if (drifts.length > 0) {
    yield `\n${plural(drifts.length, 'difference')} between rules and cluster; ${compared}\n`;
  } else {
    yield `rules and cluster agree: ${compared}\n`;
  }
}

/** How evenly endpoints were chosen, for people: what is skewed first. */
export function* auditReport(
  audits: readonly Audit[],
  { columns, colors }: RulesTextOptions,
): Generator<string> {
  const paint = pc.createColors(colors);
  const order = ['skewed', 'even', 'too few', 'no choice'];
  const shown = audits
    .filter(({ verdict, total }) => verdict !== 'no choice' && total > 0)
    .sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict));
  const common = commonRemarks(shown);
  const width = columns !== undefined && columns < NARROW ? NARROW_NAME : MAX_NAME;
  for (const audit of shown) {
    yield* auditOne(audit, paint, width, common);
    yield '\n';
  }
  for (const remark of common) yield `note: ${escapeText(remark)}\n`;
  const [first] = shown;
  if (first?.over === 'counters') {
    yield 'note: rules count the first packet of each connection; what was sent in it later, and how much (keep-alive), they do not see\n';
  }
  yield `${sumOf(audits)}\n`;
}

function* auditOne(
  { service, protocol, node, chain, verdict, total, test, needed, endpoints, remarks }: Audit,
  paint: ReturnType<typeof pc.createColors>,
  width: number,
  common: ReadonlySet<string>,
): Generator<string> {
  const what =
    verdict === 'skewed'
      ? paint.red('SKEWED')
      : verdict === 'even'
        ? paint.green('even')
        : paint.yellow(verdict);
  const where = [node, chain].flatMap((it) => (it === undefined ? [] : escapeText(it))).join(' ');
  yield `${paint.bold(serviceWord(service, protocol))}  ${paint.dim(where)}  ${what}\n`;
  if (verdict === 'too few') {
    const enough = needed === undefined ? '' : `; some ${humanCount(needed)} would do`;
    yield `  ${plural(total, 'connection')}: too few to tell chance from bias${enough}\n`;
  } else if (test !== undefined) {
    const pooled =
      test.cells < endpoints.length ? `, ${test.cells} groups of endpoints compared` : '';
    yield `  ${plural(total, 'connection')}, chi-squared ${test.chiSquared.toFixed(2)} with ${test.degrees} degrees of freedom, p ${pWord(test.p)}${pooled}\n`;
  }
  const name = (it: (typeof endpoints)[number]): string =>
    shorten(podWord(it, service?.namespace), width, 'middle');
  const names = endpoints.map(name);
  const widest = Math.max('POD'.length, ...names.map(displayWidth));
  const hasBytes = endpoints.some(({ traffic }) => traffic !== undefined);
  yield paint.dim(
    `  ${'POD'.padEnd(widest)}  ${'EXPECTED'.padStart(9)}  ${'OBSERVED'.padStart(9)}  ${'SHARE'.padStart(8)}${hasBytes ? `  ${'BYTES'.padStart(12)}` : ''}\n`,
  );
  for (const [i, { observed, expected, traffic }] of endpoints.entries()) {
    const label = (names[i] ?? '') + ' '.repeat(widest - displayWidth(names[i] ?? ''));
    const share = total === 0 ? '' : percentWord(observed / total);
    const bytes = hasBytes ? `  ${humanCount(traffic?.bytes ?? 0).padStart(12)}` : '';
    yield `  ${label}  ${expected.toFixed(1).padStart(9)}  ${humanCount(observed).padStart(9)}  ${share.padStart(8)}${bytes}\n`;
  }
  for (const remark of remarks) if (!common.has(remark)) yield `  ${escapeText(remark)}\n`;
}

/** What is said of every one is said once. */
function commonRemarks(audits: readonly Audit[]): ReadonlySet<string> {
  const counts = new Map<string, number>();
  for (const { remarks } of audits) {
    for (const remark of remarks) counts.set(remark, (counts.get(remark) ?? 0) + 1);
  }
  return new Set([...counts].filter(([, count]) => count > 1).map(([remark]) => remark));
}

function sumOf(audits: readonly Audit[]): string {
  const quiet = audits.filter(
    ({ verdict, total }) => verdict !== 'no choice' && total === 0,
  ).length;
  const of = (verdict: Audit['verdict']): number =>
    audits.filter((audit) => audit.verdict === verdict && audit.total > 0).length;
  const one = audits.filter(({ verdict }) => verdict === 'no choice').length;
  if (audits.length === 0) {
    return 'nothing to audit: no counters, and no connections that were balanced';
  }
  const parts = [
    `${of('skewed')} skewed`,
    `${of('even')} even`,
    ...(of('too few') > 0 ? [`${of('too few')} with too few connections to tell`] : []),
    ...(quiet > 0 ? [`${quiet} without any`] : []),
    ...(one > 0 ? [`${one} with one endpoint`] : []),
  ];
  return parts.join(', ');
}

function pWord(p: number): string {
  return p < 1e-4 ? p.toExponential(1) : p.toFixed(4);
}
