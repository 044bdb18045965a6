import { describe, expect, it } from 'vitest';
import { parseZone } from '../../src/cli/zone.js';
import { utcSeconds } from '../../src/model/time.js';

describe('time zones', () => {
  const winter = utcSeconds(2026, 11, 22, 19, 55, 0);
  const summer = utcSeconds(2026, 7, 1, 12, 0, 0);
  it.each([
    ['UTC', winter, 0],
    ['utc', winter, 0],
    ['Z', winter, 0],
    ['+02:00', winter, 7200],
    ['-0330', winter, -12_600],
    ['+14:00', winter, 50_400],
    ['Europe/Berlin', winter, 3600],
    ['Europe/Berlin', summer, 7200],
    ['America/New_York', winter, -18_000],
    ['Asia/Kolkata', winter, 19_800],
    ['Europe/London', winter, 0],
    ['Europe/London', summer, 3600],
    // The clocks go forward at 01:00 UTC on 2026-03-29 and back at 01:00 UTC on 2026-10-25.
    ['Europe/Berlin', utcSeconds(2026, 3, 29, 1, 59, 59), 3600],
    ['Europe/Berlin', utcSeconds(2026, 3, 29, 2, 30, 0), 3600],
    ['Europe/Berlin', utcSeconds(2026, 3, 29, 3, 0, 0), 7200],
    ['Europe/Berlin', utcSeconds(2026, 10, 25, 1, 59, 59), 7200],
    ['Europe/Berlin', utcSeconds(2026, 10, 25, 2, 30, 0), 7200],
    ['Europe/Berlin', utcSeconds(2026, 10, 25, 3, 0, 0), 3600],
  ])('%s is ahead of UTC at local second %d by %d s', (zone, local, expected) => {
    expect(parseZone(zone)?.(local)).toBe(expected);
  });

  it.each(['', 'CEST', 'Europe/Nowhere', '+25:00', '+02:60', '2', '+2'])('%j is none', (text) => {
    expect(parseZone(text)).toBeUndefined();
  });
});
