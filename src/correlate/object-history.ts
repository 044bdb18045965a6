import type { Nanos } from '../model/time.js';

interface Version<R> {
  readonly from: Nanos;
  record: R;
  /** Absent while it is the newest. */
  to?: Nanos;
}

/** What named objects looked like over time. Changes come in order of time; look-ups name any time. */
export class ObjectHistory<R> {
  private readonly byKey = new Map<string, Version<R>[]>();
  /** Versions that have ended, in order of their end: what prune has to look at. */
  private ended: { readonly key: string; readonly version: Version<R> }[] = [];

  set(key: string, record: R, at: Nanos): void {
    this.end(key, at);
    const versions = this.byKey.get(key);
    if (versions === undefined) this.byKey.set(key, [{ record, from: at }]);
    else versions.push({ record, from: at });
  }

  end(key: string, at: Nanos): void {
    const newest = this.byKey.get(key)?.at(-1);
    if (newest === undefined || newest.to !== undefined) return;
    newest.to = at;
    if (newest.from < at) this.ended.push({ key, version: newest });
    else this.drop(key, newest);
  }

  /** The newest state of an object that has not ended. */
  current(key: string): R | undefined {
    const newest = this.byKey.get(key)?.at(-1);
    return newest?.to === undefined ? newest?.record : undefined;
  }

  /** Keys of all objects that have not ended. */
  *currentKeys(): Generator<string> {
    for (const [key, versions] of this.byKey) if (versions.at(-1)?.to === undefined) yield key;
  }

  /** The state of an object at a time. */
  stateAt(key: string, time: Nanos): R | undefined {
    const versions = this.byKey.get(key);
    if (versions === undefined) return undefined;
    for (let i = versions.length - 1; i >= 0; i--) {
      const version = versions[i];
      if (version === undefined || version.from > time) continue;
      return version.to === undefined || version.to > time ? version.record : undefined;
    }
    return undefined;
  }

  /** All states of an object, newest first. */
  states(key: string): R[] {
    return (this.byKey.get(key) ?? []).map((version) => version.record).reverse();
  }

  /** When an object came, changed or went. */
  *moments(key: string): Generator<Nanos> {
    for (const version of this.byKey.get(key) ?? []) {
      yield version.from;
      if (version.to !== undefined) yield version.to;
    }
  }

  /** All objects at a time, or without a time all that have not ended. */
  *all(time: Nanos | undefined): Generator<R> {
    for (const key of this.byKey.keys()) {
      const record = time === undefined ? this.current(key) : this.stateAt(key, time);
      if (record !== undefined) yield record;
    }
  }

  /** The span around `time`, `from` included and `to` not, in which no object changes. */
  steadyAround(time: Nanos): { from?: Nanos; to?: Nanos } {
    const span: { from?: Nanos; to?: Nanos } = {};
    const border = (at: Nanos | undefined): void => {
      if (at === undefined) return;
      if (at <= time && (span.from === undefined || at > span.from)) span.from = at;
      if (at > time && (span.to === undefined || at < span.to)) span.to = at;
    };
    for (const versions of this.byKey.values()) {
      for (const version of versions) {
        border(version.from);
        border(version.to);
      }
    }
    return span;
  }

  /** Forgets states that ended at or before `before`; the keys of objects of which nothing is left. */
  prune(before: Nanos): string[] {
    const gone: string[] = [];
    let count = 0;
    for (const { key, version } of this.ended) {
      if (version.to === undefined || version.to > before) break;
      this.drop(key, version);
      if (!this.byKey.has(key)) gone.push(key);
      count++;
    }
    if (count > 0) this.ended = this.ended.slice(count);
    return gone;
  }

  private drop(key: string, version: Version<R>): void {
    const versions = this.byKey.get(key)?.filter((other) => other !== version) ?? [];
    if (versions.length === 0) this.byKey.delete(key);
    else this.byKey.set(key, versions);
  }
}
