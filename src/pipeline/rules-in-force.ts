import { formatEndpoint } from '../model/address.js';
import type { Attribution } from '../model/attribution.js';
import type { SeenChange } from '../model/case.js';
import type { InputEvent } from '../model/event.js';
import { protocolNumber } from '../model/packet.js';
import type { RuleSet } from '../model/ruleset.js';
import type { ServiceEntry } from '../model/services.js';
import type { Nanos } from '../model/time.js';

type RulesEvent = Extract<InputEvent, { type: 'rules' }>;

/** More changes of one Service's rules during one connection say nothing more. */
const MAX_CHANGES = 200;

/** The rules in force when a connection began, of its family, and what changed for it later. */
export class RulesInForce {
  /** Any rules of any family were told. */
  any = false;
  private readonly attribution: Attribution;
  private readonly begin: Nanos | undefined;
  private readonly family: 4 | 6;
  /** By kind and back end. */
  private readonly then = new Map<string, RulesEvent>();
  private readonly now = new Map<string, RulesEvent>();
  private readonly changed: SeenChange[] = [];

  constructor(attribution: Attribution, begin: Nanos | undefined) {
    this.attribution = attribution;
    this.begin = begin;
    this.family = attribution.destination.ip.includes(':') ? 6 : 4;
  }

  take(event: RulesEvent): void {
    this.any = true;
    const { rules, time } = event;
    if (rules.family !== this.family) return;
    const key = `${rules.kind} ${rules.backend}`;
    const isLater = this.begin !== undefined && time !== undefined && time > this.begin;
    const before = this.now.get(key);
    this.now.set(key, event);
    if (!isLater) {
      this.then.set(key, event);
      return;
    }
    // Nothing else is known of the rules at its beginning; or only names have been learnt.
    if (!this.then.has(key)) this.then.set(key, event);
    else if (event.again === true && this.then.get(key)?.rules === rules) this.then.set(key, event);
    if (before === undefined || event.again === true || this.changed.length >= MAX_CHANGES) return;
    const what = difference(this.own(before), this.own(event));
    if (what !== undefined) this.changed.push({ time, kind: 'rules', what });
  }

  get sets(): readonly RuleSet[] {
    return this.inOrder.map(({ rules }) => rules);
  }

  get entries(): readonly ServiceEntry[] {
    return this.inOrder.flatMap(({ services }) => services);
  }

  /** Until `end`; all without. */
  changes(end: Nanos | undefined): readonly SeenChange[] {
    return this.changed.filter(({ time }) => end === undefined || time <= end);
  }

  /** In an order of their own, whichever were read first. */
  private get inOrder(): readonly RulesEvent[] {
    return [...this.then].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, event]) => event);
  }

  private own({ services }: RulesEvent): readonly ServiceEntry[] {
    return entriesFor(this.attribution, services, undefined);
  }
}

/** The entries for the address that the client used; those of the node itself only where that is one of its own, if these are known. */
export function entriesFor(
  { destination, protocol }: Attribution,
  entries: readonly ServiceEntry[],
  own: ReadonlySet<string> | undefined,
): readonly ServiceEntry[] {
  const number = protocolNumber(protocol);
  const fitting = entries.filter(
    (entry) =>
      entry.port === destination.port &&
      entry.protocol === number &&
      (entry.address === destination.ip || entry.address === 'local'),
  );
  const exact = fitting.filter(({ address }) => address !== 'local');
  if (exact.length > 0) return exact;
  return own === undefined || own.has(destination.ip) || isLoopback(destination.ip) ? fitting : [];
}

function isLoopback(ip: string): boolean {
  return ip.startsWith('127.') || ip === '::1';
}

/** What two rule sets say differently of one Service's address; `undefined` if nothing. */
function difference(
  before: readonly ServiceEntry[],
  after: readonly ServiceEntry[],
): string | undefined {
  const [was, is] = [endpointsOf(before), endpointsOf(after)];
  const added = [...is].filter((one) => !was.has(one));
  const removed = [...was].filter((one) => !is.has(one));
  const parts = [
    ...(before.length === 0 && after.length > 0 ? ['the rules have its address now'] : []),
    ...(before.length > 0 && after.length === 0
      ? ['the rules do not have its address any more']
      : []),
    ...(removed.length > 0 ? [`the rules do not lead to ${listed(removed)} any more`] : []),
    ...(added.length > 0 ? [`the rules lead to ${listed(added)} now`] : []),
    ...refusals(before, after),
  ];
  return parts.length === 0 ? undefined : parts.join('; ');
}

function refusals(before: readonly ServiceEntry[], after: readonly ServiceEntry[]): string[] {
  const refusal = (all: readonly ServiceEntry[]): string | undefined =>
    all.find(({ action }) => action !== 'dnat')?.action;
  const [was, is] = [refusal(before), refusal(after)];
  if (was === is || before.length === 0 || after.length === 0) return [];
  if (is === undefined) return [`the rules do not ${was} any more`];
  return [`the rules ${is} now`];
}

function endpointsOf(entries: readonly ServiceEntry[]): Set<string> {
  return new Set(
    entries.flatMap(({ routes }) => routes.map(({ ip, port }) => formatEndpoint(ip, port))),
  );
}

/** More names do not make it clearer. */
const MAX_NAMED = 5;

function listed(names: readonly string[]): string {
  const shown = [...names].sort().slice(0, MAX_NAMED).join(', ');
  return names.length > MAX_NAMED ? `${shown} and ${names.length - MAX_NAMED} more` : shown;
}
