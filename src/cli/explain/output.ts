import { open } from 'node:fs/promises';
import type { Explanation } from '../../model/explanation.js';
import { UsageError } from '../../model/problem.js';
import type { Io } from '../io.js';
import type { ExplainFormat, ExplainOutput } from './request.js';

/** Where the terminal does not say. */
const WIDTH_UNKNOWN = 100;

/** Writes an explanation where it was asked for, in the form that was asked for. */
export async function showExplanation(
  explanation: Explanation,
  output: ExplainOutput,
  io: Io,
): Promise<void> {
  const { file } = output;
  const colors = file === undefined && output.colors && io.terminal.stdout;
  const text = await FORMS[output.format](explanation, {
    width: (file === undefined ? io.columns() : undefined) ?? WIDTH_UNKNOWN,
    colors,
    everyRule: output.everyRule,
  });
  if (file === undefined) {
    await new Promise<void>((resolve) => io.stdout.write(text, () => resolve()));
    return;
  }
  await writeFile(file, text);
  io.stderr.write(`written: ${file}\n`);
}

type Form = (
  explanation: Explanation,
  options: { readonly width: number; readonly colors: boolean; readonly everyRule: boolean },
) => Promise<string>;

/** Each loads its own code only. */
const FORMS: Readonly<Record<ExplainFormat, Form>> = {
  text: async (explanation, options) =>
    (await import('../../sinks/explain/text.js')).renderText(explanation, options),
  json: async (explanation) =>
    (await import('../../sinks/explain/json.js')).renderJson(explanation),
  dot: async (explanation) => (await import('../../sinks/explain/dot.js')).renderDot(explanation),
  svg: async (explanation) => (await import('../../sinks/explain/svg.js')).renderSvg(explanation),
  html: async (explanation) =>
    (await import('../../sinks/explain/html.js')).renderHtml(explanation),
};

async function writeFile(path: string, text: string): Promise<void> {
  try {
    const handle = await open(path, 'w');
    try {
      await handle.writeFile(text);
    } finally {
      await handle.close();
    }
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new UsageError(`-w: cannot write ${path}: ${why}; check the path`);
  }
}
