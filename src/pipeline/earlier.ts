import type { Attribution, OutputEvent } from '../model/attribution.js';
import type { EarlierConnection } from '../model/case.js';
import { Ring } from './ring.js';

/** So many connections are remembered in few words. */
const MAX_REMEMBERED = 20_000;
/** Affinity shows in the last few. */
const MAX_TOLD = 20;

/** What says where a connection went. */
type Way = Pick<Attribution, 'protocol' | 'destination' | 'service' | 'backend'>;

/** What is shared by many connections is kept, not copied: one more of them costs little. */
interface Brief extends Way, Pick<Attribution, 'connection' | 'time'> {
  readonly client: string;
}

/** Which connections a client made to a Service's port before one of them, as far as they are over. */
export class Earlier {
  private readonly last = new Ring<Brief>(MAX_REMEMBERED);

  hear(events: readonly OutputEvent[]): void {
    for (const event of events) {
      if (event.type === 'close') this.last.add(briefOf(event.attribution));
    }
  }

  /** The newest first; `open`: others that are looked at, since they are not over. */
  before(it: Attribution, open: readonly Attribution[] = []): readonly EarlierConnection[] {
    const { time } = it;
    if (time === undefined) return [];
    const to = destinationOf(it);
    const found: EarlierConnection[] = [];
    for (const one of [...this.last.all, ...open.map(briefOf)]) {
      const { connection, time: began, client, backend } = one;
      if (began === undefined || backend === undefined || began >= time) continue;
      if (client !== it.client.ip || destinationOf(one) !== to) continue;
      found.push({ connection, time: began, backend: { ip: backend.ip, port: backend.port } });
    }
    return found.sort((a, b) => (a.time < b.time ? 1 : -1)).slice(0, MAX_TOLD);
  }
}

function briefOf(it: Attribution): Brief {
  const { connection, time, client, protocol, destination, service, backend } = it;
  return { connection, time, client: client.ip, protocol, destination, service, backend };
}

/** The Service's port where it has a name, else the address. */
function destinationOf({ protocol, destination, service }: Way): string {
  return service?.name === undefined
    ? `${protocol} ${destination.ip} ${destination.port}`
    : `${protocol} ${service.namespace}/${service.name} ${service.portName ?? ''}`;
}
