import { PermissionError, UsageError } from '../../model/problem.js';

/** The program's name, where nothing else is put before it. */
export const CONNTRACK: readonly string[] = ['conntrack'];

/** Its exit code for options that it does not know (conntrack-tools 1.4.7, PARAMETER_PROBLEM). */
export const EXIT_USAGE = 2;

/** How the kernel and conntrack-tools 1.4.7 say it; -L and -E differ. */
const REFUSED = /Operation not permitted|Permission denied|must be root|CAP_NET_ADMIN/;
/** What a program that was to start it (ip netns exec, nsenter) says when it is not there. */
const NOT_THERE = /\b(?:exec|execute)\b.*No such file or directory/;

/**
 * The error that no restart can cure, from what conntrack or its starter said on stderr; `undefined` if
 * it may be well the next time.
 */
export function lastingError(
  command: readonly string[],
  missing: boolean,
  code: number,
  stderr: string,
): Error | undefined {
  const said = lastLine(stderr);
  if (missing || NOT_THERE.test(stderr)) {
    return new UsageError(
      `${command.join(' ')} is not there (${said}); it is in the package conntrack: apt-get install conntrack, or use --conntrack netlink or none`,
    );
  }
  if (REFUSED.test(stderr)) {
    return new PermissionError(
      `reading conntrack needs the capability CAP_NET_ADMIN (${said}); run as root, or in a container add NET_ADMIN to securityContext.capabilities`,
    );
  }
  if (code === EXIT_USAGE) {
    return new UsageError(
      `${command.join(' ')} does not know the options that are needed (${said}); conntrack-tools 1.4.7 does, or use --conntrack netlink`,
    );
  }
  return undefined;
}

/** What it says in passing: counts at its end, advice after an overrun, the hint how to get help. */
const IN_PASSING =
  /have been shown\.$|^NOTICE: |^WARNING: We have hit ENOBUFS|^This message means|^Please, check|^Try `/;

/** The last line on stderr that explains something; empty if none does. */
export function lastLine(stderr: string): string {
  const lines = stderr.split('\n').filter((line) => line !== '' && !IN_PASSING.test(line));
  return lines.at(-1) ?? '';
}
