import type { Attribution, OutputEvent } from '../model/attribution.js';
import type { EarlierConnection } from '../model/case.js';
import type { Nanos } from '../model/time.js';
import { Ring } from './ring.js';

/** So many connections are remembered in few words. */
const MAX_REMEMBERED = 20_000;
/** Affinity shows in the last few. */
const MAX_TOLD = 20;

/** What says where a connection went. */
type Way = Pick<Attribution, 'protocol' | 'destination' | 'service' | 'backend'>;

/** A place for what is kept of a connection: what many share, not copied. */
class Brief {
  connection = '';
  time: Nanos | undefined;
  client = '';
  protocol: Way['protocol'] = 'tcp';
  destination: Way['destination'] = { ip: '', port: 0 };
  service: Way['service'];
  backend: Way['backend'];

  set(it: Attribution): this {
    this.connection = it.connection;
    this.time = it.time;
    this.client = it.client.ip;
    this.protocol = it.protocol;
    this.destination = it.destination;
    this.service = it.service;
    this.backend = it.backend;
    return this;
  }
}

/** Which connections a client made to a Service's port before one of them, as far as they are over. */
export class Earlier {
  private readonly last = new Ring(MAX_REMEMBERED, () => new Brief());

  hear(events: readonly OutputEvent[]): void {
    for (const event of events) {
      if (event.type === 'close') this.last.next().set(event.attribution);
    }
  }

  /** The newest first; `open`: others that are looked at, since they are not over. */
  before(it: Attribution, open: readonly Attribution[] = []): readonly EarlierConnection[] {
    const { time } = it;
    if (time === undefined) return [];
    const to = destinationOf(it);
    const found: EarlierConnection[] = [];
    for (const one of [...this.last.all, ...open.map((it) => new Brief().set(it))]) {
      const { connection, time: began, client, backend } = one;
      if (began === undefined || backend === undefined || began >= time) continue;
      if (client !== it.client.ip || destinationOf(one) !== to) continue;
      found.push({ connection, time: began, backend: { ip: backend.ip, port: backend.port } });
    }
    return found.sort((a, b) => (a.time < b.time ? 1 : -1)).slice(0, MAX_TOLD);
  }
}

/** The Service's port where it has a name, else the address. */
function destinationOf({ protocol, destination, service }: Way): string {
  return service?.name === undefined
    ? `${protocol} ${destination.ip} ${destination.port}`
    : `${protocol} ${service.namespace}/${service.name} ${service.portName ?? ''}`;
}
