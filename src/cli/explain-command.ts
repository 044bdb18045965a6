import type { Command } from '@commander-js/extra-typings';
import { UsageError } from '../model/problem.js';
import type { Io } from './io.js';

/** `whichpod explain`; `ran` hears its exit code, and whether it was asked to say more. */
export function addExplain(
  program: Command,
  _io: Io,
  _ran: (code: number, verbose: boolean) => void,
): void {
  program
    .command('explain')
    .description('debug one connection: why it went there, and what went wrong')
    .action(() => {
      throw new UsageError('explain is not there yet');
    });
}
