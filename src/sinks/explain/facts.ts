import { formatEndpoint } from '../../model/address.js';
import type { Attribution, Peer } from '../../model/attribution.js';
import { formatNanos } from '../../model/time.js';
import { humanCount, humanDuration } from '../units.js';
import { podName, sinceWords, uncertaintyWords } from './words.js';

/** What heads an explanation, in text and on the page. Not escaped. */
export interface Place {
  readonly role: 'client' | 'Service' | 'backend';
  readonly name: string;
  readonly address: string;
  readonly note: string;
}

export function placesOf(a: Attribution): Place[] {
  const { service, backend, source } = a;
  const found: Place[] = [
    { role: 'client', name: nameOf(a.client), address: address(a.client), note: nodeOf(a.client) },
    {
      role: 'Service',
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
      role: 'backend',
      name: nameOf(backend),
      address: address(backend),
      note: `${nodeOf(backend)}${host}${sees}`.replace(/^, /, ''),
    });
  } else {
    found.push({ role: 'backend', name: 'no known backend', address: '', note: '' });
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

export type Tone = 'good' | 'bad' | 'warn' | 'plain';
export interface Fact {
  readonly label: string;
  readonly text: string;
  readonly tone: Tone;
}

const BAD = new Set(['refused', 'reset', 'unanswered', 'rejected']);

export function factsOf(a: Attribution): Fact[] {
  const by = a.evidence.length === 0 ? '' : `, by ${a.evidence.join(', ')}`;
  const reason = a.reason === undefined ? '' : `: ${a.reason}`;
  const found: Fact[] = [
    { label: 'Verdict', text: `${a.verdict}${reason}${by}`, tone: verdictTone(a) },
    { label: 'Outcome', text: outcome(a), tone: outcomeTone(a) },
  ];
  for (const { evidence, backend } of a.claims ?? []) {
    found.push({
      label: 'Claim',
      text: `${evidence}: ${address(backend)} ${podName(backend.pod)}`.trimEnd(),
      tone: 'warn',
    });
  }
  const when = began(a);
  if (when !== '') found.push({ label: 'Began', text: when, tone: 'plain' });
  const latency = latencyWords(a);
  if (latency !== '') found.push({ label: 'Latency', text: latency, tone: 'plain' });
  const traffic = trafficWords(a);
  if (traffic !== '') found.push({ label: 'Traffic', text: traffic, tone: 'plain' });
  found.push({ label: 'Connection', text: a.connection, tone: 'plain' });
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
