import { formatEndpoint } from '../../model/address.js';
import type { Attribution, Peer } from '../../model/attribution.js';
import type { Explanation } from '../../model/explanation.js';
import { formatNanos } from '../../model/time.js';
import { displayWidth, escapeText } from '../escape.js';
import { humanCount, humanDuration } from '../units.js';
import type { Page } from './text-page.js';
import { packetWords, podName, sinceWords, uncertaintyWords } from './words.js';
import { hang, padEnd, wrap } from './wrap.js';

/** Client -> Service -> Pod, then what came of it and how that is known. */
export function headLines(explanation: Explanation, page: Page): string[] {
  const { attribution, walk, findings } = explanation;
  if (attribution) {
    return [...placeLines(places(attribution), page), '', ...factLines(facts(attribution), page)];
  }
  if (walk) {
    return factLines([['If this came', packetWords(walk.possible.packet), 'plain']], page);
  }
  // A question about a Pod: the gravest finding is the answer.
  const title = findings[0]?.title ?? 'nothing is known';
  return wrap(escapeText(title), page.width).map((line) => page.colors.bold(line));
}

interface Place {
  readonly name: string;
  readonly address: string;
  readonly note: string;
}

function places(a: Attribution): Place[] {
  const { service, backend, source } = a;
  const found: Place[] = [
    { name: nameOf(a.client), address: address(a.client), note: nodeOf(a.client) },
    {
      name:
        service?.name === undefined
          ? (service?.via ?? 'no known Service')
          : `${service.namespace ?? ''}/${service.name}`,
      address: address(a.destination),
      note: [service?.name === undefined ? undefined : service.via, service?.portName, a.protocol]
        .filter((part) => part !== undefined)
        .join(', '),
    },
  ];
  if (backend) {
    const sees = source === undefined ? '' : `, sees ${address(source)}`;
    const host = backend.hostNetwork === true ? ', host network' : '';
    found.push({
      name: nameOf(backend),
      address: address(backend),
      note: `${nodeOf(backend)}${host}${sees}`.replace(/^, /, ''),
    });
  } else {
    found.push({ name: 'no known backend', address: '', note: '' });
  }
  return found;
}

const address = (at: { readonly ip: string; readonly port: number }): string =>
  formatEndpoint(at.ip, at.port);

function nameOf(peer: Peer): string {
  return peer.pod === undefined ? (peer.node ?? 'no known Pod') : podName(peer.pod);
}

function nodeOf(peer: Peer): string {
  const node = peer.pod === undefined ? undefined : (peer.node ?? peer.pod.node);
  return node === undefined ? '' : `on ${node}`;
}

/** In three columns where they fit, else each place on lines of its own. */
function placeLines(list: readonly Place[], { width, colors }: Page): string[] {
  const safe = list.map(({ name, address: at, note }) => ({
    name: escapeText(name),
    address: escapeText(at),
    note: escapeText(note),
  }));
  const names = Math.max(...safe.map(({ name }) => displayWidth(name)));
  const addresses = Math.max(...safe.map((it) => displayWidth(it.address)));
  const notes = Math.max(...safe.map(({ note }) => displayWidth(note)));
  const arrow = (i: number): string => (i === 0 ? '  ' : '→ ');
  if (2 + names + 2 + addresses + 2 + notes <= width) {
    return safe.map(({ name, address: at, note }, i) =>
      `${arrow(i)}${colors.bold(padEnd(name, names))}  ${padEnd(at, addresses)}  ${colors.dim(note)}`.trimEnd(),
    );
  }
  return safe.flatMap(({ name, address: at, note }, i) => [
    ...hang({ text: arrow(i), shown: arrow(i) }, name, width, colors.bold),
    ...onOneLineOrMore([at, note], width - 4).flatMap((text) =>
      hang({ text: '    ', shown: '    ' }, text, width, colors.dim),
    ),
  ]);
}

function onOneLineOrMore(texts: readonly string[], width: number): string[] {
  const some = texts.filter((text) => text !== '');
  const line = some.join('  ');
  return some.length > 1 && displayWidth(line) <= width ? [line] : some;
}

type Tone = 'good' | 'bad' | 'warn' | 'plain';
type Fact = readonly [label: string, text: string, tone: Tone];

const BAD = new Set(['refused', 'reset', 'unanswered', 'rejected']);

function facts(a: Attribution): Fact[] {
  const by = a.evidence.length === 0 ? '' : `, by ${a.evidence.join(', ')}`;
  const reason = a.reason === undefined ? '' : `: ${a.reason}`;
  const found: Fact[] = [
    ['Verdict', `${a.verdict}${reason}${by}`, verdictTone(a)],
    ['Outcome', outcome(a), outcomeTone(a)],
  ];
  for (const { evidence, backend } of a.claims ?? []) {
    found.push([
      'Claim',
      `${evidence}: ${address(backend)} ${podName(backend.pod)}`.trimEnd(),
      'warn',
    ]);
  }
  const when = began(a);
  if (when !== '') found.push(['Began', when, 'plain']);
  const latency = latencyWords(a);
  if (latency !== '') found.push(['Latency', latency, 'plain']);
  const traffic = trafficWords(a);
  if (traffic !== '') found.push(['Traffic', traffic, 'plain']);
  found.push(['Connection', a.connection, 'plain']);
  return found;
}

function verdictTone({ verdict }: Attribution): Tone {
  if (verdict === 'attributed') return 'good';
  return verdict === 'conflict' ? 'warn' : 'bad';
}

function outcomeTone({ outcome: it }: Attribution): Tone {
  if (BAD.has(it)) return 'bad';
  return it === 'open' ? 'warn' : 'good';
}

function outcome({ outcome: it, retransmits }: Attribution): string {
  if (retransmits === undefined || retransmits === 0) return it;
  return `${it}, the opening packet sent ${retransmits === 1 ? 'once more' : `${retransmits} times more`}`;
}

function began({ time, endTime, timeSource, timeUncertaintyNs }: Attribution): string {
  if (time === undefined) return '';
  const about = uncertaintyWords(timeUncertaintyNs);
  const ended = endTime === undefined ? '' : `, ended ${sinceWords(Number(endTime - time))}`;
  return `${formatNanos(time)}${about === '' ? '' : ` ${about}`} (${timeSource})${ended}`;
}

function latencyWords({ latency }: Attribution): string {
  const said = [
    ['translation', latency?.natNs],
    ['handshake', latency?.handshakeNs],
    ['network', latency?.networkNs],
    ['network round trip', latency?.networkRoundTripNs],
  ] as const;
  return said
    .filter(([, ns]) => ns !== undefined)
    .map(([name, ns]) => `${name} ${humanDuration(ns ?? 0)}`)
    .join(', ');
}

function trafficWords({ original, reply }: Attribution): string {
  const said = [
    ['sent', original],
    ['received', reply],
  ] as const;
  return said
    .filter(([, traffic]) => traffic !== undefined)
    .map(
      ([name, traffic]) =>
        `${name} ${humanCount(traffic?.packets ?? 0)} packets, ${humanCount(traffic?.bytes ?? 0)} bytes`,
    )
    .join('; ');
}

function factLines(list: readonly Fact[], { width, colors }: Page): string[] {
  const paint: Readonly<Record<Tone, (text: string) => string>> = {
    good: colors.green,
    bad: colors.red,
    warn: colors.yellow,
    plain: (text) => text,
  };
  const labels = Math.max(...list.map(([label]) => label.length));
  return list.flatMap(([label, text, tone]) => {
    const head = `  ${label.padEnd(labels)}  `;
    return hang({ text: head, shown: colors.dim(head) }, escapeText(text), width, paint[tone]);
  });
}
