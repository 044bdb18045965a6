import { parseArgs } from 'node:util';
import { CAPTURE_FORMATS, type CaptureFormat } from './generate/capture-file.js';
import type { RecordingShape } from './generate/recording.js';

/** What the command line asks for. */
export interface Options {
  readonly quick: boolean;
  readonly rounds?: number;
  readonly json?: string;
  /** Figures go into docs/benchmarks.md and docs/benchmarks.json. */
  readonly write: boolean;
  readonly dist?: string;
  readonly shape: Partial<RecordingShape>;
  readonly words: readonly string[];
}

/** Options of a shape that are numbers, and what they set. */
const NUMBERS = {
  packets: 'packets',
  connections: 'connections',
  live: 'live',
  services: 'services',
  endpoints: 'endpointsEach',
  clients: 'clients',
  payload: 'payload',
  seed: 'seed',
  'ipv6-share': 'ipv6Share',
  'retransmit-share': 'retransmitShare',
  'reuse-share': 'reuseShare',
} as const satisfies Record<string, keyof RecordingShape>;

const text = { type: 'string' } as const;
const flag = { type: 'boolean', default: false } as const;

/** Throws with words for people if the arguments are not understood. */
export function parseOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      ...Object.fromEntries(Object.keys(NUMBERS).map((name) => [name, text])),
      quick: flag,
      write: flag,
      vlan: flag,
      rounds: text,
      json: text,
      dist: text,
      format: text,
      link: text,
    },
  });
  const given = new Map(Object.entries(values));
  const textOf = (name: string): string | undefined => {
    const value = given.get(name);
    return typeof value === 'string' ? value : undefined;
  };
  return {
    quick: values.quick,
    write: values.write,
    words: positionals,
    shape: shapeOf(textOf, values.vlan),
    ...(values.rounds === undefined ? {} : { rounds: numberOf('rounds', values.rounds) }),
    ...(values.json === undefined ? {} : { json: values.json }),
    ...(values.dist === undefined ? {} : { dist: values.dist }),
  };
}

function shapeOf(
  given: (name: string) => string | undefined,
  vlan: boolean,
): Partial<RecordingShape> {
  const shape: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(NUMBERS)) {
    const value = given(name);
    if (value !== undefined) shape[field] = numberOf(name, value);
  }
  // Ten packets a connection, if only one of the two is told.
  if (shape['packets'] !== undefined)
    shape['connections'] ??= Math.ceil(Number(shape['packets']) / 10);
  if (shape['connections'] !== undefined) shape['packets'] ??= Number(shape['connections']) * 10;
  if (vlan) shape['vlan'] = true;
  const [format, link] = [given('format'), given('link')];
  if (format !== undefined) shape['format'] = oneOf('format', CAPTURE_FORMATS, format);
  if (link !== undefined) shape['link'] = oneOf('link', ['ethernet', 'sll2'] as const, link);
  return shape as Partial<RecordingShape & { format: CaptureFormat }>;
}

function numberOf(name: string, value: string): number {
  const number = Number(value.replaceAll('_', ''));
  if (!(number >= 0)) throw new Error(`--${name} takes a number, not ${value}`);
  return number;
}

function oneOf<T extends string>(name: string, choices: readonly T[], value: string): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) {
    throw new Error(`--${name} is one of ${choices.join(', ')}, not ${value}`);
  }
  return found;
}
