import type { Command } from '@commander-js/extra-typings';
import { UsageError } from '../../model/problem.js';
import type { Io } from '../io.js';
import { withLiveSources } from '../live/source-options.js';
import { liveRequest } from '../options.js';
import { recordRequest } from './request.js';

const HELP = `
The file is a pcapng: Wireshark, tshark and tcpdump read its packets, names and
comments; whichpod replay and explain read all of it, and need nothing else.
Packets are kept up to their headers' end unless --snaplen asks for more.

Examples:
  $ whichpod record -w case.pcapng --duration 10m
  $ whichpod record -w case.pcapng --max-size 100M --max-files 10
  $ ssh node1 whichpod record -w - | whichpod replay -
  $ whichpod replay case.pcapng

Exit codes: 0 recorded; 2 wrong usage, or the file cannot be written (disk
full); 3 a permission is missing; 130 interrupted.
`;

/** `whichpod record`; `ran` hears its exit code, and whether it was asked to say more. */
export function addRecord(
  program: Command,
  io: Io,
  ran: (code: number, verbose: boolean) => void,
): void {
  withRecordOptions(
    withLiveSources(
      program
        .command('record')
        .description('record this node into one file, for a replay elsewhere')
        .helpOption('-h, --help', 'print this help')
        .optionsGroup('What to watch:'),
    )
      .option('--duration <time>', 'end after 30s, 2m, 1h30m ...')
      .option('--count <n>', 'end after this many connections')
      .option('--udp-idle <time>', 'end an unanswered UDP flow after this silence (default: 30s)')
      .option('--no-color', 'no colours (also: the variable NO_COLOR)')
      .option('-v, --verbose', 'say more on stderr'),
  )
    .addHelpText('after', HELP)
    .action(async (flags) => {
      ran(0, flags.verbose ?? false);
      const record = recordRequest(flags);
      if (record === undefined) {
        throw new UsageError('record: into which file? Name it: whichpod record -w case.pcapng');
      }
      const request = liveRequest({ ...flags, output: 'summary' }, io);
      const { run } = await import('./record.js');
      ran(await run({ ...request, record }, io), flags.verbose ?? false);
    });
}

/** How a recording is written: options of `record` and of `live`. */
export function withRecordOptions<Args extends unknown[], Opts extends Record<string, unknown>>(
  command: Command<Args, Opts>,
) {
  return command
    .optionsGroup('Recording:')
    .option('-w, --write <file>', 'the recording; - for standard output')
    .option('--full', 'every packet, not only what opens and ends connections')
    .option('--snaplen <bytes>', 'keep so much of each packet (default: its headers)')
    .option('--redact', 'pseudonyms in place of names and addresses')
    .option('--max-size <size>', 'begin another file at 100M, 2G ...')
    .option('--max-time <time>', 'begin another file after 10m, 1h ...')
    .option('--max-files <n>', 'keep so many files, the last ones');
}
