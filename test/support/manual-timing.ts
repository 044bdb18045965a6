import type { Timing } from '../../src/sources/cluster/timing.js';

interface Watched {
  readonly ms: number;
  readonly run: () => void;
  restarts: number;
}

/**
 * Time that only tests move. Waits end at once and push the clock on by what they asked for, so that
 * an hour of back-off takes no time; guards fire only when told to.
 */
export class ManualTiming implements Timing {
  /** What was waited for, in ms. */
  readonly waits: number[] = [];
  readonly guards = new Set<Watched>();
  /** Set to hold further waits until `release`. */
  held = false;
  chance = 0.5;
  private clock = 1_795_377_000_000_000_000n;
  private readonly holding: (() => void)[] = [];

  now(): bigint {
    return this.clock;
  }

  random(): number {
    return this.chance;
  }

  advance(ms: number): void {
    this.clock += BigInt(ms) * 1_000_000n;
  }

  async wait(ms: number, signal: AbortSignal): Promise<void> {
    this.waits.push(ms);
    this.advance(ms);
    if (!this.held) {
      await new Promise((resolve) => setImmediate(resolve));
      return;
    }
    await new Promise<void>((resolve) => {
      this.holding.push(resolve);
      signal.addEventListener('abort', () => resolve());
    });
  }

  release(): void {
    this.held = false;
    for (const resolve of this.holding.splice(0)) resolve();
  }

  guard(ms: number, run: () => void): ReturnType<Timing['guard']> {
    const watched: Watched = { ms, run, restarts: 0 };
    this.guards.add(watched);
    return {
      restart: () => {
        watched.restarts++;
      },
      cancel: () => {
        this.guards.delete(watched);
      },
    };
  }

  /** Fires every guard of this length, as if nothing had happened for so long; how many there were. */
  fire(ms: number): number {
    this.advance(ms);
    const due = [...this.guards].filter((guard) => guard.ms === ms);
    for (const guard of due) {
      this.guards.delete(guard);
      guard.run();
    }
    return due.length;
  }
}
