import type { Command } from '@commander-js/extra-typings';
import { UsageError } from '../model/problem.js';
import type { Io } from './io.js';

/** `whichpod record`; `ran` hears its exit code, and whether it was asked to say more. */
export function addRecord(
  program: Command,
  _io: Io,
  _ran: (code: number, verbose: boolean) => void,
): void {
  program
    .command('record')
    .description('record this node for a replay elsewhere')
    .action(() => {
      throw new UsageError('record is not there yet');
    });
}
