import pc from 'picocolors';
import type { Check, CheckGroup, CheckLevel, Diagnosis } from '../model/doctor.js';
import { escapeText } from './escape.js';
import { wrapped } from './summary-block.js';

const TITLES: Readonly<Record<CheckGroup, string>> = {
  process: 'This process',
  node: 'This node',
  programs: 'Programs',
  rules: 'Rules',
  conntrack: 'conntrack',
  interfaces: 'Interfaces',
  cluster: 'Cluster',
};

/** `  warn  `: where facts begin, and what belongs to them. */
const INDENT = 8;
/** Lines longer than this are hard to read however wide the terminal. */
const WIDEST = 120;
/** Narrower, and what is left beside the indent is a column of single words. */
const NARROWEST = 40;

export interface DoctorTextOptions {
  /** Of the terminal; `undefined` where lines may be as long as they are. */
  readonly columns: number | undefined;
  readonly colors: boolean;
  /** Says how each fact was found. */
  readonly verbose: boolean;
}

/** The diagnosis for people: group by group a line a fact, what to do below it, and what it comes to at the end. */
export function doctorText(diagnosis: Diagnosis, options: DoctorTextOptions): string {
  const colors = pc.createColors(options.colors);
  const width =
    options.columns === undefined
      ? Number.POSITIVE_INFINITY
      : Math.max(NARROWEST, Math.min(options.columns, WIDEST));
  const levels: Readonly<Record<CheckLevel, (text: string) => string>> = {
    ok: colors.green,
    warn: colors.yellow,
    fail: colors.red,
  };
  const lines: string[] = [];
  const hang = (first: string, indent: number, text: string, paint = plain): void => {
    const [head = '', ...rest] = wrapped(escapeText(text), width - indent);
    lines.push(first + paint(head), ...rest.map((line) => ' '.repeat(indent) + paint(line)));
  };
  const tell = (check: Check): void => {
    const level = levels[check.level](check.level.padEnd(4));
    hang(`  ${level}  `, INDENT, check.fact);
    const inset = ' '.repeat(INDENT);
    if (check.level !== 'ok' && check.remedy !== undefined) {
      hang(`${inset}-> `, INDENT + 3, check.remedy);
    }
    if (options.verbose) hang(inset, INDENT, `found by: ${check.how}`, colors.dim);
  };
  let group: CheckGroup | undefined;
  for (const check of diagnosis.checks) {
    if (check.group !== group) {
      if (group !== undefined) lines.push('');
      lines.push(colors.bold(TITLES[check.group]));
      group = check.group;
    }
    tell(check);
  }
  lines.push('');
  const paint = diagnosis.works ? colors.green : colors.red;
  const [verdict = '', ...more] = wrapped(escapeText(summaryOf(diagnosis)), width);
  lines.push(paint(verdict), ...more.map(paint));
  if (diagnosis.works && diagnosis.misses.length > 0) {
    lines.push('It will miss:');
    for (const miss of diagnosis.misses) hang('  - ', 4, miss);
  }
  return `${lines.join('\n')}\n`;
}

function plain(text: string): string {
  return text;
}

/** `live will work: packets by ring, …`, or what keeps it from working. */
function summaryOf({ works, packets, conntrack, rules, cluster, checks }: Diagnosis): string {
  if (!works) {
    const failed = checks.filter(({ level }) => level === 'fail').map(({ fact }) => fact);
    return `live will not work: ${failed.join('; ')}`;
  }
  const names = {
    api: 'names from the cluster',
    partly: 'some names from the cluster',
    none: 'no names from a cluster',
  }[cluster];
  const parts = [
    `packets by ${packets}`,
    conntrack === 'none' ? 'no conntrack' : `conntrack by ${conntrack}`,
    rules.length === 0 ? 'no rules' : `rules of ${rules.join(' and ')}`,
    names,
  ];
  return `live will work: ${parts.join(', ')}`;
}

/** The diagnosis for programs: one object, schema `whichpod-doctor/1` (docs/schema.md). */
export function doctorJson(diagnosis: Diagnosis): string {
  const { works, packets, conntrack, rules, cluster, misses, checks } = diagnosis;
  const object = {
    schema: 'whichpod-doctor/1',
    type: 'doctor',
    works,
    live: { packets, conntrack, rules, cluster },
    misses,
    checks: checks.map(({ group, check, level, fact, remedy, misses: missed, how }) => ({
      group,
      check,
      level,
      fact: escapeText(fact),
      ...(remedy !== undefined && { remedy: escapeText(remedy) }),
      ...(missed !== undefined && { misses: escapeText(missed) }),
      how: escapeText(how),
    })),
  };
  return `${JSON.stringify(object)}\n`;
}
