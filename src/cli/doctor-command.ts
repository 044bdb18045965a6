import type { Command } from '@commander-js/extra-typings';
import { UsageError } from '../model/problem.js';
import type { Io } from './io.js';

/** `whichpod doctor`; `ran` hears its exit code, and whether it was asked to say more. */
export function addDoctor(
  program: Command,
  _io: Io,
  _ran: (code: number, verbose: boolean) => void,
): void {
  program
    .command('doctor')
    .description('check what this node offers, and what live would miss')
    .action(() => {
      throw new UsageError('doctor is not there yet');
    });
}
