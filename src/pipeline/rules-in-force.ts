import { formatEndpoint } from '../model/address.js';
import type { Attribution } from '../model/attribution.js';
import type { End, SeenChange } from '../model/case.js';
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
  private readonly atBegin = new Map<string, RulesEvent>();
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
    const known = this.atBegin.get(key);
    if (
      !isLater ||
      // Nothing else is known of the rules at its beginning; or only names have been learnt.
      known === undefined ||
      (event.again === true && known.rules === rules) ||
      // A dump is taken some time after the rules were written: this one shows the way that it took.
      (this.attribution.rules !== undefined && !this.leads(known) && this.leads(event))
    ) {
      this.atBegin.set(key, event);
    }
    if (before === undefined || event.again === true || time === undefined) return;
    for (const said of differences(this.own(before), this.own(event))) {
      this.changed.push({ time, kind: 'rules', ...said });
    }
    // Those before its beginning may be many, and only the last of them count.
    if (this.changed.length > MAX_CHANGES) this.changed.splice(0, MAX_CHANGES / 2);
  }

  get sets(): readonly RuleSet[] {
    return this.inOrder.map(({ rules }) => rules);
  }

  get entries(): readonly ServiceEntry[] {
    return this.inOrder.flatMap(({ services }) => services);
  }

  /** After `from` and not after `to`. */
  changes(from: Nanos | undefined, to: Nanos): readonly SeenChange[] {
    return this.changed.filter(({ time }) => (from === undefined || time > from) && time <= to);
  }

  /** In an order of their own, whichever were read first. */
  private get inOrder(): readonly RulesEvent[] {
    return [...this.atBegin].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, event]) => event);
  }

  private leads(event: RulesEvent): boolean {
    const { backend } = this.attribution;
    return this.own(event).some(({ routes }) =>
      routes.some(({ ip, port }) => ip === backend?.ip && port === backend.port),
    );
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

type Difference = Pick<SeenChange, 'what' | 'endpoint'>;

/** What two rule sets say differently of one Service's address. */
function differences(
  before: readonly ServiceEntry[],
  after: readonly ServiceEntry[],
): readonly Difference[] {
  const [was, is] = [endpointsOf(before), endpointsOf(after)];
  const said: Difference[] = [];
  if (before.length === 0 && after.length > 0) {
    said.push({ what: 'the rules have its address now' });
  }
  if (before.length > 0 && after.length === 0) {
    said.push({ what: 'the rules do not have its address any more' });
  }
  for (const [name, end] of was) {
    if (is.has(name)) continue;
    const what = `the rules do not lead to ${name} any more`;
    said.push({ what, endpoint: { ...end, became: 'removed' } });
  }
  for (const [name, end] of is) {
    if (was.has(name)) continue;
    said.push({ what: `the rules lead to ${name} now`, endpoint: { ...end, became: 'added' } });
  }
  return [...said, ...refusals(before, after)];
}

function refusals(
  before: readonly ServiceEntry[],
  after: readonly ServiceEntry[],
): readonly Difference[] {
  const refusal = (all: readonly ServiceEntry[]): string | undefined =>
    all.find(({ action }) => action !== 'dnat')?.action;
  const [was, is] = [refusal(before), refusal(after)];
  if (was === is || before.length === 0 || after.length === 0) return [];
  const what = is === undefined ? `the rules do not ${was} it any more` : `the rules ${is} it now`;
  return [{ what }];
}

function endpointsOf(entries: readonly ServiceEntry[]): Map<string, End> {
  const all = new Map<string, End>();
  for (const { routes } of entries) {
    for (const { ip, port } of routes) all.set(formatEndpoint(ip, port), { ip, port });
  }
  return all;
}
