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
  for (const port of record.ports) {
    const add = (address: string, number: number, via: Via): void => {
      entries.push({
        protocol: protocolNumber(port.protocol),
        address,
        port: number,
        via,
        service: {
          namespace: record.namespace,
          name: record.name,
          ...(port.name === undefined ? {} : { portName: port.name }),
        },
        action: 'dnat',
        routes: [],
      });
    };
    for (const ip of record.clusterIPs) add(ip, port.port, 'clusterIP');
    for (const ip of record.externalIPs) add(ip, port.port, 'externalIP');
    for (const ip of record.loadBalancerIPs) add(ip, port.port, 'loadBalancerIP');
    if (port.nodePort !== undefined) add('local', port.nodePort, 'nodePort');
  }
  return entries;
}
