import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Budget } from '../../../src/sources/rules/budget.js';
import { cpuTimeMs } from '../../../src/sources/rules/cpu-time.js';

/** A clock, and what was spent by it. */
class Machine {
  now = 0;
  spent: number | undefined = 0;
  readonly budget = new Budget(
    () => this.now,
    () => this.spent,
  );

  read(took: number, cost: number): void {
    const end = this.budget.begin();
    this.now += took;
    if (this.spent !== undefined) this.spent += cost;
    end();
  }
}

describe('the budget for reading rules', () => {
  test('small readings may follow one another', () => {
    const machine = new Machine();
    for (let i = 0; i < 10; i++) machine.read(80, 40);
    expect(machine.budget.restMs()).toBe(0);
  });

  test.each([
    ['what programs and reading cost counts', 3_000, 1_500, 20_000],
    [
      'what the rest of the process did meanwhile counts only up to the time that passed',
      1_000,
      9_000,
      10_000,
    ],
  ])('%s', (_, took, cost, rest) => {
    const machine = new Machine();
    machine.read(took, cost);
    expect(machine.budget.restMs()).toBeCloseTo(rest, 6);
    machine.now += rest / 2;
    expect(machine.budget.restMs()).toBeCloseTo(rest / 2, 6);
  });

  test('where no cost is known the time counts', () => {
    const machine = new Machine();
    machine.spent = undefined;
    machine.read(1_000, 0);
    expect(machine.budget.restMs()).toBeCloseTo(10_000, 6);
  });

  test('a clock that is set back gives nothing away and takes nothing', () => {
    const machine = new Machine();
    machine.read(1_000, 1_000);
    machine.now -= 5_000;
    expect(machine.budget.restMs()).toBeCloseTo(10_000, 6);
  });

  test('in the long run readings take a twentieth of a core, whatever they cost', () => {
    const reading = fc.record({
      took: fc.integer({ min: 1, max: 5_000 }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      pause: fc.integer({ min: 0, max: 2_000 }),
    });
    fc.assert(
      fc.property(fc.array(reading, { minLength: 1, maxLength: 60 }), (readings) => {
        const machine = new Machine();
        let last = 0;
        for (const { took, share, pause } of readings) {
          machine.now += Math.max(pause, machine.budget.restMs());
          last = took * share;
          // All but the last have been paid for, half a second aside.
          expect(machine.spent).toBeLessThanOrEqual(0.05 * machine.now + 500 + 1e-6);
          machine.read(took, last);
        }
      }),
      { numRuns: 200 },
    );
  });
});

test('CPU time is that of the process and only grows', (context) => {
  const before = cpuTimeMs();
  context.skip(before === undefined, 'no /proc');
  const { user, system } = process.cpuUsage();
  const after = cpuTimeMs() ?? 0;
  expect(after).toBeGreaterThanOrEqual(before ?? 0);
  // In ticks of 10 ms, and ended children count as well.
  expect(after).toBeGreaterThanOrEqual((user + system) / 1_000 - 30);
});
