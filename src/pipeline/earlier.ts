import type { Attribution, OutputEvent } from '../model/attribution.js';
import type { EarlierConnection } from '../model/case.js';

/** So many connections are remembered in few words. */
const MAX_REMEMBERED = 20_000;
/** Affinity shows in the last few. */
const MAX_TOLD = 20;

interface Brief extends EarlierConnection {
  readonly client: string;
  readonly destination: string;
}

/** Which connections a client made to a Service's port before one of them. */
export class Earlier {
  private readonly all = new Map<string, Brief>();

  hear(events: readonly OutputEvent[]): void {
    for (const event of events) {
      if (event.type === 'attribution' || event.type === 'close') this.note(event.attribution);
    }
  }

  /** The newest first. */
  before({ client, time, ...attribution }: Attribution): readonly EarlierConnection[] {
    if (time === undefined) return [];
    const to = destinationOf(attribution);
    return [...this.all.values()]
      .filter((one) => one.client === client.ip && one.destination === to && one.time < time)
      .sort((a, b) => (a.time < b.time ? 1 : -1))
      .slice(0, MAX_TOLD)
      .map(({ connection, time: began, backend }) => ({ connection, time: began, backend }));
  }

  private note(attribution: Attribution): void {
    const { connection, time, client, backend } = attribution;
    if (time === undefined || backend === undefined) return;
    this.all.set(connection, {
      connection,
      time,
      backend: { ip: backend.ip, port: backend.port },
      client: client.ip,
      destination: destinationOf(attribution),
    });
    if (this.all.size <= MAX_REMEMBERED) return;
    const [oldest] = this.all.keys();
    if (oldest !== undefined) this.all.delete(oldest);
  }
}

/** The Service's port where it has a name, else the address. */
function destinationOf({
  protocol,
  destination,
  service,
}: Pick<Attribution, 'protocol' | 'destination' | 'service'>): string {
  return service?.name === undefined
    ? `${protocol} ${destination.ip} ${destination.port}`
    : `${protocol} ${service.namespace}/${service.name} ${service.portName ?? ''}`;
}
