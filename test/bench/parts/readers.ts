import { type Context, programOf } from '../context.js';
import type { Recording, RecordingShape } from '../generate/recording.js';
import type { Contestant } from '../in-turn.js';
import { measureProgram } from '../program.js';

/** A program that reads a recording. */
export interface Reader extends Contestant {
  readonly packets: number;
}

/** `replay -o summary` or `-o ndjson > /dev/null`. A figure counts only if every connection was attributed. */
export function whichpod(
  context: Context,
  recording: Recording,
  format: 'summary' | 'ndjson',
): Reader {
  const discard = format === 'ndjson';
  const argv = [process.execPath, programOf(context), 'replay', recording.folder, '-o', format];
  return {
    name: `whichpod replay -o ${format}${discard ? ' > /dev/null' : ''}`,
    packets: recording.shape.packets,
    run: async () => {
      const run = await measureProgram(argv, { discard });
      if (!discard) checkSummary(run.stdout, recording.shape.connections);
      return run;
    },
  };
}

/** tcpdump picks the packets that whichpod looks at. */
export function tcpdump({ capture, shape }: Recording): Reader {
  return {
    name: 'tcpdump -r -w /dev/null SYN|FIN|RST',
    packets: shape.packets,
    run: () => measureProgram(['tcpdump', '-r', capture, '-w', '/dev/null', filterOf(shape)]),
  };
}

export function tshark({ capture, shape }: Recording): Reader {
  return {
    name: 'tshark -q -z conv,tcp',
    packets: shape.packets,
    run: () => measureProgram(['tshark', '-r', capture, '-q', '-z', 'conv,tcp']),
  };
}

function filterOf(shape: RecordingShape): string {
  const four = 'tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0';
  // libpcap's tcp[] is for IPv4 only.
  const both = shape.ipv6Share > 0 ? `${four} or (ip6 and ip6[6] == 6 and ip6[53] & 7 != 0)` : four;
  return shape.vlan ? `vlan and (${both})` : both;
}

/** Throws unless all connections were attributed. */
export function checkSummary(output: string, connections: number): void {
  const last = output.trim().split('\n').at(-1) ?? '';
  const summary = JSON.parse(last) as { connections: { seen: number; attributed: number } };
  const { seen, attributed } = summary.connections;
  if (seen !== connections || attributed !== connections) {
    throw new Error(`not all of ${connections} connections were attributed: ${last}`);
  }
}
