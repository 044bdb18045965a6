import type { InputEvent, Notice } from '../model/event.js';
import type { RuleSet } from '../model/ruleset.js';
import type { ServiceEntry } from '../model/services.js';
import type { Nanos } from '../model/time.js';
import { ClusterBook } from './cluster-book.js';
import { RuleSurvey } from './rule-survey.js';

/** The rules of one node, family and back end as they are now. */
export interface HeldRules {
  readonly node?: string;
  /** With the newest counters. */
  readonly rules: RuleSet;
  /** When they were read last. */
  readonly time?: Nanos;
  /** When the same rules, whatever their counters, were first read. */
  readonly since?: Nanos;
  readonly services: readonly ServiceEntry[];
  /** Called by comments that no hash confirms, before the cluster told better. */
  readonly unconfirmed: readonly ServiceEntry[];
}

interface Counted {
  readonly rules: RuleSet;
  readonly time: Nanos | undefined;
}

type Told = Omit<HeldRules, 'services'> & { services: readonly ServiceEntry[] };

/** Keeps the rules and the cluster that a run's events tell of as they are in the end. */
export class RuleBook {
  readonly cluster = new ClusterBook();
  private readonly survey = new RuleSurvey();
  private readonly told = new Map<string, Told>();
  private readonly counted = new Map<string, Counted>();

  /** Takes what events that come later tell of the cluster, so that Services need not be named twice. */
  prepare(events: readonly InputEvent[]): void {
    this.survey.prepare(events);
  }

  /** Takes an event in; what there is to say about it. */
  take(event: InputEvent): readonly Notice[] {
    if (event.type === 'rules') {
      const { node, rules, services, time } = event;
      this.told.set(seriesOf(node, rules), {
        ...(node !== undefined && { node }),
        rules,
        ...(time !== undefined && { time, since: time }),
        services,
        unconfirmed: services.filter(({ nameUnverified }) => nameUnverified),
      });
    }
    if (event.type === 'cluster') this.cluster.apply(event.change, event.time);
    return this.adopt(this.survey.take(event));
  }

  /** What there is to say of the rules as a whole. */
  conclude(): readonly Notice[] {
    return this.adopt(this.survey.conclude());
  }

  /** The newest dump of a series, which may say nothing but new counters. */
  count(rules: RuleSet, node: string | undefined, time: Nanos | undefined): void {
    const key = seriesOf(node, rules);
    const known = this.counted.get(key);
    if (known?.time !== undefined && (time === undefined || time < known.time)) return;
    this.counted.set(key, { rules: onTopOf(known?.rules, rules), time });
  }

  /** In an order of their own. */
  get held(): readonly HeldRules[] {
    return [...this.told.keys()].sort().flatMap((key) => {
      const told = this.told.get(key);
      if (told === undefined) return [];
      const counted = this.counted.get(key);
      if (counted === undefined) return [told];
      const { rules, time } = counted;
      return [{ ...told, rules, ...(time !== undefined && { time }) }];
    });
  }

  private adopt(events: readonly InputEvent[]): readonly Notice[] {
    const notices: Notice[] = [];
    for (const event of events) {
      if (event.type === 'notice') notices.push(event.notice);
      if (event.type !== 'rules') continue;
      const told = this.told.get(seriesOf(event.node, event.rules));
      if (told) told.services = event.services;
    }
    return notices;
  }
}

function seriesOf(node: string | undefined, { kind, family, backend }: RuleSet): string {
  return `${node ?? ''}\0${kind}\0${backend}\0${family}`;
}

/** A dump that lacks a table (`iptables-save -t nat`) says nothing about that table. */
function onTopOf(before: RuleSet | undefined, rules: RuleSet): RuleSet {
  if (before?.kind !== 'iptables' || rules.kind !== 'iptables') return rules;
  return { ...rules, tables: new Map([...before.tables, ...rules.tables]) };
}
