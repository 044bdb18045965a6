import { canonicalAddress } from '../../model/address.js';
import { UsageError } from '../../model/problem.js';
import type { OffsetAt } from '../../model/time.js';
import type { ClientSelector, Selector, ToSelector } from '../../pipeline/selector.js';
import type { LiveRequest, ReplayInput } from '../commands.js';
import type { Io } from '../io.js';
import {
  count,
  duration,
  given,
  type LiveFlags,
  liveRequest,
  oneOf,
  replayInput,
  values,
  zone,
} from '../options.js';

export const EXPLAIN_FORMATS = ['text', 'json', 'dot', 'svg', 'html'] as const;
export type ExplainFormat = (typeof EXPLAIN_FORMATS)[number];

/** What was typed, without the common options of live. */
export interface ExplainFlags extends Omit<LiveFlags, 'count'> {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly nth?: string | undefined;
  readonly next?: boolean | undefined;
  readonly whatIf?: string | undefined;
  readonly in?: string | undefined;
  readonly fromNode?: boolean | undefined;
  readonly whyNot?: string | undefined;
  readonly tz?: string | undefined;
  readonly write?: string | undefined;
}

/** A hypothetical packet, as it was typed. */
export interface WhatIfQuestion {
  readonly kind: 'what-if';
  readonly protocol: string;
  /** `SRC[:PORT]` */
  readonly source: string;
  /** `DST:PORT` */
  readonly destination: string;
  readonly interface?: string;
  readonly fromNode: boolean;
}

/** Why a Pod gets nothing of a Service, as it was typed. */
export interface WhyNotQuestion {
  readonly kind: 'why-not';
  /** `NS/POD` */
  readonly pod: string;
  /** `NS/SERVICE` */
  readonly to: string;
}

type ExplainQuestion =
  | {
      readonly kind: 'connection';
      readonly selector: Selector;
      /** Wait for the next match even where a live run could be asked. */
      readonly next: boolean;
    }
  | WhatIfQuestion
  | WhyNotQuestion;

/** Where the rules, the cluster and the node are read: recordings, or with no inputs this node. */
export interface NodeRequest {
  readonly inputs: readonly ReplayInput[];
  /** The node of the inputs that name none. */
  readonly nodeName?: string;
  readonly offsetAt?: OffsetAt;
  readonly udpIdleNs?: number;
  /** What of this node is looked at where there are no inputs. */
  readonly live: LiveRequest;
  readonly verbose: boolean;
}

export interface ExplainOutput {
  readonly format: ExplainFormat;
  /** In place of stdout. */
  readonly file?: string;
  /** Of a text: every rule that was passed over, one by one. */
  readonly everyRule: boolean;
  /** Whether colours are allowed at all; a stream that is no terminal never gets them. */
  readonly colors: boolean;
}

export interface ExplainRequest extends NodeRequest {
  readonly question: ExplainQuestion;
  readonly output: ExplainOutput;
  /** How long to wait for a connection; without it until interrupted. */
  readonly durationNs?: number;
}

/** Flags and words as they were typed to a request: pure, and every wrong value is a UsageError. */
export function explainRequest(
  words: readonly string[],
  flags: ExplainFlags,
  around: Pick<Io, 'terminal' | 'env'>,
): ExplainRequest {
  const { question, inputs } = questionOf(words, flags);
  const live = liveRequest({ ...flags, count: undefined, output: undefined }, around);
  const nodes = values('--node', flags.node);
  if (nodes.length > 1) {
    throw new UsageError(
      `--node: ${nodes.join(' and ')} cannot both be where one recording is from; name them with the inputs: ${nodes[0]}=PATH`,
    );
  }
  return {
    question,
    inputs: inputs.map(replayInput),
    output: outputOf(flags, live.output),
    live,
    verbose: live.output.verbose,
    ...given('nodeName', nodes[0]),
    ...given('offsetAt', zone(flags.tz)),
    ...given('udpIdleNs', live.udpIdleNs),
    ...given('durationNs', duration('--duration', flags.duration)),
  };
}

function outputOf(flags: ExplainFlags, { colors, verbose }: LiveRequest['output']): ExplainOutput {
  const { output, write } = flags;
  if (write === '') throw new UsageError('-w: the path is empty; name a file');
  const extension = write?.slice(write.lastIndexOf('.') + 1);
  const byName = EXPLAIN_FORMATS.find((format) => format === extension) ?? 'text';
  return {
    format: oneOf('-o', output ?? byName, EXPLAIN_FORMATS),
    ...given('file', write),
    everyRule: verbose,
    colors,
  };
}

function questionOf(
  words: readonly string[],
  flags: ExplainFlags,
): { readonly question: ExplainQuestion; readonly inputs: readonly string[] } {
  const { whatIf, whyNot } = flags;
  if (whatIf !== undefined) {
    refuse('--what-if', flags, ['from', 'to', 'nth', 'next', 'whyNot', 'duration']);
    return whatIfOf(whatIf, words, flags);
  }
  refuse('a connection that happened', flags, ['in', 'fromNode']);
  if (whyNot !== undefined) {
    refuse('--why-not', flags, ['from', 'nth', 'next', 'duration']);
    if (flags.to === undefined) {
      throw new UsageError('--why-not: of which Service? add --to NAMESPACE/SERVICE');
    }
    return { question: { kind: 'why-not', pod: whyNot, to: flags.to }, inputs: words };
  }
  return connectionOf(words, flags);
}

const NAMES = {
  from: '--from',
  to: '--to',
  nth: '--nth',
  next: '--next',
  whyNot: '--why-not',
  duration: '--duration',
  in: '--in',
  fromNode: '--from-node',
} as const;

function refuse(what: string, flags: ExplainFlags, others: readonly (keyof typeof NAMES)[]): void {
  const other = others.find((key) => flags[key] !== undefined);
  if (other === undefined) return;
  const advice =
    other === 'in' || other === 'fromNode' ? 'it belongs to --what-if' : 'leave one of them out';
  throw new UsageError(`${NAMES[other]}: does not go with ${what}; ${advice}`);
}

/** `--what-if tcp SRC DST [INPUT...]`, or the three in one word. */
function whatIfOf(
  text: string,
  words: readonly string[],
  flags: ExplainFlags,
): { readonly question: WhatIfQuestion; readonly inputs: readonly string[] } {
  const all = [...text.trim().split(/\s+/), ...words];
  const [protocol = '', source, destination, ...inputs] = all;
  if (source === undefined || destination === undefined) {
    throw new UsageError(
      `--what-if: '${all.join(' ')}' is no packet; write PROTOCOL SRC[:PORT] DST:PORT, for instance tcp 10.244.1.2 10.96.81.51:80`,
    );
  }
  if (flags.in !== undefined && flags.fromNode === true) {
    throw new UsageError('--in: does not go with --from-node; leave one of them out');
  }
  const question: WhatIfQuestion = {
    kind: 'what-if',
    protocol,
    source,
    destination,
    ...given('interface', flags.in),
    fromNode: flags.fromNode ?? false,
  };
  return { question, inputs };
}

function connectionOf(
  words: readonly string[],
  flags: ExplainFlags,
): { readonly question: ExplainQuestion; readonly inputs: readonly string[] } {
  const { from, to } = flags;
  const [first, ...rest] = words;
  const said = first === undefined ? undefined : readSelector(first);
  const named = from !== undefined || to !== undefined;
  if (said === undefined && !named) {
    throw new UsageError(
      first === undefined
        ? 'which connection? give its id, its client as IP:PORT, or --from CLIENT --to NAMESPACE/SERVICE'
        : `'${first}' is no connection; write its id (16 hexadecimal digits), its client as IP:PORT or [IP]:PORT, or --from CLIENT --to NAMESPACE/SERVICE`,
    );
  }
  if (said?.client !== undefined && from !== undefined) {
    throw new UsageError(`--from: ${first} names the client already; leave one of them out`);
  }
  const text = [
    ...(said === undefined || first === undefined ? [] : [first]),
    ...(from === undefined ? [] : [`from ${from}`]),
    ...(to === undefined ? [] : [`to ${to}`]),
  ].join(' ');
  const selector: Selector = {
    ...said,
    ...given('client', from === undefined ? said?.client : clientOf(from)),
    ...given('to', to === undefined ? undefined : toOf(to)),
    ...given('nth', count('--nth', flags.nth)),
    text,
  };
  return {
    question: { kind: 'connection', selector, next: flags.next ?? false },
    inputs: said === undefined ? words : rest,
  };
}

/** A connection's id, or its client as `ip:port` or `[ip]:port`; `undefined` if it is neither. */
function readSelector(text: string): Pick<Selector, 'id' | 'client'> | undefined {
  if (/^[0-9a-fA-F]{16}$/.test(text)) return { id: text.toLowerCase() };
  const client = readEndpoint(text);
  return client === undefined ? undefined : { client };
}

function readEndpoint(text: string): { readonly ip: string; readonly port: number } | undefined {
  const m = /^(?:\[([0-9a-fA-F:.]+)\]|(\d+\.\d+\.\d+\.\d+)):(\d{1,5})$/.exec(text);
  const ip = canonicalAddress(m?.[1] ?? m?.[2] ?? '');
  const port = Number(m?.[3] ?? 0);
  return ip === undefined || port < 1 || port > 65_535 ? undefined : { ip, port };
}

function clientOf(text: string): ClientSelector {
  const endpoint = readEndpoint(text);
  if (endpoint !== undefined) return endpoint;
  const ip = canonicalAddress(text.replace(/^\[(.*)\]$/, '$1'));
  if (ip !== undefined) return { ip };
  const name = objectName(text);
  if (name !== undefined) return name;
  throw new UsageError(
    `--from: '${text}' is no client; write its address (10.244.1.2, 10.244.1.2:33210, [fd00::2]:33210) or its Pod as NAMESPACE/POD`,
  );
}

function toOf(text: string): ToSelector {
  const found = readEndpoint(text) ?? objectName(text);
  if (found !== undefined) return found;
  throw new UsageError(
    `--to: '${text}' is no Service; write NAMESPACE/SERVICE, or its address and port (10.96.81.51:80, [fd00::a]:80)`,
  );
}

/** Names as the API allows them (RFC 1123 subdomains), so that a path is not taken for one. */
const NAME = /^([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)\/([a-z0-9](?:[-a-z0-9.]*[a-z0-9])?)$/;

function objectName(
  text: string,
): { readonly namespace: string; readonly name: string } | undefined {
  const m = NAME.exec(text);
  return m ? { namespace: m[1] ?? '', name: m[2] ?? '' } : undefined;
}
