import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks a second in /proc, the same on every Linux that Node runs on (USER_HZ). */
const TICKS = 100;

/** Fields of /proc/PID/stat, counted from 0 after the name in parentheses, which may hold blanks (proc(5)). */
const UTIME = 11;
const STIME = 12;
const CUTIME = 13;
const CSTIME = 14;

/** CPU of all children of this process that have ended, in steps of 10 ms. */
export function cpuSecondsOfChildren(): number {
  const fields = statOf('self');
  return (Number(fields[CUTIME]) + Number(fields[CSTIME])) / TICKS;
}

/** CPU of the threads that a running process has, to the nanosecond where the kernel counts so finely. */
export function cpuSecondsOf(pid: number): number {
  try {
    let nanoseconds = 0;
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const [onProcessor = '0'] = readFileSync(
        `/proc/${pid}/task/${thread}/schedstat`,
        'latin1',
      ).split(' ');
      nanoseconds += Number(onProcessor);
    }
    return nanoseconds / 1e9;
  } catch {
    const fields = statOf(String(pid));
    return (Number(fields[UTIME]) + Number(fields[STIME])) / TICKS;
  }
}

function statOf(pid: string): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/**
 * The most memory that a process had since it was started (VmHWM; unlike getrusage's ru_maxrss it does not
 * begin with that of the process which forked it). 0 if it is gone.
 */
export function peakMegabytesOf(pid: number | undefined): number {
  return kilobytes(pid, 'VmHWM') / 1024;
}

/** What a process has in memory now. 0 if it is gone. */
export function residentMegabytesOf(pid: number | undefined): number {
  return kilobytes(pid, 'VmRSS') / 1024;
}

function kilobytes(pid: number | undefined, field: string): number {
  try {
    const m = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(
      readFileSync(`/proc/${pid ?? 0}/status`, 'latin1'),
    );
    return Number(m?.[1] ?? 0);
  } catch {
    return 0;
  }
}
