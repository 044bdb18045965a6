import type { Summary } from '../model/attribution.js';
import { EXIT } from './exit.js';

export const FAIL_ON = ['conflict', 'unattributed', 'loss'] as const;
export type FailOn = (typeof FAIL_ON)[number];

/** The exit code of a finished run: 1 if its summary holds something that the user asked to fail on. */
export function exitCodeFor(summary: Summary, failOn: readonly FailOn[]): number {
  const counts: Readonly<Record<FailOn, number>> = {
    conflict: summary.connections.conflict,
    unattributed: summary.connections.unattributed,
    loss: summary.losses,
  };
  return failOn.some((what) => counts[what] > 0) ? EXIT.found : EXIT.done;
}
