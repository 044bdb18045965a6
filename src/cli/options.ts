import { OUTCOMES, VERDICTS } from '../model/attribution.js';
import { type ProtocolName, protocolName, protocolNumber } from '../model/packet.js';
import { UsageError } from '../model/problem.js';
import { FORMATS } from '../sinks/sink.js';
import { type Cidr, parseCidr } from './cidr.js';
import {
  BACKENDS,
  CONNTRACK,
  type DemoRequest,
  type LiveRequest,
  type OutputRequest,
  type ReplayInput,
  type ReplayRequest,
  RULES,
} from './commands.js';
import { FAIL_ON } from './fail-on.js';
import type { ObjectName } from './filter.js';
import type { Io } from './io.js';
import { parseZone } from './zone.js';

/**
 * Flags as they were typed, to requests: pure, and every wrong value is a UsageError that says which
 * option, what was wrong with it and what is allowed. Options that may come again are lists, each item of
 * which may hold several values with commas between them.
 */
interface CommonFlags {
  readonly output?: string | undefined;
  readonly service?: readonly string[] | undefined;
  readonly pod?: readonly string[] | undefined;
  readonly namespace?: readonly string[] | undefined;
  readonly client?: readonly string[] | undefined;
  readonly port?: readonly string[] | undefined;
  readonly protocol?: readonly string[] | undefined;
  readonly verdict?: readonly string[] | undefined;
  readonly outcome?: readonly string[] | undefined;
  readonly node?: readonly string[] | undefined;
  readonly direct?: boolean | undefined;
  readonly failOn?: readonly string[] | undefined;
  /** false with `--no-color`. */
  readonly color: boolean;
  readonly verbose?: boolean | undefined;
}

export interface LiveFlags extends CommonFlags {
  readonly backend?: string | undefined;
  readonly conntrack?: string | undefined;
  readonly rules?: string | undefined;
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  /** false with `--no-cluster`. */
  readonly cluster: boolean;
  readonly objects?: readonly string[] | undefined;
  readonly nodeName?: string | undefined;
  readonly duration?: string | undefined;
  readonly count?: string | undefined;
  readonly udpIdle?: string | undefined;
  readonly conntrackUpdates?: boolean | undefined;
  readonly remember?: string | undefined;
}

export interface ReplayFlags extends CommonFlags {
  readonly write?: string | undefined;
  readonly follow?: boolean | undefined;
  readonly tz?: string | undefined;
  readonly udpIdle?: string | undefined;
}

export interface DemoFlags extends CommonFlags {
  readonly count?: string | undefined;
}

/** The part of the world that decides defaults. */
type Around = Pick<Io, 'terminal' | 'env'>;

export function liveRequest(flags: LiveFlags, around: Around): LiveRequest {
  const { kubeconfig, context } = flags;
  if (!flags.cluster && (kubeconfig !== undefined || context !== undefined)) {
    const option = kubeconfig === undefined ? '--context' : '--kubeconfig';
    throw new UsageError(`--no-cluster: cannot be used with ${option}; leave one of them out`);
  }
  if (flags.objects !== undefined && (kubeconfig !== undefined || context !== undefined)) {
    const option = kubeconfig === undefined ? '--context' : '--kubeconfig';
    throw new UsageError(`--objects: cannot be used with ${option}; leave one of them out`);
  }
  const nodeName = flags.nodeName ?? around.env.NODE_NAME;
  return {
    output: outputRequest(flags, around),
    backend: oneOf('--backend', flags.backend ?? 'auto', BACKENDS),
    conntrack: oneOf('--conntrack', flags.conntrack ?? 'auto', CONNTRACK),
    rules: oneOf('--rules', flags.rules ?? 'auto', RULES),
    ...given('objects', flags.objects),
    ...(flags.cluster && flags.objects === undefined
      ? { cluster: { ...given('kubeconfig', kubeconfig), ...given('context', context) } }
      : {}),
    ...given('nodeName', nodeName === '' ? undefined : nodeName),
    ...given('durationNs', duration('--duration', flags.duration)),
    ...given('count', count('--count', flags.count)),
    ...given('udpIdleNs', duration('--udp-idle', flags.udpIdle)),
    ...given('conntrackUpdates', flags.conntrackUpdates),
    remember: remembered(flags),
  };
}

/** As many as somebody may want to ask about; each costs 5 KB. */
const REMEMBERED = 1_000;
/** 100 MB. */
const MAX_REMEMBERED = 20_000;

/** A summary alone does not tell single connections, so none can be asked about unless that is wanted. */
function remembered({ remember, output }: LiveFlags): number {
  if (remember === undefined) return output === 'summary' ? 0 : REMEMBERED;
  const number = /^\d{1,9}$/.test(remember) ? Number(remember) : -1;
  if (number < 0 || number > MAX_REMEMBERED) {
    throw wrong(
      '--remember',
      remember,
      'no number',
      `write a whole number from 0 to ${MAX_REMEMBERED}`,
    );
  }
  return number;
}

export function replayRequest(
  inputs: readonly string[],
  flags: ReplayFlags,
  around: Around,
): ReplayRequest {
  const read = inputs.map(replayInput);
  const nodes = values('--node', flags.node);
  // One flag, two uses: with inputs that name their nodes it can only be a filter.
  const filters = read.some(({ node }) => node !== undefined);
  if (!filters && nodes.length > 1) {
    throw new UsageError(
      `--node: ${nodes.join(' and ')} cannot both be where one recording is from; name them with the inputs: ${nodes[0]}=PATH`,
    );
  }
  const output = outputRequest(filters ? flags : { ...flags, node: [] }, around);
  return {
    output,
    inputs: read,
    ...given('nodeName', filters ? undefined : nodes[0]),
    ...given('offsetAt', zone(flags.tz)),
    ...given('udpIdleNs', duration('--udp-idle', flags.udpIdle)),
    ...given('annotated', annotated(flags)),
  };
}

function annotated({ write, output, follow }: ReplayFlags): string | undefined {
  if (write === '') throw new UsageError('-w: the path is empty; name a file, -w annotated.pcapng');
  if (write === '-' && output !== undefined) {
    throw new UsageError(
      `-w -: the capture and -o ${output} cannot both go to standard output; leave -o out, or write into a file: -w annotated.pcapng`,
    );
  }
  if (write !== undefined && follow === true) {
    throw new UsageError(
      '-w: a capture is annotated when all of it is there, so it cannot be used with --follow; leave one of them out',
    );
  }
  return write;
}

export function demoRequest(flags: DemoFlags, around: Around): DemoRequest {
  return {
    output: outputRequest(flags, around),
    ...given('count', count('--count', flags.count)),
  };
}

function outputRequest(flags: CommonFlags, { terminal, env }: Around): OutputRequest {
  const format = flags.output ?? (terminal.stdout ? 'table' : 'ndjson');
  return {
    format: oneOf('-o', format, FORMATS),
    // https://no-color.org: any value but the empty one.
    colors: flags.color && !env.NO_COLOR && env.TERM !== 'dumb',
    verbose: flags.verbose ?? false,
    direct: flags.direct ?? false,
    failOn: values('--fail-on', flags.failOn).map((text) => oneOf('--fail-on', text, FAIL_ON)),
    filter: {
      services: values('--service', flags.service).map((text) => objectName('--service', text)),
      pods: values('--pod', flags.pod).map((text) => objectName('--pod', text)),
      namespaces: values('-n', flags.namespace),
      clients: values('--client', flags.client).map(cidr),
      ports: values('--port', flags.port).map(port),
      protocols: values('--protocol', flags.protocol).map(protocol),
      verdicts: values('--verdict', flags.verdict).map((text) =>
        oneOf('--verdict', text, VERDICTS),
      ),
      outcomes: values('--outcome', flags.outcome).map((text) =>
        oneOf('--outcome', text, OUTCOMES),
      ),
      nodes: values('--node', flags.node),
    },
  };
}

/** A property that is there only if it has a value. */
export function given<K extends string, V>(
  key: K,
  value: V | undefined,
): { readonly [P in K]?: V } {
  // An object literal with a computed key is typed as an index signature; this is the same thing said exactly.
  return value === undefined ? {} : ({ [key]: value } as { readonly [P in K]: V });
}

/** Refuses what is empty: `--fail-on "$UNSET"` must not turn into a check that never fails. */
export function values(option: string, list: readonly string[] | undefined): string[] {
  const found = (list ?? []).flatMap((item) => item.split(',')).map((item) => item.trim());
  if (found.includes('')) {
    throw new UsageError(`${option}: a value is empty; write one, or leave the option out`);
  }
  return found;
}

export function wrong(option: string, text: string, fault: string, allowed: string): UsageError {
  return new UsageError(`${option}: '${text}' is ${fault}; ${allowed}`);
}

export function oneOf<T extends string>(option: string, text: string, allowed: readonly T[]): T {
  const found = allowed.find((it) => it === text);
  if (found === undefined) {
    throw wrong(option, text, 'not known', `write one of ${allowed.join(', ')}`);
  }
  return found;
}

function objectName(option: string, text: string): ObjectName {
  const m = /^([^/]+)\/([^/]+)$/.exec(text);
  if (!m) {
    throw wrong(option, text, 'no NAMESPACE/NAME', 'write for instance default/nginx');
  }
  return { namespace: m[1] ?? '', name: m[2] ?? '' };
}

function cidr(text: string): Cidr {
  const range = parseCidr(text);
  if (!range) {
    throw wrong('--client', text, 'no address', 'write 10.244.1.2, 10.244.0.0/16 or fd00::/64');
  }
  return range;
}

function port(text: string): number {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number < 1 || number > 65_535) {
    throw wrong('--port', text, 'no port', 'write a number from 1 to 65535');
  }
  return number;
}

function protocol(text: string): ProtocolName {
  const name = protocolName(protocolNumber(text));
  if (name === 'tcp' || name === 'udp' || name === 'sctp') return name;
  throw wrong('--protocol', text, 'not known', 'write one of tcp, udp, sctp');
}

export function count(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (number < 1) throw wrong(option, text, 'no count', 'write a whole number from 1 to 999999999');
  return number;
}

const NANOS_PER_UNIT: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};
/** Longer than anybody waits, and well inside what a timer and an exact integer can hold. */
const MAX_DURATION_HOURS = 480;

/** `30s`, `500ms`, `2m`, `1h`, `1h30m`, `1.5s` in nanoseconds. */
export function duration(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const allowed = `write 30s, 500ms, 2m or 1h30m, up to ${MAX_DURATION_HOURS}h`;
  if (!/^(\d{1,12}(\.\d{1,9})?(ns|us|µs|ms|s|m|h))+$/.test(text)) {
    throw wrong(option, text, 'no duration', allowed);
  }
  let ns = 0;
  for (const [, number, unit] of text.matchAll(/([\d.]+)([a-zµ]+)/g)) {
    ns += Number(number) * (NANOS_PER_UNIT[unit ?? ''] ?? 0);
  }
  ns = Math.round(ns);
  if (ns <= 0) throw wrong(option, text, 'no time at all', allowed);
  if (ns > MAX_DURATION_HOURS * 3600e9) throw wrong(option, text, 'too long', allowed);
  return ns;
}

export function zone(text: string | undefined): ReplayRequest['offsetAt'] {
  if (text === undefined) return undefined;
  const offsetAt = parseZone(text);
  if (!offsetAt) throw wrong('--tz', text, 'no time zone', 'write UTC, +02:00 or Europe/Berlin');
  return offsetAt;
}

/** A node's name is a DNS subdomain, so `./a=b.pcap` is a path and `node1=dir` is not. */
const NAMED = /^([a-z0-9](?:[-a-z0-9.]*[a-z0-9])?)=(.+)$/s;

export function replayInput(text: string): ReplayInput {
  if (text === '') throw new UsageError('INPUT: a path is empty; name a file or a folder');
  const m = NAMED.exec(text);
  return m ? { node: m[1] ?? '', path: m[2] ?? '' } : { path: text };
}
