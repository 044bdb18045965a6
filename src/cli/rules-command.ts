import type { Command } from '@commander-js/extra-typings';
import { UsageError } from '../model/problem.js';
import type { Io } from './io.js';

/** `whichpod rules`; `ran` hears its exit code, and whether it was asked to say more. */
export function addRules(
  program: Command,
  _io: Io,
  _ran: (code: number, verbose: boolean) => void,
): void {
  program
    .command('rules')
    .description('show Services with their chains, endpoints and counters')
    .action(() => {
      throw new UsageError('rules is not there yet');
    });
}
