import { existsSync } from 'node:fs';
import type { Command } from '@commander-js/extra-typings';
import type { Io } from '../io.js';
import { collect, withNameSources } from '../live/source-options.js';
import { rulesRequest } from './request.js';

const HELP = `
Without INPUT the rules of this node are read (root), else those in recordings:
files and folders, as replay takes them. The first argument is a Service if it
reads NAMESPACE/SERVICE and no file is called so.

PACKETS and BYTES are what the rules counted: of each connection the packet that
opened it. SHARE is the part of the connections that chance gives an endpoint.
A line marked ! says in what the rules differ from the cluster.

Examples:
  $ whichpod rules                            every Service of this node
  $ whichpod rules default/nginx              one Service
  $ whichpod rules default/nginx --watch      its counters, as they move
  $ whichpod rules recording/ -o json | jq '.services[].ways'
  $ whichpod rules --audit --duration 1m      are connections spread as the rules say?
  $ whichpod rules recording/ --audit         the same over recorded connections
  $ whichpod rules --drift --fail-on drift    are the rules what the cluster says?

Exit codes: 0 done; 1 found what --fail-on asked for; 2 wrong usage, unusable
input, or no such Service; 3 a permission is missing; 130 interrupted.
`;

/** `whichpod rules`; `ran` hears its exit code, and whether it was asked to say more. */
export function addRules(
  program: Command,
  io: Io,
  ran: (code: number, verbose: boolean) => void,
): void {
  withNameSources(
    program
      .command('rules')
      .description('show Services with their chains, endpoints and counters')
      .usage('[options] [NAMESPACE/SERVICE] [INPUT...]')
      .argument('[input...]', 'a Service, then files and folders; without: this node')
      .helpOption('-h, --help', 'print this help')
      .optionsGroup('What to show:')
      .option('--watch [interval]', 'which counters move, looked at every 2s')
      .option('--audit', 'are endpoints chosen as the rules say? (chi-squared test)')
      .option('--drift', 'in what do rules and cluster differ?')
      .option('--service <ns/name>', 'only this Service, also where a file is called so')
      .option('-n, --namespace <ns>', 'only Services of this namespace', collect)
      .option('--exact', 'shares without rounding, as parts of a power of 2')
      .option(
        '--over <what>',
        'audit counters or connections (default: connections where there are some)',
      )
      .option('--duration <time>', 'how long to watch, or to count for --audit')
      .option('--settle <time>', 'how long rules may lag behind the cluster', '5s')
      .optionsGroup('What to read:'),
  )
    .option('--node <name>', 'the node that a recording is from')
    .option('--tz <zone>', 'time zone of times that name none (default: UTC)')
    .optionsGroup('Output:')
    .option('-o, --output <format>', 'tree, table, json (default: tree)')
    .option('--fail-on <what>', 'exit with 1 on any of skew,drift', collect)
    .option('--no-color', 'no colours (also: the variable NO_COLOR)')
    .option('-v, --verbose', 'say more on stderr')
    .addHelpText('after', HELP)
    .action(async (args, flags) => {
      const verbose = flags.verbose ?? false;
      const request = rulesRequest(args, flags, { env: io.env, exists: existsSync });
      const { run } = await import('./rules.js');
      ran(await run(request, io), verbose);
    });
}
