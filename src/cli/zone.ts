import type { OffsetAt } from '../model/time.js';

const MINUTE = 60;
const MAX_OFFSET_HOURS = 14;

/**
 * Reads `UTC`, `+02:00` or a name of the time zone database (`Europe/Berlin`); `undefined` if it is none of
 * them. In the hour that a change to winter time repeats, the first is meant; in the one that a change to
 * summer time leaves out, the time before it goes on.
 */
export function parseZone(text: string): OffsetAt | undefined {
  if (/^(utc|z)$/i.test(text)) return () => 0;
  const m = /^([+-])(\d{2}):?(\d{2})$/.exec(text);
  if (m) {
    const hours = Number(m[2]);
    const minutes = Number(m[3]);
    if (hours > MAX_OFFSET_HOURS || minutes > 59) return undefined;
    const offset = (hours * 60 + minutes) * MINUTE;
    return () => (m[1] === '-' ? -offset : offset);
  }
  return namedZone(text);
}

function namedZone(name: string): OffsetAt | undefined {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat('en-GB', { timeZone: name, timeZoneName: 'longOffset' });
  } catch {
    return undefined;
  }
  const offsetAtUtc = (utcSeconds: number): number => {
    const part = format
      .formatToParts(utcSeconds * 1000)
      .find(({ type }) => type === 'timeZoneName')?.value;
    // 'GMT' alone is zero; 'GMT+05:30', and with seconds for local mean times before 1900.
    const m = /^GMT([+-])(\d{2}):(\d{2})(?::(\d{2}))?$/.exec(part ?? '');
    if (!m) return 0;
    const offset = Number(m[2]) * 3600 + Number(m[3]) * MINUTE + Number(m[4] ?? 0);
    return m[1] === '-' ? -offset : offset;
  };
  return (localSeconds) => {
    // A day before, no change near the local time has happened yet: its offset is tried first.
    const before = offsetAtUtc(localSeconds - 86_400);
    if (offsetAtUtc(localSeconds - before) === before) return before;
    const after = offsetAtUtc(localSeconds - before);
    return offsetAtUtc(localSeconds - after) === after ? after : before;
  };
}
