import type { ServiceRecord } from '../model/cluster.js';
import { protocolNumber } from '../model/packet.js';
import type { ServiceEntry, Via } from '../model/services.js';

const known = new WeakMap<ServiceRecord, readonly ServiceEntry[]>();

/** The entries of one object; the same ones each time it is asked. */
export function entriesOfService(record: ServiceRecord): readonly ServiceEntry[] {
  let entries = known.get(record);
  if (entries === undefined) {
    entries = makeEntries(record);
    known.set(record, entries);
  }
  return entries;
}

/** Whether two states of one Service have the same entries: most changes of a Service are of something else. */
export function sameEntries(a: ServiceRecord, b: ServiceRecord): boolean {
  return reached(a) === reached(b);
}

const reached = (record: ServiceRecord): string =>
  JSON.stringify([record.ports, record.clusterIPs, record.externalIPs, record.loadBalancerIPs]);

/**
 * The addresses at which a Service can be reached by what its object says. Which ways lead on from
 * there only the rules tell, so `routes` is empty.
 */
function makeEntries(record: ServiceRecord): ServiceEntry[] {
  const entries: ServiceEntry[] = [];
  const { clusterIPs, externalIPs, loadBalancerIPs } = record;
  for (const port of record.ports) {
    for (const ip of clusterIPs) entries.push(entryOf(record, port, ip, port.port, 'clusterIP'));
    for (const ip of externalIPs) entries.push(entryOf(record, port, ip, port.port, 'externalIP'));
    for (const ip of loadBalancerIPs) {
      entries.push(entryOf(record, port, ip, port.port, 'loadBalancerIP'));
    }
    const { nodePort } = port;
    if (nodePort !== undefined) entries.push(entryOf(record, port, 'local', nodePort, 'nodePort'));
  }
  return entries;
}

function entryOf(
  { namespace, name }: ServiceRecord,
  { protocol, name: portName }: ServiceRecord['ports'][number],
  address: string,
  port: number,
  via: Via,
): ServiceEntry {
  const service = portName === undefined ? { namespace, name } : { namespace, name, portName };
  const number = protocolNumber(protocol);
  return { protocol: number, address, port, via, service, action: 'dnat', routes: NO_ROUTES };
}

const NO_ROUTES: ServiceEntry['routes'] = [];
