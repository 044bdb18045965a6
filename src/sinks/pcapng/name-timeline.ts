import type { InputEvent } from '../../model/event.js';
import { NANOS_PER_SECOND, secondsOf, subsecondOf } from '../../model/time.js';
import { NameBook } from './name-book.js';
import type { NameRecord } from './names-block.js';

interface Renaming {
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly record: NameRecord;
}

/**
 * What addresses were called in the course of a run that is over. The first name of an address holds from the
 * beginning (packets may be older than what we know of their Pod), another one from the moment at which it was given.
 */
export class NameTimeline {
  private readonly book = new NameBook();
  private readonly first = new Map<string, NameRecord>();
  private readonly later: Renaming[] = [];
  private next = 0;

  /** Takes what happened, in its order. `node`: of addresses that do not say whose they are. */
  learn(event: InputEvent, node: string | undefined): void {
    if (event.type === 'cluster') this.book.learn(event.change);
    else if (event.type !== 'addresses') return;
    else if ((event.node ?? node) !== undefined) {
      this.book.own(event.node ?? node ?? '', event.addresses);
    }
    for (const record of this.book.changes()) {
      const { address } = record;
      if (event.time === undefined || !this.first.has(address)) this.first.set(address, record);
      else {
        const { time } = event;
        this.later.push({ seconds: secondsOf(time), nanoseconds: subsecondOf(time), record });
      }
    }
  }

  /** The names at the beginning; `due` then begins there too. */
  begin(): readonly NameRecord[] {
    this.later.sort((a, b) => a.seconds - b.seconds || a.nanoseconds - b.nanoseconds);
    this.next = 0;
    return [...this.first.values()];
  }

  /** What was given another name up to a moment, since the last call. */
  due(seconds: number, nanoseconds: number): readonly NameRecord[] {
    const due: NameRecord[] = [];
    for (; this.next < this.later.length; this.next++) {
      const it = this.later[this.next];
      if (it === undefined) break;
      const ahead = (it.seconds - seconds) * NANOS_PER_SECOND + it.nanoseconds - nanoseconds;
      if (ahead > 0) break;
      due.push(it.record);
    }
    return due;
  }
}
