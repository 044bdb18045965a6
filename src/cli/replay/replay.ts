import { Writable } from 'node:stream';
import type { OutputEvent } from '../../model/attribution.js';
import type { InputEvent } from '../../model/event.js';
import { Interfaces } from '../../model/interfaces.js';
import { UsageError } from '../../model/problem.js';
import { openedEvents } from '../../pipeline/opened-events.js';
import { RuleCounters } from '../../pipeline/rule-counters.js';
import type { ReplayInputs } from '../../sources/files/open.js';
import type { ReplayRequest } from '../commands.js';
import type { Io } from '../io.js';
import { Progress } from '../progress.js';
import { Shown } from '../shown.js';
import { Annotation } from './annotation.js';
import { finish, machineFor } from './machine.js';
import { Pace } from './pace.js';
import { Pipes } from './pipes.js';
import { openRecorded } from './recorded-inputs.js';

/** `whichpod replay`: from recordings into the machine, ordered by time, until they end. */
export async function run(request: ReplayRequest, io: Io): Promise<number> {
  const { annotated } = request;
  if (annotated === undefined) return runInto(request, undefined, io);
  const pipes = new Pipes(annotated);
  try {
    return await runInto(request, { path: annotated, pipes }, io);
  } finally {
    pipes.close();
  }
}

/** Where the captures go once more. */
interface Into {
  readonly path: string;
  readonly pipes: Pipes;
}

async function runInto(request: ReplayRequest, into: Into | undefined, io: Io): Promise<number> {
  const interfaces = new Interfaces();
  const progress = new Progress(io);
  const inputs = await openRecorded(request, io, interfaces, {
    progress,
    ...(request.follows === true && { following: io.signal }),
    ...(into !== undefined && { onPipe: (source) => into.pipes.keep(source) }),
  });
  if (!inputs.hasEvidence) {
    throw new UsageError(
      'no capture and no conntrack among the inputs, so there is nothing to attribute; add a pcap, or what conntrack -L or -E printed',
    );
  }
  const annotation =
    into === undefined ? undefined : Annotation.into(into.path, inputs, into.pipes, io);
  try {
    return await tell({ request, inputs, interfaces, progress, annotation }, io);
  } finally {
    annotation?.close();
  }
}

interface Opened {
  readonly request: ReplayRequest;
  readonly inputs: ReplayInputs;
  readonly interfaces: Interfaces;
  readonly progress: Progress;
  readonly annotation: Annotation | undefined;
}

async function tell(opened: Opened, io: Io): Promise<number> {
  const { request, inputs, interfaces, progress, annotation } = opened;
  const machine = machineFor(inputs, interfaces, {
    saysDirect: request.output.direct,
    describes: request.output.format !== 'summary' || annotation !== undefined,
    udpIdleNs: request.udpIdleNs,
  });
  // A capture goes to standard output alone.
  const stdout = request.annotated === '-' ? nowhere() : io.stdout;
  const shown = await Shown.open(request.output, { ...io, stdin: io.stdin, stdout }, 'wait');
  const counters = new RuleCounters(inputs.countedRules);
  const show = (events: readonly OutputEvent[]): void => {
    counters.tell(events);
    annotation?.hear(events);
    shown.show(events);
  };
  const { before, after } = openedEvents(inputs, interfaces);
  const push = (event: InputEvent): void => {
    annotation?.learn(event);
    machine.push(event);
  };
  for (const event of before) push(event);
  show(machine.take());
  const pace =
    request.speed === undefined ? undefined : new Pace(request.speed, () => io.now(), io.signal);
  for await (const batch of after) {
    for (const event of batch) {
      if (pace !== undefined) {
        // What is known is said before time passes.
        show(machine.take());
        await pace.until(event);
      }
      push(event);
    }
    progress.packets = inputs.counts.packets;
    const events = machine.take();
    if (events.length > 0) {
      // Rows and the bar may share a terminal.
      progress.end();
      show(events);
    }
    const full = shown.sink.ready();
    if (full !== undefined) await full;
    const unheard = shown.sink.closed.aborted && annotation === undefined;
    if (io.signal.aborted || unheard) break;
  }
  progress.end();
  const last = finish(machine, inputs);
  counters.tell(last);
  annotation?.hear(last);
  // The summary stays the last word.
  shown.show([...last.slice(0, -1), ...counters.statements(), ...last.slice(-1)]);
  const code = await shown.end();
  await annotation?.write();
  return code;
}

function nowhere(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() });
}
