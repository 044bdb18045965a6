import { ascii, startsAt } from './scan.js';

/** What conntrack (1.4.7) says on standard error, which may have gone to the same file as its entries. */
const FAREWELL = ascii('conntrack v');
const NOTICE = ascii('NOTICE: ');
const OVERRUN = ascii('WARNING: We have hit ENOBUFS!');
/** The two lines of advice that follow. */
const OVERRUN_ADVICE = [
  ascii('This message means that the current netlink socket buffer'),
  ascii('Please, check --buffer-size'),
];

/** Whether the line says that events were lost. */
export function isOverrun(bytes: Uint8Array, from: number, to: number): boolean {
  return startsAt(bytes, from, to, OVERRUN);
}

/** Whether the line is one of the program's remarks, and not an entry. */
export function isRemark(bytes: Uint8Array, from: number, to: number): boolean {
  return (
    isOverrun(bytes, from, to) ||
    startsAt(bytes, from, to, FAREWELL) ||
    startsAt(bytes, from, to, NOTICE) ||
    OVERRUN_ADVICE.some((text) => startsAt(bytes, from, to, text))
  );
}
