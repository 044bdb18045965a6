import type { Command } from '@commander-js/extra-typings';
import { UsageError } from '../../model/problem.js';
import type { Io } from '../io.js';
import { given } from '../options.js';

const HELP = `
Each line is ok, warn (live works and misses something) or fail (live cannot
work), with what to do about it; -v says how each fact was found. Nothing is
changed: settings are read, sockets opened and closed, programs list.

Examples:
  $ sudo whichpod doctor
  $ whichpod doctor --json | jq '.checks[] | select(.level != "ok")'

Exit codes: 0 live will work; 1 it could not; 2 wrong usage.
`;

interface DoctorFlags {
  readonly json?: boolean | undefined;
  /** false with `--no-color`. */
  readonly color: boolean;
  readonly verbose?: boolean | undefined;
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  /** false with `--no-cluster`. */
  readonly cluster: boolean;
  readonly nodeName?: string | undefined;
}

/** `whichpod doctor`; `ran` hears its exit code, and whether it was asked to say more. */
export function addDoctor(
  program: Command,
  io: Io,
  ran: (code: number, verbose: boolean) => void,
): void {
  program
    .command('doctor')
    .description('check what this node offers, and what live would miss')
    .helpOption('-h, --help', 'print this help')
    .optionsGroup('What to ask:')
    .option('--kubeconfig <file>', 'cluster to ask (default: as kubectl, else in-cluster)')
    .option('--context <name>', 'context of the kubeconfig')
    .option('--no-cluster', 'ask no cluster')
    .option('--node-name <name>', "this node's name in the cluster (default: $NODE_NAME)")
    .optionsGroup('Output:')
    .option('--json', 'one JSON object')
    .option('--no-color', 'no colours (also: the variable NO_COLOR)')
    .option('-v, --verbose', 'say how each fact was found')
    .addHelpText('after', HELP)
    .action(async (flags) => {
      const verbose = flags.verbose ?? false;
      ran(0, verbose);
      const request = doctorRequest(flags, io);
      const { run } = await import('./doctor.js');
      ran(await run(request, io), verbose);
    });
}

function doctorRequest(flags: DoctorFlags, { env }: Io) {
  const { kubeconfig, context } = flags;
  if (!flags.cluster && (kubeconfig !== undefined || context !== undefined)) {
    const option = kubeconfig === undefined ? '--context' : '--kubeconfig';
    throw new UsageError(`--no-cluster: cannot be used with ${option}; leave one of them out`);
  }
  const nodeName = flags.nodeName ?? env.NODE_NAME;
  return {
    json: flags.json ?? false,
    // https://no-color.org: any value but the empty one.
    colors: flags.color && !env.NO_COLOR && env.TERM !== 'dumb',
    verbose: flags.verbose ?? false,
    ...(flags.cluster && {
      cluster: { ...given('kubeconfig', kubeconfig), ...given('context', context) },
    }),
    ...given('nodeName', nodeName === '' ? undefined : nodeName),
  };
}
