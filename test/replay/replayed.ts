import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { fakeIo } from '../cli/fake-io.js';

/** An event as it is read from NDJSON: what these tests look at. */
export interface SaidEvent {
  readonly type: string;
  readonly source?: string;
  readonly count?: number;
  readonly detail?: string;
  readonly client?: { readonly port: number };
  readonly service?: { readonly name?: string };
  readonly backend?: { readonly ip: string; readonly pod?: { readonly name: string } };
  readonly evidence?: readonly string[];
  readonly connections?: Readonly<
    Record<'seen' | 'attributed' | 'unattributed' | 'conflict' | 'pending', number>
  >;
  readonly losses?: number;
}

/** What one `whichpod replay` said. */
export interface Replayed {
  readonly exit: number;
  readonly stderr: string;
  readonly events: readonly SaidEvent[];
}

/** Runs `whichpod replay` in this process, in this working directory. */
export async function replayed(...argv: readonly string[]): Promise<Replayed> {
  const io = fakeIo();
  const exit = await runCli(['replay', ...argv, '-o', 'ndjson'], io, commands);
  return { exit, stderr: io.stderr.text, events: io.stdout.lines.map((line) => JSON.parse(line)) };
}

export function ofType(events: readonly SaidEvent[], type: string): SaidEvent[] {
  return events.filter((event) => event.type === type);
}

/** Whether a summary's parts make up its whole, with nothing left open. */
export function balances({ connections: c }: SaidEvent): boolean {
  return (
    c !== undefined && c.pending === 0 && c.seen === c.attributed + c.unattributed + c.conflict
  );
}

/** Everything but printable characters and line feeds: nothing of it may reach a terminal. */
export const CONTROL = /(?!\n)[\p{C}\p{Zl}\p{Zp}]/u;
