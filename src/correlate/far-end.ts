import { P_INTERFACE } from '../model/packet.js';
import { type Connection, type FarSight, NEVER } from './connection.js';
import type { State } from './state.js';

/** Whether the event at hand was recorded at another node than the one that translated the connection. */
export function isFar(state: State, c: Connection): boolean {
  return c.vantage !== state.here;
}

/** The same, where both nodes are known: an input that names none may be of either. */
export function isElsewhere(state: State, c: Connection): boolean {
  return isFar(state, c) && state.at.name !== '' && state.vantageOf(c).name !== '';
}

/** The far end of a connection, begun when it is first seen there. */
export function farOf(state: State, c: Connection): FarSight {
  c.far ??= {
    vantage: state.here,
    firstSent: NEVER,
    answerTime: NEVER,
    interfaceIn: 0,
    interfaceOut: 0,
  };
  return c.far;
}

/** A translated opening packet at another node: it comes in by the wire and leaves by the Pod's interface. */
export function sawFar(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  time: number,
): void {
  const far = farOf(state, c);
  const seenOn = row[at + P_INTERFACE] ?? 0;
  if (far.firstSent === NEVER) far.firstSent = time;
  if (far.interfaceIn === 0) far.interfaceIn = seenOn;
  else if (seenOn !== 0 && seenOn !== far.interfaceIn) far.interfaceOut = seenOn;
}

/** What stood as a connection of its own turns out to be another one's far end. */
export function farFrom(lone: Connection): FarSight {
  return {
    vantage: lone.vantage,
    firstSent: lone.firstSent,
    answerTime: lone.answerTime,
    interfaceIn: lone.interfaceIn,
    interfaceOut: lone.interfaceOut,
  };
}
