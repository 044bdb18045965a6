import type { ServiceRecord } from '../model/cluster.js';
import { protocolNumber } from '../model/packet.js';
import type { ServiceEntry, Via } from '../model/services.js';

/**
 * The addresses at which a Service can be reached by what its object says. Which ways lead on from
 * there only the rules tell, so `routes` is empty.
 */
export function entriesOfService(record: ServiceRecord): ServiceEntry[] {
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
