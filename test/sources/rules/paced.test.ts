import { asyncScheduler, NEVER } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { expect, test } from 'vitest';
import { Budget } from '../../../src/sources/rules/budget.js';
import { paced } from '../../../src/sources/rules/paced.js';

/** Readings cost the time that they take. */
const budget = (): Budget =>
  new Budget(
    () => asyncScheduler.now(),
    () => undefined,
  );

test.each([
  ['again when idle', 'a--|', '', 'a 5002ms a 5002ms a', '10010ms !'],
  ['at once on a trigger', 'a--|', '1500ms x', 'a 1499ms a', '3000ms !'],
  ['after the rest on a trigger that comes early', 'a--|', '50ms x', 'a 102ms a', '3000ms !'],
  ['after the rest on a trigger during a reading', 'a--|', '-x', 'a 102ms a', '3000ms !'],
  ['once for many triggers', 'a--|', '(xx) 20ms x 20ms x 900ms', 'a 102ms a', '3000ms !'],
  ['once a trigger that comes later', 'a--|', '1500ms x 2s x', 'a 1499ms a 2s a', '4000ms !'],
  ['soon again after a reading of some length', 'a 199ms |', '300ms x', 'a 299ms a', '3000ms !'],
  ['rarely when reading is slow', 'a 999ms |', '1100ms x', 'a 10999ms a', '12s !'],
  ['and rests even longer than the idle time', 'a 999ms |', '', 'a 10999ms a', '12s !'],
])('rules are read %s', (_, reading, trigger, expected, end) => {
  new TestScheduler((actual, wanted) => expect(actual).toEqual(wanted)).run(
    ({ cold, hot, expectObservable }) => {
      const events = paced(() => cold(reading), {
        trigger: trigger === '' ? NEVER : hot(trigger),
        idleMs: () => 5_000,
        idle: () => 'idle',
        budget: budget(),
      });
      expectObservable(events, end).toBe(expected);
    },
  );
});

test('a reading is told what it was asked for since the one before', () => {
  new TestScheduler((actual, wanted) => expect(actual).toEqual(wanted)).run(
    ({ cold, hot, expectObservable }) => {
      const events = paced((asked) => cold('a--|', { a: [...asked].join() }), {
        trigger: hot('-(xyx) 200ms y'),
        idleMs: () => 1_000,
        idle: () => 'idle',
        budget: budget(),
      });
      expectObservable(events, '2s !').toBe('0 102ms 1 102ms 2 1002ms 3', ['', 'x,y', 'y', 'idle']);
    },
  );
});

test.each([
  ['a reading that fails ends it', 'a-#', '', 'a-#'],
  ['a trigger that fails ends it', 'a--|', '--#', 'a-#'],
  ['a trigger that ends does not', 'a--|', '--|', 'a 5002ms a'],
])('%s', (_, reading, trigger, expected) => {
  new TestScheduler((actual, wanted) => expect(actual).toEqual(wanted)).run(
    ({ cold, hot, expectObservable }) => {
      const events = paced(() => cold(reading), {
        trigger: trigger === '' ? NEVER : hot(trigger),
        idleMs: () => 5_000,
        idle: () => 'idle',
        budget: budget(),
      });
      expectObservable(events, '6s !').toBe(expected);
    },
  );
});
