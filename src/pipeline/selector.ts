import type { Attribution } from '../model/attribution.js';

/** Which connection is meant. What is absent may be anything. */
export interface Selector {
  /** Sixteen hexadecimal digits. */
  readonly id?: string;
  readonly client?: ClientSelector;
  readonly to?: ToSelector;
  /** Of those that match, in order of time, from 1. */
  readonly nth?: number;
  /** As it was typed. */
  readonly text: string;
}

export type ClientSelector =
  | { readonly ip: string; readonly port?: number }
  | { readonly namespace: string; readonly name: string };

export type ToSelector =
  | { readonly ip: string; readonly port: number }
  | { readonly namespace: string; readonly name: string };

/** Whether it is one of those that are meant; which of several, `nth` says. */
export function isMeant({ id, client, to }: Selector, it: Attribution): boolean {
  if (id !== undefined && it.connection !== id) return false;
  if (client !== undefined && !isClient(client, it)) return false;
  return to === undefined || isTo(to, it);
}

function isClient(client: ClientSelector, { client: its, source }: Attribution): boolean {
  if ('ip' in client) {
    // What a Pod's log shows where the client's address was masqueraded.
    return [its, source].some(
      (end) => end?.ip === client.ip && (client.port === undefined || end.port === client.port),
    );
  }
  return its.pod?.namespace === client.namespace && its.pod.name === client.name;
}

function isTo(to: ToSelector, { destination, service }: Attribution): boolean {
  return 'ip' in to
    ? destination.ip === to.ip && destination.port === to.port
    : service?.namespace === to.namespace && service.name === to.name;
}

/** How much of what is meant fits: for naming what comes near. */
export function nearness({ id, client, to }: Selector, it: Attribution): number {
  let fits = 0;
  if (id !== undefined && it.connection.slice(0, 4) === id.slice(0, 4)) fits += 1;
  if (client !== undefined) {
    if (isClient(client, it)) fits += 4;
    else if ('ip' in client) {
      if (it.client.ip === client.ip || it.source?.ip === client.ip) fits += 2;
      else if (it.client.port === client.port) fits += 1;
    } else if (it.client.pod?.namespace === client.namespace) fits += 1;
  }
  if (to !== undefined) {
    if (isTo(to, it)) fits += 4;
    else if ('ip' in to) {
      if (it.destination.ip === to.ip) fits += 2;
    } else if (it.service?.name === to.name) fits += 2;
    else if (it.service?.namespace === to.namespace) fits += 1;
  }
  return fits;
}
