import { diagnose } from '../../explain/doctor/diagnose.js';
import type { NodeFacts } from '../../model/doctor.js';
import { doctorJson, doctorText } from '../../sinks/doctor.js';
import { type NodeFactsOptions, nodeFacts } from '../../sources/node/facts.js';
import { EXIT } from '../exit.js';
import type { Io } from '../io.js';

export interface DoctorRequest {
  readonly json: boolean;
  readonly colors: boolean;
  readonly verbose: boolean;
  /** Absent: ask no cluster. */
  readonly cluster?: NonNullable<NodeFactsOptions['cluster']>;
  readonly nodeName?: string;
}

/** `whichpod doctor`: looks at the node once and says what it comes to; 1 if live could not work. */
export async function run(
  request: DoctorRequest,
  io: Io,
  look: (options: NodeFactsOptions) => Promise<NodeFacts> = nodeFacts,
): Promise<number> {
  const { cluster, nodeName } = request;
  const facts = await look({
    env: io.env,
    uid: io.uid,
    signal: io.signal,
    ...(cluster !== undefined && { cluster }),
    ...(nodeName !== undefined && { nodeName }),
  });
  if (io.signal.aborted) return EXIT.done;
  const diagnosis = diagnose(facts);
  const text = request.json
    ? doctorJson(diagnosis)
    : doctorText(diagnosis, {
        columns: io.columns(),
        colors: request.colors && io.terminal.stdout,
        verbose: request.verbose,
      });
  io.stdout.write(text);
  return diagnosis.works ? EXIT.done : EXIT.found;
}
