import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Agenda } from '../../src/correlate/agenda.js';

/** Items that each want to be looked at at one moment: what was asked for last stands. */
class Wishes {
  readonly at = new Map<number, number>();
  readonly agenda = new Agenda((item, time) => this.at.get(item) === time);

  wish(item: number, time: number): void {
    this.at.set(item, time);
    this.agenda.add(time, item);
  }

  /** All that are due, moment by moment; what stands no more may come too, and is left out. */
  due(now: number): number[] {
    const items: number[] = [];
    for (let moment = this.agenda.next(); moment <= now; moment = this.agenda.next()) {
      const item = this.agenda.take();
      if (this.at.get(item) !== moment) continue;
      this.at.delete(item);
      items.push(item);
    }
    return items;
  }
}

const SPANS = [1, 2, 2, 5, 100, 100, 30_000, 999_999];

describe('the agenda', () => {
  it('gives each request that stands at its moment, equal moments in the order of asking', () => {
    const step = fc.record({
      item: fc.nat(4_000),
      span: fc.constantFrom(...SPANS),
      odd: fc.nat(3),
      wait: fc.constantFrom(0, 0, 0, 1, 7, 200),
      many: fc.constantFrom(1, 1, 1, 700),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const wishes = new Wishes();
        const asked = new Map<number, { time: number; order: number }>();
        const ever = new Set<string>();
        let now = 0;
        let order = 0;
        for (const { item, span, odd, wait, many } of steps) {
          for (let i = 0; i < many; i++) {
            const time = now + span + (i % (odd + 1));
            // Asked for the same moment once more, an earlier request of it would stand again.
            if (ever.has(`${item + i} ${time}`)) continue;
            ever.add(`${item + i} ${time}`);
            wishes.wish(item + i, time);
            asked.set(item + i, { time, order: order++ });
          }
          now += wait;
          const expected = [...asked]
            .filter(([, { time }]) => time <= now)
            .sort(([, a], [, b]) => a.time - b.time || a.order - b.order)
            .map(([it]) => it);
          for (const it of expected) asked.delete(it);
          expect(wishes.due(now)).toEqual(expected);
        }
        const left = [...asked].sort(([, a], [, b]) => a.time - b.time || a.order - b.order);
        expect(wishes.due(Number.MAX_SAFE_INTEGER)).toEqual(left.map(([it]) => it));
        expect(wishes.agenda.size).toBe(0);
        expect(wishes.agenda.next()).toBe(Number.POSITIVE_INFINITY);
        expect(wishes.agenda.take()).toBe(-1);
      }),
      { numRuns: 60 },
    );
  });

  it('does not grow by requests for a far moment that stand no more, wave after wave', () => {
    const wishes = new Wishes();
    const far = 1e15;
    let now = 0;
    for (let wave = 0; wave < 40; wave++) {
      // Kept-alive connections: each asks for its idle bound, days away, and ends soon.
      for (let item = 0; item < 5_000; item++) wishes.wish(item, far + wave * 5_000 + item);
      for (let item = 0; item < 5_000; item++) wishes.wish(item, now + 10);
      now += 20;
      expect(wishes.due(now)).toHaveLength(5_000);
    }
    expect(wishes.agenda.size).toBeLessThan(20_000);
  });
});
