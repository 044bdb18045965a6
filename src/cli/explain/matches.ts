import { formatEndpoint } from '../../model/address.js';
import type { Attribution, PodRef } from '../../model/attribution.js';
import { formatNanos } from '../../model/time.js';
import type { Choice, Match } from '../../pipeline/choice.js';
import type { Selector } from '../../pipeline/selector.js';
import { escapeText } from '../../sinks/escape.js';
import type { Io } from '../io.js';

/** A screen's worth. */
const MAX_SHOWN = 20;

/** What of a `Choice` is told. */
export type Told = Pick<Choice, 'seen' | 'matched' | 'inOrder' | 'nearest' | 'direct'>;

/** Where several match: how many, which, and which of them is explained. */
export function tellMatches(
  selector: Selector,
  { matched, inOrder }: Pick<Told, 'matched' | 'inOrder'>,
  chosen: Match,
  io: Io,
): void {
  if (matched < 2) return;
  const at = inOrder.findIndex(
    ({ attribution }) => attribution.connection === chosen.attribution.connection,
  );
  const first = matched - inOrder.length;
  const from = Math.max(0, Math.min(at - MAX_SHOWN / 2, inOrder.length - MAX_SHOWN));
  const shown = inOrder.slice(from, from + MAX_SHOWN);
  const why =
    selector.nth === undefined
      ? 'the last that failed is explained, else the last; --nth picks another one'
      : `number ${selector.nth} is explained`;
  const lines = shown.map(({ attribution }, i) => {
    const mark = from + i === at ? '>' : ' ';
    return `${mark} ${String(first + from + i + 1).padStart(4)}  ${rowOf(attribution)}`;
  });
  const left = matched - shown.length;
  const rest = left > 0 ? [`  and ${left} more`] : [];
  io.stderr.write(
    `${[`${matched} connections match (${selector.text}): ${why}`, ...lines, ...rest]
      .map((line) => escapeText(line))
      .join('\n')}\n`,
  );
}

/** Kinds of input out of which connections to Services are known, as people say it, and what prints them. */
const KINDS = {
  packets: ['packets', 'a pcap or pcapng'],
  conntrack: ['conntrack', 'what conntrack -E -o timestamp or conntrack -L printed'],
  rules: ['rules', 'what iptables-save -c or nft -j list ruleset printed'],
  cluster: [
    'Kubernetes objects',
    'what kubectl get pods,services,endpointslices,nodes -A -o json printed',
  ],
} as const;
export type Kind = keyof typeof KINDS;
export const isKind = (type: string): type is Kind => Object.hasOwn(KINDS, type);

/** That none matches, and what there was. `had`: the kinds among recorded inputs. */
export function whyNone(selector: Selector, told: Told, had?: ReadonlySet<Kind>): string {
  const { seen, matched, nearest, direct } = told;
  const { nth, text } = selector;
  if (matched > 0) {
    return `--nth: there is no number ${nth ?? 1}: ${count(matched)} (${text})`;
  }
  const among = seen === 1 ? 'of the 1 connection' : `of the ${seen} connections`;
  const none =
    seen === 0
      ? `no connection matches (${text}): ${noneAtAll(had)}`
      : `none ${among} to Services matches (${text})`;
  if (direct !== undefined) {
    return `${none}; one that would goes straight to ${direct}, by no Service's address, so there is nothing to explain`;
  }
  const near = nearest.map((attribution) => briefly(attribution));
  if (near.length > 0) return `${none}; the nearest: ${near.join('; ')}`;
  return seen === 0 ? none : `${none}; whichpod replay lists them all`;
}

/** No connection to a Service was seen: that may be since nothing told which those are. */
function noneAtAll(had: ReadonlySet<Kind> | undefined): string {
  const all: readonly Kind[] = ['packets', 'conntrack', 'rules', 'cluster'];
  const lacking = had === undefined ? [] : all.filter((kind) => !had.has(kind));
  if (lacking.length === 0) return 'there is none at all';
  const there = all.filter((kind) => !lacking.includes(kind)).map((kind) => KINDS[kind][0]);
  const names = lacking.map((kind) => `no ${KINDS[kind][0]}`);
  const advice = lacking.map((kind) => KINDS[kind][1]);
  return `there is none to a Service in what the inputs tell; they have ${listed([...there, ...names], 'and')}: add ${listed(advice, 'or')}`;
}

function listed(words: readonly string[], last: 'and' | 'or'): string {
  const [only = ''] = words;
  if (words.length < 2) return only;
  return `${words.slice(0, -1).join(', ')} ${last} ${words.at(-1)}`;
}

function count(matched: number): string {
  return matched === 1 ? '1 connection matches' : `${matched} connections match`;
}

function rowOf(attribution: Attribution): string {
  const { time, outcome, verdict, reason } = attribution;
  const said = reason ?? (verdict === 'attributed' ? outcome : verdict);
  return `${time === undefined ? 'at a time unknown' : formatNanos(time)}  ${briefly(attribution)}  ${said}`;
}

function briefly({ connection, client, destination, service, backend }: Attribution): string {
  const to =
    service?.name === undefined
      ? formatEndpoint(destination.ip, destination.port)
      : `${service.namespace}/${service.name}`;
  const at =
    backend === undefined
      ? ''
      : ` -> ${nameOf(backend.pod) ?? formatEndpoint(backend.ip, backend.port)}`;
  return `${formatEndpoint(client.ip, client.port)} -> ${to}${at} (${connection})`;
}

function nameOf(pod: PodRef | undefined): string | undefined {
  return pod === undefined ? undefined : `${pod.namespace}/${pod.name}`;
}
