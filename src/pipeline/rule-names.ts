import { isUnnamed, KnownNames } from '../decode/rules/known-names.js';
import type { ServiceRecord } from '../model/cluster.js';
import type { InputEvent } from '../model/event.js';
import type { ServiceEntry } from '../model/services.js';

type RulesEvent = Extract<InputEvent, { type: 'rules' }>;

/** Rules of which some Services are called by nothing that a hash confirms. */
interface Unnamed {
  readonly event: RulesEvent;
  /** What was last handed on. */
  named: readonly ServiceEntry[];
}

/**
 * Gives Services in rules the names that their chains' hashes stand for, where comments are missing or
 * do not fit: of the cluster's Services the one whose name has that hash. With the cluster's Services
 * known, a comment that the hash denies is not believed; without, it stays, marked.
 */
export class RuleNames {
  private readonly services = new Map<string, ServiceRecord>();
  private readonly unnamed = new Map<string, Unnamed>();
  private names: KnownNames | undefined;

  /** What an event of the cluster tells; the rules that can be named better now. */
  learn(event: InputEvent): readonly InputEvent[] {
    if (event.type !== 'cluster' || !this.apply(event)) return [];
    this.names = undefined;
    const better: InputEvent[] = [];
    for (const unnamed of this.unnamed.values()) {
      const services = this.named(unnamed.event.services);
      if (sameNames(services, unnamed.named)) continue;
      unnamed.named = services;
      const { time: _, ...rules } = unnamed.event;
      const time = event.time ?? unnamed.event.time;
      better.push({ ...rules, ...(time !== undefined && { time }), services, again: true });
    }
    return better;
  }

  /** The rules with the names that are known. */
  name(event: RulesEvent): RulesEvent {
    const { rules, node = '' } = event;
    const key = `${node}\0${rules.kind}\0${rules.family}\0${rules.backend}`;
    if (!event.services.some(isUnnamed)) {
      this.unnamed.delete(key);
      return event;
    }
    const services = this.named(event.services);
    this.unnamed.set(key, { event, named: services });
    return { ...event, services };
  }

  private named(services: readonly ServiceEntry[]): readonly ServiceEntry[] {
    if (this.services.size === 0) return services;
    this.names ??= new KnownNames(this.services.values());
    const { names } = this;
    return services.map((entry) => (isUnnamed(entry) ? names.named(entry) : entry));
  }

  private apply({ change }: Extract<InputEvent, { type: 'cluster' }>): boolean {
    const { services } = this;
    if (change.op === 'list') {
      if (change.kind !== 'service') return false;
      services.clear();
      for (const item of change.items) if (item.kind === 'service') services.set(keyOf(item), item);
      return true;
    }
    if (change.item.kind !== 'service') return false;
    if (change.op === 'set') services.set(keyOf(change.item), change.item);
    else services.delete(keyOf(change.item));
    return true;
  }
}

function keyOf({ namespace, name }: ServiceRecord): string {
  return `${namespace}/${name}`;
}

function sameNames(a: readonly ServiceEntry[], b: readonly ServiceEntry[]): boolean {
  return a.every((entry, i) => {
    const [x, y] = [entry.service, b[i]?.service];
    return x?.namespace === y?.namespace && x?.name === y?.name && x?.portName === y?.portName;
  });
}
