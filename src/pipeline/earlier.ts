import type { Attribution, OutputEvent } from '../model/attribution.js';
import type { EarlierConnection } from '../model/case.js';
import { Ring } from './ring.js';

/** So many connections are remembered in few words. */
const MAX_REMEMBERED = 20_000;
/** Affinity shows in the last few. */
const MAX_TOLD = 20;

/** What of an attribution is asked for here. Most of it is shared by many connections, so keeping it costs little. */
type Brief = Pick<
  Attribution,
  'connection' | 'time' | 'protocol' | 'client' | 'destination' | 'service' | 'backend'
>;

/** Which connections a client made to a Service's port before one of them, as far as they are over. */
export class Earlier {
  private readonly last = new Ring<Brief>(MAX_REMEMBERED);

  hear(events: readonly OutputEvent[]): void {
    for (const event of events) if (event.type === 'close') this.note(event.attribution);
  }

  /** The newest first; `open`: others that are looked at, since they are not over. */
  before(it: Attribution, open: readonly Brief[] = []): readonly EarlierConnection[] {
    const { time } = it;
    if (time === undefined) return [];
    const to = destinationOf(it);
    const found: EarlierConnection[] = [];
    for (const one of [...this.last.all, ...open]) {
      const { connection, time: began, client, backend } = one;
      if (began === undefined || backend === undefined || began >= time) continue;
      if (client.ip !== it.client.ip || destinationOf(one) !== to) continue;
      found.push({ connection, time: began, backend: { ip: backend.ip, port: backend.port } });
    }
    return found.sort((a, b) => (a.time < b.time ? 1 : -1)).slice(0, MAX_TOLD);
  }

  private note(it: Attribution): void {
    const { connection, time, protocol, client, destination, service, backend } = it;
    this.last.add({ connection, time, protocol, client, destination, service, backend });
  }
}

/** The Service's port where it has a name, else the address. */
function destinationOf({ protocol, destination, service }: Brief): string {
  return service?.name === undefined
    ? `${protocol} ${destination.ip} ${destination.port}`
    : `${protocol} ${service.namespace}/${service.name} ${service.portName ?? ''}`;
}
