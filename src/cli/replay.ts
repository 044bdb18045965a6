import { Correlator } from '../correlate/correlator.js';
import { Interfaces } from '../model/interfaces.js';
import { describeWhere, type Problem, UsageError } from '../model/problem.js';
import { secondsOf } from '../model/time.js';
import { mergeByTime } from '../pipeline/merge.js';
import { openInputs, type ReplayInputs } from '../sources/files/open.js';
import type { ReplayRequest } from './commands.js';
import type { Io } from './io.js';
import { Progress } from './progress.js';
import { Shown } from './shown.js';

/** `whichpod replay`: from recordings into the machine, ordered by time, until they end. */
export async function run(request: ReplayRequest, io: Io): Promise<number> {
  const interfaces = new Interfaces();
  const progress = new Progress(io);
  const inputs = await openInputs(request.inputs, {
    interfaces,
    stdin: io.stdin,
    ...(request.offsetAt !== undefined && { offsetAt: request.offsetAt }),
    ...(request.nodeName !== undefined && { node: request.nodeName }),
    onProblem: (file, problem) => io.stderr.write(`${describe(file, problem)}\n`),
    onProgress: (done, total) => progress.show(done, total),
  });
  sayskipped(inputs, io);
  if (!inputs.hasEvidence) {
    throw new UsageError(
      'no capture and no conntrack among the inputs, so there are no connections to attribute; add a pcap, or conntrack -L or -E output',
    );
  }
  const machine = new Correlator({
    interfaces,
    baseSeconds: inputs.firstTime === undefined ? 0 : secondsOf(inputs.firstTime),
    ...(request.udpIdleNs !== undefined && { udpIdleNs: request.udpIdleNs }),
  });
  const shown = new Shown(request.output, io, 'wait');
  for (const event of inputs.prelude) machine.push(event);
  shown.show(machine.take());
  for await (const batch of mergeByTime(inputs.streams, interfaces)) {
    for (const event of batch) machine.push(event);
    shown.show(machine.take());
    await shown.sink.ready();
    if (io.signal.aborted || shown.sink.closed.aborted) break;
  }
  progress.end();
  shown.show(machine.finish(inputs.packetsSeen()));
  return shown.end();
}
