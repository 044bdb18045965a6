import { UsageError } from '../../model/problem.js';
import { given } from '../options.js';

/** As they were typed. */
interface PaceFlags {
  readonly follow?: boolean | undefined;
  readonly speed?: string | undefined;
}

/** Slower than this nobody watches, and faster is as fast as it goes. */
const SLOWEST = 0.001;
const FASTEST = 1_000_000;
/** How fast a replay is to go. */
export function paceRequest(flags: PaceFlags): {
  readonly follows?: boolean;
  readonly speed?: number;
} {
  const { speed } = flags;
  const times =
    speed === undefined ? undefined : /^\d{1,7}(\.\d{1,6})?$/.test(speed) ? Number(speed) : 0;
  if (times !== undefined && (times < SLOWEST || times > FASTEST)) {
    throw new UsageError(
      `--speed: '${speed}' is no speed; write 1 for the recorded one, 10 for ten times as fast`,
    );
  }
  return { ...(flags.follow === true && { follows: true }), ...given('speed', times) };
}
