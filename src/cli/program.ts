import { Command, CommanderError } from '@commander-js/extra-typings';
import type { Commands } from './commands.js';
import { addDoctor } from './doctor/command.js';
import { EXIT, explainError } from './exit.js';
import { addExplain } from './explain/command.js';
import { DEMO_HELP, LIVE_HELP, PROGRAM_HELP, REPLAY_HELP } from './help.js';
import type { Io } from './io.js';
import { collect, withLiveSources } from './live/source-options.js';
import { demoRequest, liveRequest, replayRequest } from './options.js';
import { addRecord, withRecordOptions } from './record/command.js';
import { recordRequest } from './record/request.js';
import { paceRequest } from './replay/pace-request.js';
import { addRules } from './rules/command.js';
import { version } from './version.js';

/** Help is made for reading: no wider than this however wide the terminal. */
const HELP_WIDTH = 100;
const HELP_WIDTH_UNKNOWN = 80;

/**
 * Runs one command line (without node and script) and resolves with its exit code; never rejects. Errors
 * are one line on stderr.
 */
export async function runCli(argv: readonly string[], io: Io, commands: Commands): Promise<number> {
  const run: Run = { code: EXIT.done, verbose: false };
  const program = buildProgram(io, commands, run);
  try {
    await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    return failed(error, argv, io, program, run.verbose);
  }
  return run.code === EXIT.done && io.signal.aborted ? EXIT.interrupted : run.code;
}

/** What the chosen command leaves behind. */
interface Run {
  code: number;
  verbose: boolean;
}

function buildProgram(io: Io, commands: Commands, run: Run) {
  const helpWidth = (): number => Math.min(io.columns() ?? HELP_WIDTH_UNKNOWN, HELP_WIDTH);
  const program = new Command('whichpod')
    .description(
      'Which Pod served this request? Attributes every Service connection on a Kubernetes node to its Pod, with evidence.',
    )
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      // Told by `failed`, in one line.
      outputError: () => undefined,
      getOutHelpWidth: helpWidth,
      getErrHelpWidth: helpWidth,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .addHelpText('after', PROGRAM_HELP);

  withOutputOptions(
    withRecordOptions(
      withLiveSources(
        program
          .command('live')
          .description("stream attributions of this node's connections until interrupted")
          .helpOption('-h, --help', 'print this help')
          .optionsGroup('What to watch:'),
      )
        .option('--duration <time>', 'end after 30s, 2m, 1h30m ...')
        .option('--count <n>', 'end after this many connections')
        .option('--udp-idle <time>', 'end an unanswered UDP flow after this silence (default: 30s)')
        .option(
          '--conntrack-updates',
          "read changes of conntrack's entries too: explain shows them",
        )
        .option(
          '--remember <n>',
          'connections that explain can ask about (default: 1000, 0: none)',
        ),
    ),
  )
    .option('--node <name>', "only of this node, the client's or the backend's", collect)
    .addHelpText('after', LIVE_HELP)
    .action(async (flags) => {
      run.verbose = flags.verbose ?? false;
      const record = recordRequest(flags);
      const request = liveRequest(flags, io);
      run.code = await commands.live({ ...request, ...(record && { record }) }, io);
    });

  withOutputOptions(
    program
      .command('replay')
      .description('stream the attributions of recorded connections')
      .argument('<input...>', 'files and folders')
      .helpOption('-h, --help', 'print this help')
      .optionsGroup('What to read:')
      .option('--tz <zone>', 'time zone of times that name none (default: UTC)')
      .option('--udp-idle <time>', 'end an unanswered UDP flow after this silence (default: 30s)')
      .option(
        '--node <name>',
        'the node that the recording is from; with NAME=PATH inputs a filter: only of this node',
        collect,
      )
      .option('--follow', 'wait for more of a recording that is still being written')
      .option('--speed <times>', 'as fast as it was recorded (1), ten times (10) ...')
      .optionsGroup('Annotating:')
      .option(
        '-w, --write <file>',
        'the captures, with names and comments, for Wireshark; - for standard output',
      ),
  )
    .addHelpText('after', REPLAY_HELP)
    .action(async (inputs, flags) => {
      run.verbose = flags.verbose ?? false;
      const request = replayRequest(inputs, flags, io);
      run.code = await commands.replay({ ...request, ...paceRequest(flags) }, io);
    });

  const ran = (code: number, verbose: boolean): void => {
    run.code = code;
    run.verbose = verbose;
  };
  addRecord(program, io, ran);
  addExplain(program, io, ran);
  addRules(program, io, ran);
  addDoctor(program, io, ran);

  withOutputOptions(
    program
      .command('demo')
      .description('see it work on this machine, without a cluster')
      .helpOption('-h, --help', 'print this help')
      .optionsGroup('What to do:')
      .option('--count <n>', 'requests to send'),
  )
    .option('--node <name>', "only of this node, the client's or the backend's", collect)
    .addHelpText('after', DEMO_HELP)
    .action(async (flags) => {
      run.verbose = flags.verbose ?? false;
      run.code = await commands.demo(demoRequest(flags, io), io);
    });

  return program;
}

/** The options that every streaming command has. */
function withOutputOptions<Args extends unknown[], Opts extends Record<string, unknown>>(
  command: Command<Args, Opts>,
) {
  return command
    .optionsGroup('Output:')
    .option(
      '-o, --output <format>',
      'table, wide, ndjson, summary (default: table, in a pipe ndjson)',
    )
    .option('--direct', 'show connections straight to a Pod too')
    .option('--fail-on <what>', 'exit with 1 on any of conflict,unattributed,loss', collect)
    .option('--no-color', 'no colours (also: the variable NO_COLOR)')
    .option('-v, --verbose', 'say more on stderr')
    .optionsGroup('Filters (repeat, or separate values with commas):')
    .option('--service <ns/name>', 'only to this Service', collect)
    .option('--pod <ns/name>', 'only of this Pod, client or backend', collect)
    .option(
      '-n, --namespace <ns>',
      "only of this namespace: Service's, client's, backend's",
      collect,
    )
    .option('--client <address>', 'only from this address or range (10.244.0.0/16)', collect)
    .option('--port <port>', 'only to this port, as the client addressed it', collect)
    .option('--protocol <name>', 'tcp, udp, sctp', collect)
    .option('--verdict <verdict>', 'attributed, unattributed, conflict', collect)
    .option(
      '--outcome <outcome>',
      'established, refused, reset, unanswered, rejected, open',
      collect,
    );
}

async function failed(
  error: unknown,
  argv: readonly string[],
  io: Io,
  program: { readonly commands: readonly { name(): string }[] },
  verbose: boolean,
): Promise<number> {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.done;
    // No command at all: the help has been written to stderr already.
    if (error.code === 'commander.help') return EXIT.usage;
    const named = program.commands.find((command) => command.name() === argv[0]);
    const help = named ? `whichpod ${named.name()} --help` : 'whichpod --help';
    await tell(io, `${error.message.replace(/^error: /, '').replaceAll('\n', ' ')} (see ${help})`);
    return EXIT.usage;
  }
  if (io.signal.aborted && error instanceof Error && error.name === 'AbortError') {
    return EXIT.interrupted;
  }
  const { code, text } = explainError(error, verbose);
  await tell(io, text);
  return code;
}

/** Messages may quote what was found in a file, so they are made safe like any other foreign text. */
async function tell(io: Io, text: string): Promise<void> {
  // Not needed before something goes wrong, and `--help` is to be quick.
  const { escapeText } = await import('../sinks/escape.js');
  const lines = text.split('\n').map((line) => escapeText(line));
  io.stderr.write(`whichpod: ${lines.join('\n')}\n`);
}
