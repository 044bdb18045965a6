import { rulesFingerprint } from '../../decode/rules/fingerprint.js';
import { iptablesServices } from '../../decode/rules/iptables-services.js';
import { nftServices } from '../../decode/rules/nft-services.js';
import type { InputEvent } from '../../model/event.js';
import { type Problem, UsageError } from '../../model/problem.js';
import type { RuleSet, Table } from '../../model/ruleset.js';
import type { ServiceEntry } from '../../model/services.js';
import type { Nanos } from '../../model/time.js';
import type { InputFile } from './expand.js';
import type { OnProblem } from './losses.js';
import { isLaterOfPair } from './pairs.js';

/** One dump of rules, with the file that it stands in. */
export interface RuleDump {
  readonly file: InputFile;
  readonly rules: RuleSet;
  /** When it was taken, by the file's name or else by its own header. */
  readonly time?: Nanos;
}

/** Where dumps go. */
export interface PlacedRules {
  /** What holds from the beginning. */
  readonly prelude: readonly InputEvent[];
  /** What holds from its time on, in order of time. */
  readonly dated: readonly InputEvent[];
  /** Files without a time that another one leaves no place for. */
  readonly leftOut: readonly InputFile[];
}

/**
 * Puts dumps in order. Of each family and back end of a node the one without a time, else the
 * earliest, holds from the beginning (nothing tells what was before it), the others from their times
 * on, if they say more than new counters. A dump that lacks a table (`iptables-save -t nat`) says nothing
 * about that table: what was known of it stays. Of `X.before.txt` and `X.txt`, both without a time, only the first has a place. Throws
 * UsageError for two other dumps of one kind without a time that contradict each other.
 */
export function placeRules(dumps: readonly RuleDump[], onProblem: OnProblem): PlacedRules {
  const prelude: InputEvent[] = [];
  const dated: { readonly time: Nanos; readonly event: InputEvent }[] = [];
  const leftOut: InputFile[] = [];
  for (const series of bySeries(dumps)) {
    const timeless = series.filter(({ time }) => time === undefined);
    const files = timeless.map(({ file }) => file);
    const first = timeless.filter(({ file }) => !isLaterOfPair(file, files));
    leftOut.push(...files.filter((file) => isLaterOfPair(file, files)));
    refuseContradiction(first);
    const known = new KnownRules(onProblem);
    for (const dump of first) known.add(dump);
    const later = series
      .flatMap((dump) => (dump.time === undefined ? [] : [{ dump, time: dump.time }]))
      .sort((a, b) => compare(a.time, b.time));
    const earliest = first.length === 0 ? later.shift() : undefined;
    if (earliest !== undefined) known.add(earliest.dump);
    prelude.push(...known.event(undefined));
    for (const { dump, time } of later) {
      if (!known.add(dump)) continue;
      for (const event of known.event(time)) dated.push({ time, event });
    }
  }
  // A stable sort: dumps of one time keep the order of their series.
  dated.sort((a, b) => compare(a.time, b.time));
  return { prelude, dated: dated.map(({ event }) => event), leftOut };
}

/** Dumps by what they are dumps of; the series in an order of their own. */
function bySeries(dumps: readonly RuleDump[]): readonly (readonly RuleDump[])[] {
  const series = new Map<string, RuleDump[]>();
  for (const dump of dumps) {
    const { kind, family, backend } = dump.rules;
    const key = `${dump.file.node ?? ''}\0${kind}\0${family}\0${backend}`;
    const known = series.get(key);
    if (known === undefined) series.set(key, [dump]);
    else known.push(dump);
  }
  return [...series.keys()].sort().map((key) => series.get(key) ?? []);
}

/** What is known of one series at one moment. */
class KnownRules {
  private rules: RuleSet | undefined;
  private services: readonly ServiceEntry[] = [];
  private file: InputFile | undefined;
  private readonly onProblem: OnProblem;

  constructor(onProblem: OnProblem) {
    this.onProblem = onProblem;
  }

  /** Takes a dump in; false if it told nothing but counters. */
  add({ rules, file }: RuleDump): boolean {
    const before = this.rules;
    if (before !== undefined && addsNothing(before, rules)) return false;
    this.file = file;
    this.rules = onTopOf(before, rules);
    const problems: Problem[] = [];
    this.services = servicesOf(this.rules, problems);
    for (const problem of problems) this.onProblem(file.name, problem);
    return true;
  }

  event(time: Nanos | undefined): InputEvent[] {
    const { rules, services, file } = this;
    if (rules === undefined) return [];
    const node = file?.node;
    return [
      {
        type: 'rules',
        ...(time === undefined ? {} : { time }),
        ...(node === undefined ? {} : { node }),
        rules,
        services,
      },
    ];
  }
}

/** Whether a dump says nothing that is not known, whatever its counters. */
function addsNothing(known: RuleSet, rules: RuleSet): boolean {
  if (known.kind !== 'iptables' || rules.kind !== 'iptables') {
    return rulesFingerprint(known) === rulesFingerprint(rules);
  }
  return [...rules.tables.values()].every((table) => {
    const before = known.tables.get(table.name);
    return before !== undefined && sameTable(before, table);
  });
}

function onTopOf(before: RuleSet | undefined, rules: RuleSet): RuleSet {
  if (before?.kind !== 'iptables' || rules.kind !== 'iptables') return rules;
  return { ...rules, tables: new Map([...before.tables, ...rules.tables]) };
}

function servicesOf(rules: RuleSet, problems: Problem[]): ServiceEntry[] {
  return rules.kind === 'iptables'
    ? iptablesServices(rules, problems)
    : nftServices(rules, problems);
}

function refuseContradiction(dumps: readonly RuleDump[]): void {
  const seen = new Map<string, { readonly part: Table | RuleSet; readonly file: InputFile }>();
  for (const { file, rules } of dumps) {
    // A listing of nft is whole; of iptables one dump may have tables that another lacks.
    const parts: Iterable<[string, Table | RuleSet]> =
      rules.kind === 'iptables' ? rules.tables : [['', rules]];
    for (const [name, part] of parts) {
      const other = seen.get(name);
      if (other === undefined) {
        seen.set(name, { part, file });
      } else if (!samePart(other.part, part)) {
        throw new UsageError(
          `two dumps of the same rules without a time differ: ${other.file.name} and ${file.name}; say when each was taken, FILE@TIME (seconds since 1970 or RFC 3339), or leave one out`,
        );
      }
    }
  }
}

function samePart(a: Table | RuleSet, b: Table | RuleSet): boolean {
  if ('kind' in a || 'kind' in b) return 'kind' in a && 'kind' in b && addsNothing(a, b);
  return sameTable(a, b);
}

/** Whether two dumps of a table say the same, whatever their counters. */
function sameTable(a: Table, b: Table): boolean {
  if (a.chains.size !== b.chains.size) return false;
  for (const [name, chain] of b.chains) {
    const other = a.chains.get(name);
    if (other === undefined || other.policy !== chain.policy) return false;
    if (other.rules.length !== chain.rules.length) return false;
    if (chain.rules.some(({ text }, i) => other.rules[i]?.text !== text)) return false;
  }
  return true;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
