import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { labUnavailable } from '../../lab/available.js';
import { closeLabsSync, createLab, type Lab } from '../../lab/lab.js';
import type { TruthRow } from '../../lab/traffic-client.js';
import { TUTORIAL, TUTORIAL_CLIENT } from '../../lab/tutorial.js';
import type { Attribution, OutputEvent } from '../../model/attribution.js';
import type { DemoRequest } from '../commands.js';
import { EXIT } from '../exit.js';
import { ROOT } from '../installed.js';
import type { Io } from '../io.js';
import { parseEvent } from '../parse-event.js';
import { Shown } from '../shown.js';
import { showWalk } from './demo-walk.js';

/** Of the folder with the objects that `live` reads; the process that made it follows. */
const FOLDER = 'whichpod-demo-';
const DEFAULT_REQUESTS = 12;
/** So slow that one can watch. */
const PER_SECOND = 6;
/** Printed by `live` on stderr when it has begun to watch. */
const WATCHING = /^watching /;
/** A child that does not end within this time after it was asked to is killed. */
const CHILD_END_MS = 5_000;
/** After the last answer `live` has its last word in less than this. */
const LAST_WORDS_MS = 10_000;

const RECORDING = join(ROOT, 'pcaps/tutorial');
const PROGRAM = join(ROOT, 'dist/main.js');

/** `whichpod demo`: a node of our own, real requests, and which Pod served each. */
export async function run(request: DemoRequest, io: Io): Promise<number> {
  const unavailable = labUnavailable(TUTORIAL);
  if (unavailable !== undefined) {
    io.stderr.write(
      `No node can be built here (${unavailable}; it takes Linux and root), so this replays a recording of one: ${RECORDING}\n\n`,
    );
    const replay = await import('../replay/replay.js');
    return replay.run({ output: request.output, inputs: [{ path: RECORDING }] }, io);
  }
  io.onExit(closeLabsSync);
  const started = io.now();
  io.stderr.write('Building a small node in network namespaces (no uplink) … ');
  const lab = await createLab(TUTORIAL);
  try {
    const took = Number((io.now() - started) / 1_000_000n);
    io.stderr.write(`done in ${took} ms\n`);
    if (lab.fallback !== undefined) io.stderr.write(`  (${lab.fallback})\n`);
    await showWalk(lab, io);
    return await watch(lab, request, io);
  } finally {
    await lab.close();
  }
}

/** Runs `live` inside the node, sends requests, and holds what it says against what the Pods answered. */
async function watch(lab: Lab, request: DemoRequest, io: Io): Promise<number> {
  if (io.signal.aborted) return EXIT.interrupted;
  const count = request.count ?? DEFAULT_REQUESTS;
  await sweepFolders();
  const folder = await mkdtemp(join(tmpdir(), `${FOLDER}${process.pid}-`));
  const shown = await Shown.open(request.output, io, 'wait');
  const said = new Map<string, Attribution>();
  const node = new LiveInNode(lab, folder, count, io, (event) => {
    if (event.type === 'attribution' || event.type === 'close') {
      const { client } = event.attribution;
      said.set(`${client.ip}:${client.port}`, event.attribution);
    }
    shown.show([event]);
  });
  try {
    await writeObjects(lab, folder);
    await node.start();
    io.stderr.write(
      `The same, for every request, as it happens: whichpod live on this node, ${count} requests\n\n`,
    );
    // When the end is asked for, the requests end with the lab.
    const traffic = { from: TUTORIAL_CLIENT, to: 'default/nginx', count, perSecond: PER_SECOND };
    const truth = await unlessAborted(() => lab.request(traffic), io.signal);
    const late = setTimeout(() => void node.stop(), LAST_WORDS_MS);
    await node.ended;
    clearTimeout(late);
    const code = await shown.end();
    if (truth === undefined) return EXIT.interrupted;
    return agrees(truth, said, io) ? code : EXIT.found;
  } finally {
    await node.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** What the work gives, or `undefined` as soon as the end is asked for; the work is then left alone. */
function unlessAborted<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      resolve(undefined);
      return;
    }
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
    work().then(resolve, reject);
  });
}

/** Every answer names the Pod that gave it: whether whichpod named the same. */
function agrees(
  truth: readonly TruthRow[],
  said: ReadonlyMap<string, Attribution>,
  io: Io,
): boolean {
  const served = truth.filter((row) => row.ok);
  const right = served.filter(
    (row) => said.get(`${row.src}:${row.sport}`)?.backend?.pod?.name === row.pod,
  );
  io.stderr.write(
    `\nEach Pod put its name into its answer: ${right.length} of ${served.length} agree with whichpod.\n`,
  );
  return right.length === served.length && served.length === truth.length;
}

/** Removes what demos left that were killed. */
async function sweepFolders(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = name.startsWith(FOLDER) ? Number.parseInt(name.slice(FOLDER.length), 10) : 0;
    if (pid > 0 && !isAlive(pid)) await rm(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Another user's process lives as well.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

async function writeObjects(lab: Lab, folder: string): Promise<void> {
  for (const [name, list] of Object.entries(lab.objects)) {
    await writeFile(join(folder, `${name}.json`), JSON.stringify(list));
  }
}

/** `whichpod live` as a process in the node's network namespace. */
class LiveInNode {
  /** Resolves when the process has ended. */
  readonly ended: Promise<void>;
  private readonly lab: Lab;
  private readonly objects: string;
  private readonly count: number;
  private readonly io: Io;
  private readonly say: (event: OutputEvent) => void;
  private child: ReturnType<typeof spawn> | undefined;
  private settle: () => void = () => undefined;

  constructor(lab: Lab, objects: string, count: number, io: Io, say: (event: OutputEvent) => void) {
    this.lab = lab;
    this.objects = objects;
    this.count = count;
    this.io = io;
    this.say = say;
    this.ended = new Promise((resolve) => {
      this.settle = resolve;
    });
  }

  /** Resolves when it watches, or has ended already. */
  start(): Promise<void> {
    const [command = '', ...prefix] = this.lab.enter('node');
    const args = [
      ...prefix,
      process.execPath,
      PROGRAM,
      'live',
      ...['--objects', this.objects, '-o', 'ndjson', '--count', String(this.count)],
    ];
    // The channel is for its closing alone: it tells the child of our end even if we are killed.
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // Not in the terminal's group: a Ctrl-C that it hears twice would end it without its last words.
      detached: true,
    });
    this.child = child;
    const end = (): void => this.settle();
    child.once('error', (error) => {
      this.io.stderr.write(`whichpod live could not be started: ${error.message}\n`);
      end();
    });
    child.once('close', end);
    const { signal } = this.io;
    if (signal.aborted) void this.stop();
    else signal.addEventListener('abort', () => void this.stop(), { once: true });
    const { stdout, stderr } = child;
    if (stdout === null || stderr === null) throw new Error('no pipes from a child'); // not with this stdio
    createInterface({ input: stdout }).on('line', (line) => {
      const event = parseEvent(line);
      if (event !== undefined) this.say(event);
    });
    return new Promise((resolve) => {
      createInterface({ input: stderr }).on('line', (line) => {
        if (WATCHING.test(line)) resolve();
        else this.io.stderr.write(`${line}\n`);
      });
      this.ended.then(resolve, resolve);
    });
  }

  /** Asks it to end, and makes sure that it does. */
  async stop(): Promise<void> {
    const { child } = this;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGINT');
    const timer = setTimeout(() => child.kill('SIGKILL'), CHILD_END_MS);
    await this.ended;
    clearTimeout(timer);
  }
}
