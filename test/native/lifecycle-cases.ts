/** The cases of scripts/lifecycle.mjs that leave the process as it was … */
export const CASES = [
  'open and close',
  'close twice',
  'close while waiting',
  'close in the callback',
  'terminate a worker',
  'a callback that throws',
  'wrong arguments',
  'what the kernel refuses',
] as const;

/** … and those that end or change it. */
export const LAST_CASES = [
  'exit while open',
  'open many and forget them',
  'the script’s end is not the end while open',
  'permission refused',
] as const;
