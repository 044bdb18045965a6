import { Correlator } from '../correlate/correlator.js';
import type { OutputEvent } from '../model/attribution.js';
import type { InputEvent } from '../model/event.js';
import { Interfaces } from '../model/interfaces.js';
import { describeWhere, type Problem, UsageError } from '../model/problem.js';
import { secondsOf, UTC } from '../model/time.js';
import { inTime } from '../pipeline/in-time.js';
import { RuleCounters } from '../pipeline/rule-counters.js';
import { RuleSurvey } from '../pipeline/rule-survey.js';
import { escapeText } from '../sinks/escape.js';
import { openInputs, type Skipped } from '../sources/files/open.js';
import type { ReplayRequest } from './commands.js';
import type { Io } from './io.js';
import { Pace } from './pace.js';
import { Progress } from './progress.js';
import { Shown } from './shown.js';

/** `whichpod replay`: from recordings into the machine, ordered by time, until they end. */
export async function run(request: ReplayRequest, io: Io): Promise<number> {
  const interfaces = new Interfaces();
  const progress = new Progress(io);
  const inputs = await openInputs(request.inputs, {
    interfaces,
    offsetAt: request.offsetAt ?? UTC,
    stdin: io.stdin,
    ...(request.nodeName !== undefined && { node: request.nodeName }),
    onProblem: (file, problem) => {
      progress.end();
      io.stderr.write(`${escapeText(describe(file, problem))}\n`);
    },
    onProgress: (done, total) => progress.show(done, total),
    ...(request.follows === true && { following: io.signal }),
  });
  io.stderr.write(skippedLines(inputs.skipped));
  if (!inputs.hasEvidence) {
    throw new UsageError(
      'no capture and no conntrack among the inputs, so there is nothing to attribute; add a pcap, or what conntrack -L or -E printed',
    );
  }
  const { recorded } = inputs;
  const udpIdleNs = request.udpIdleNs ?? recorded?.udpIdleNs;
  const onlyNode = inputs.nodes.length === 1 ? inputs.nodes[0] : undefined;
  const machine = new Correlator({
    interfaces,
    baseSeconds: inputs.firstTime === undefined ? 0 : secondsOf(inputs.firstTime),
    severalNodes: inputs.nodes.length > 1,
    ...(inputs.lastRules !== undefined && { lastRules: inputs.lastRules }),
    packetsOnly: !inputs.hasConntrack && inputs.nodes.length === 1,
    ...(onlyNode !== undefined && onlyNode !== '' && { node: onlyNode }),
    saysDirect: request.output.direct,
    describes: request.output.format !== 'summary',
    ...(udpIdleNs !== undefined && { udpIdleNs }),
    ...(recorded !== undefined && { firstListingIsOld: recorded.firstListingIsOld }),
  });
  const shown = new Shown(request.output, io, 'wait');
  const counters = new RuleCounters(inputs.countedRules);
  const show = (events: readonly OutputEvent[]): void => {
    counters.tell(events);
    shown.show(events);
  };
  const survey = new RuleSurvey();
  // A live run learns as it goes.
  if (recorded === undefined) survey.prepare(inputs.prelude);
  const push = (events: readonly InputEvent[]): void => {
    for (const event of events) machine.push(event);
  };
  for (const event of inputs.prelude) push(survey.take(event));
  if (recorded?.concluded !== false) push(survey.conclude());
  show(machine.take());
  const pace =
    request.speed === undefined ? undefined : new Pace(request.speed, () => io.now(), io.signal);
  for await (const batch of inTime(inputs, interfaces)) {
    for (const event of batch) {
      if (pace !== undefined) {
        // What is known is said before time passes.
        show(machine.take());
        await pace.until(event);
      }
      push(survey.take(event));
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
    if (io.signal.aborted || shown.sink.closed.aborted) break;
  }
  progress.end();
  const last = machine.finish(recorded === undefined ? inputs.counts.packets : undefined);
  counters.tell(last);
  // The summary stays the last word.
  shown.show([...last.slice(0, -1), ...counters.statements(), ...last.slice(-1)]);
  return shown.end();
}

/** What is wrong with a file, in one line. */
export function describe(file: string, problem: Problem): string {
  const where = describeWhere(problem.where);
  const lost = problem.lost === undefined ? '' : ` [${problem.lost} lost]`;
  return `${file}: ${problem.message}${where === '' ? '' : ` (${where})`}${lost}; ${problem.advice}`;
}

/** Files of a folder that say nothing are named in one line; those that the user named get a line each. */
export function skippedLines(skipped: readonly Skipped[]): string {
  const lines = skipped
    .filter(({ named, kind }) => named || kind === 'unsupported' || kind === 'no-time')
    .map(({ file, reason }) => `${file}: ${reason}\n`);
  const rest = skipped.filter(
    ({ named, kind }) => !named && (kind === 'unknown' || kind === 'empty'),
  );
  for (const kind of ['unknown', 'empty'] as const) {
    const names = rest.filter((it) => it.kind === kind).map(({ file }) => file);
    if (names.length === 0) continue;
    const what = kind === 'unknown' ? 'not recognised as evidence, skipped' : 'empty';
    lines.push(`${what}: ${names.join(', ')}\n`);
  }
  return lines.map((line) => `${escapeText(line.trimEnd())}\n`).join('');
}
