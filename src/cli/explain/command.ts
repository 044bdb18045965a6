import type { Command } from '@commander-js/extra-typings';
import type { Io } from '../io.js';
import { collect, withLiveSources } from '../live/source-options.js';
import { EXPLAIN_FORMATS, explainRequest } from './request.js';

const HELP = `
SELECTOR is a connection's id (as ndjson tells it) or its client, as
10.244.1.2:36033 or [fd00::2]:36033. With --from or --to none is needed. Of
several that match, the last that failed is explained, else the last; --nth
picks another one.

Without INPUT the live run on this node is asked, which remembers its last
connections; without one, or with --next, the next match is awaited until it has
ended, or for 5 s if it stays open.

Examples:
  $ whichpod explain 10.244.1.2:36033 recording/
  $ whichpod explain 9a1c5b7e00d1f2a3 recording/ -w walk.html
  $ whichpod explain --from shop/cart-0 --to shop/db
  $ whichpod explain --to shop/db --next --duration 1m
  $ whichpod explain --what-if tcp 10.244.1.2 10.96.81.51:80 rules.txt
  $ whichpod explain --why-not shop/web-2 --to shop/web recording/

Exit codes: 0 explained; 1 waited for --duration and none came; 2 wrong usage,
unusable input, or no such connection; 3 a permission is missing; 130
interrupted.
`;

/** `whichpod explain`; `ran` hears its exit code, and whether it was asked to say more. */
export function addExplain(
  program: Command,
  io: Io,
  ran: (code: number, verbose: boolean) => void,
): void {
  withLiveSources(
    program
      .command('explain')
      .description('debug one connection: why it went there, and what went wrong')
      .usage('[options] [SELECTOR] [INPUT...]')
      .argument('[word...]', "which connection, then recordings as in 'replay'")
      .helpOption('-h, --help', 'print this help')
      .optionsGroup('Which connection:')
      .option('--from <client>', 'its client: an address, IP:PORT, or NAMESPACE/POD')
      .option('--to <service>', 'where it went: NAMESPACE/SERVICE, or IP:PORT')
      .option('--nth <n>', 'the n-th of several that match')
      .option('--next', 'the next that comes, even where a live run could be asked')
      .option('--duration <time>', 'wait no longer than 30s, 2m, 1h30m ...')
      .optionsGroup('One that could happen:')
      .option('--what-if <packet>', 'PROTOCOL SRC[:PORT] DST:PORT: where would it go?')
      .option('--in <interface>', 'it comes in by this interface')
      .option('--from-node', 'a process of the node sends it')
      .option('--why-not <ns/pod>', 'why does this Pod get nothing of the Service (--to)?')
      .optionsGroup('Output:')
      .option('-o, --output <format>', `${EXPLAIN_FORMATS.join(', ')} (default: text)`)
      .option('-w, --write <file>', 'into this file; its ending may tell the format')
      .option('--no-color', 'no colours (also: the variable NO_COLOR)')
      .option('-v, --verbose', 'every rule that was passed over; more on stderr')
      .optionsGroup('What to read:')
      .option('--node <name>', 'the node that the recording is from', collect)
      .option('--tz <zone>', 'time zone of times that name none (default: UTC)')
      .option('--udp-idle <time>', 'end an unanswered UDP flow after this silence (default: 30s)')
      .optionsGroup('What to watch, without INPUT:'),
  )
    .addHelpText('after', HELP)
    .action(async (words, flags) => {
      ran(0, flags.verbose ?? false);
      const request = explainRequest(words, flags, io);
      const { run } = await import('./explain.js');
      ran(await run(request, io), request.verbose);
    });
}
