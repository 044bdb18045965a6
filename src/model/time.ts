/**
 * Time. Outside the machine a moment is a bigint of nanoseconds since 1970 (UTC), or, in rows, two
 * 32-bit words (whole seconds, nanoseconds). A double cannot hold such a number exactly, so inside
 * the machine a moment is a double relative to the run's base second (see `Clock`).
 */
export type Nanos = bigint;

export const NANOS_PER_SECOND = 1_000_000_000;
const PER_SECOND = 1_000_000_000n;

/** The moment of a row's two words. */
export function nanosOf(seconds: number, nanoseconds: number): Nanos {
  return BigInt(seconds) * PER_SECOND + BigInt(nanoseconds);
}

/** Whole seconds of a moment, rounded down. */
export function secondsOf(time: Nanos): number {
  const s = time / PER_SECOND;
  return Number(time < 0n && s * PER_SECOND !== time ? s - 1n : s);
}

/** Nanoseconds within the second of a moment, 0 to 999,999,999. */
export function subsecondOf(time: Nanos): number {
  const r = time % PER_SECOND;
  return Number(r < 0n ? r + PER_SECOND : r);
}

/** Days since 1970-01-01 of a civil date (proleptic Gregorian), by the usual 400-year cycle. */
function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** Seconds since 1970 of a UTC date and time of day. Months and days count from 1. */
export function utcSeconds(
  year: number,
  month: number,
  day: number,
  hour: number,
  minute: number,
  second: number,
): number {
  return daysFromCivil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
}

const two = (n: number): string => (n < 10 ? `0${n}` : String(n));

/** RFC 3339 in UTC with nanoseconds: `2026-11-22T19:55:00.200100123Z`. */
export function formatNanos(time: Nanos): string {
  const seconds = secondsOf(time);
  const days = Math.floor(seconds / 86_400);
  const inDay = seconds - days * 86_400;
  // Civil date from days: the inverse of daysFromCivil.
  const z = days + 719_468;
  const era = Math.floor(z / 146_097);
  const doe = z - era * 146_097;
  const yoe = Math.floor(
    (doe - Math.floor(doe / 1_460) + Math.floor(doe / 36_524) - Math.floor(doe / 146_096)) / 365,
  );
  const doy = doe - (365 * yoe + Math.floor(yoe / 4) - Math.floor(yoe / 100));
  const mp = Math.floor((5 * doy + 2) / 153);
  const day = doy - Math.floor((153 * mp + 2) / 5) + 1;
  const month = mp < 10 ? mp + 3 : mp - 9;
  const year = yoe + era * 400 + (month <= 2 ? 1 : 0);
  const h = Math.floor(inDay / 3_600);
  const m = Math.floor((inDay % 3_600) / 60);
  const fraction = String(subsecondOf(time)).padStart(9, '0');
  return `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}T${two(h)}:${two(m)}:${two(inDay % 60)}.${fraction}Z`;
}

const RFC3339 =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9})\d*)?(?:([Zz])|([+-])(\d{2}):?(\d{2}))$/;

/** Reads RFC 3339 (any offset, up to nanoseconds); `undefined` if it is not that. */
export function parseRfc3339(text: string): Nanos | undefined {
  const m = RFC3339.exec(text);
  if (!m) return undefined;
  const [, y, mo, d, h, mi, s, fraction, , sign, oh, om] = m;
  let seconds = utcSeconds(Number(y), Number(mo), Number(d), Number(h), Number(mi), Number(s));
  if (sign !== undefined) {
    const offset = Number(oh) * 3_600 + Number(om) * 60;
    seconds += sign === '+' ? -offset : offset;
  }
  return nanosOf(seconds, Number((fraction ?? '').padEnd(9, '0')));
}

/** Reads decimal seconds since 1970 (`1795377425.6520896`) exactly; `undefined` if it is not that. */
export function parseEpoch(text: string): Nanos | undefined {
  const m = /^(\d{1,11})(?:\.(\d+))?$/.exec(text);
  if (!m) return undefined;
  return nanosOf(Number(m[1]), Number((m[2] ?? '').slice(0, 9).padEnd(9, '0')));
}

/**
 * How many seconds a local time (seconds since 1970 as if it were UTC) is ahead of UTC: for text that
 * tells times without their zone.
 */
export type OffsetAt = (localSeconds: number) => number;

export const UTC: OffsetAt = () => 0;
