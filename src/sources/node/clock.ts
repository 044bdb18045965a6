import type { ClockFacts } from '../../model/doctor.js';
import { type RunLimits, runProgram } from '../rules/run-program.js';
import { textOf } from './read.js';

const SOURCE = 'sys/devices/system/clocksource/clocksource0/current_clocksource';
/** systemd-timesyncd makes it when it has synchronised once (systemd-timesyncd.service(8)). */
const TIMESYNCD = 'run/systemd/timesync/synchronized';
/** chrony's report for programs; its 14th field is the leap status (chronyc(1), tracking). */
const CHRONY = ['chronyc', '-n', '-c', 'tracking'];
const LEAP_STATUS = 13;

/**
 * How this machine's clock is kept, by what may be read without asking for it to be changed. Times of
 * packets and of conntrack are both the kernel's time of day, so only other machines' are compared with it.
 */
export async function clockFacts(
  root: string,
  limits: Omit<RunLimits, 'maxBytes'>,
): Promise<ClockFacts> {
  const offset = (): number => Date.now() - performance.now();
  const before = offset();
  const [source, timesyncd, chrony] = await Promise.all([
    textOf(`${root}${SOURCE}`),
    textOf(`${root}${TIMESYNCD}`),
    askChrony(limits),
  ]);
  const sync =
    timesyncd !== undefined
      ? { synchronised: true, synchronisedHow: `/${TIMESYNCD}` }
      : chrony === undefined
        ? {}
        : { synchronised: chrony, synchronisedHow: CHRONY.join(' ') };
  return {
    ...(source !== undefined && { source: source.trim() }),
    ...sync,
    jumpMs: Math.round(offset() - before),
  };
}

async function askChrony(limits: Omit<RunLimits, 'maxBytes'>): Promise<boolean | undefined> {
  let said = '';
  const result = await runProgram(CHRONY, { ...limits, maxBytes: 4_096 }, (chunk) => {
    said += new TextDecoder().decode(chunk);
  });
  if (result.end !== 'ran' || result.code !== 0) return undefined;
  const status = said.trim().split(',')[LEAP_STATUS];
  return status === undefined ? undefined : status !== 'Not synchronised';
}
