import { NEVER } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { expect, test } from 'vitest';
import { paced } from '../../../src/sources/rules/paced.js';

test.each([
  ['again when idle', 'a--|', '', 'a 5002ms a 5002ms a', '10010ms !'],
  ['at once on a trigger', 'a--|', '1500ms x', 'a 1499ms a', '3000ms !'],
  ['after the rest on a trigger that comes early', 'a--|', '500ms x', 'a 1002ms a', '3000ms !'],
  ['after the rest on a trigger during a reading', 'a--|', '-x', 'a 1002ms a', '3000ms !'],
  ['once for many triggers', 'a--|', '(xx) 100ms x 100ms x 900ms', 'a 1002ms a', '3000ms !'],
  ['once a trigger that comes later', 'a--|', '1500ms x 2s x', 'a 1499ms a 2s a', '4000ms !'],
  ['rarely when reading is slow', 'a 199ms |', '300ms x', 'a 4199ms a', '6000ms !'],
  ['and rests even longer than the idle time', 'a 499ms |', '', 'a 10499ms a', '12s !'],
])('rules are read %s', (_, reading, trigger, expected, end) => {
  new TestScheduler((actual, wanted) => expect(actual).toEqual(wanted)).run(
    ({ cold, hot, expectObservable }) => {
      const events = paced(() => cold(reading), {
        trigger: trigger === '' ? NEVER : hot(trigger),
        idleMs: 5_000,
      });
      expectObservable(events, end).toBe(expected);
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
        idleMs: 5_000,
      });
      expectObservable(events, '6s !').toBe(expected);
    },
  );
});
