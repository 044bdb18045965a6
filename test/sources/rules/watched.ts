import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Observable,
  type SchedulerAction,
  type SchedulerLike,
  type Subscription,
  VirtualTimeScheduler,
} from 'rxjs';
import type { InputEvent } from '../../../src/model/event.js';
import type { Nanos } from '../../../src/model/time.js';
import { EventLog } from '../../support/event-log.js';

/** Time that passes when the test says so: never between readings, so the next one is asked for by `next`. */
class Steps extends VirtualTimeScheduler {
  readonly rests = new EventLog<'rest'>();
  private flushing = false;

  override flush(): void {
    this.flushing = true;
    super.flush();
    this.flushing = false;
  }

  override schedule<T>(
    work: (this: SchedulerAction<T>, state?: T) => void,
    delay?: number,
    state?: T,
  ): Subscription {
    // Behind the code that subscribes, which schedules and then goes on.
    if (!this.flushing) queueMicrotask(() => this.rests.push('rest'));
    return super.schedule(work, delay, state);
  }
}

/** What a watch needs to be asked for reading by reading. */
interface Timing {
  readonly now: () => Nanos;
  readonly scheduler: SchedulerLike;
}

/** A watch whose readings are asked for one by one. */
export class Watched {
  readonly events: InputEvent[] = [];
  private readonly steps = new Steps();
  private readonly subscription: Subscription;
  private failure: unknown;

  constructor(watch: (timing: Timing) => Observable<InputEvent>) {
    this.subscription = watch({ now: () => 7n, scheduler: this.steps }).subscribe({
      next: (event) => this.events.push(event),
      error: (error: unknown) => {
        this.failure = error;
        this.steps.rests.push('rest');
      },
    });
  }

  /** What the reading that runs emits. */
  async reading(): Promise<InputEvent[]> {
    await this.steps.rests.until(() => true);
    if (this.failure !== undefined) throw this.failure;
    this.steps.rests.all.length = 0;
    return this.events.splice(0);
  }

  /** What another reading emits. */
  next(): Promise<InputEvent[]> {
    this.steps.flush();
    this.steps.rests.all.length = 0;
    return this.reading();
  }

  stop(): void {
    this.subscription.unsubscribe();
  }
}

export function summary(events: readonly InputEvent[]): string[] {
  return events.map((event) => {
    switch (event.type) {
      case 'rules':
        return `rules ${event.rules.family} ${event.rules.backend} ${event.services.length}`;
      case 'notice':
        return event.notice.code;
      case 'loss':
        return `loss ${event.loss.source} ${event.loss.from} ${event.loss.to}`;
      default:
        return event.type;
    }
  });
}

/** Files of a test's own, among them what stands for the programs. */
export class Programs {
  private readonly folder = mkdtempSync(join(tmpdir(), 'wp-rules-'));

  /** The prefix under which a shell script is given the program's name. */
  script(text: string): readonly string[] {
    return ['sh', this.file('script', text)];
  }

  file(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}
