import { protocolNumber } from '../../../src/model/packet.js';
import type { ServiceEntry } from '../../../src/model/services.js';
import { told } from './dumps.js';

/** The fields of recorded Kubernetes objects that rules are made of. */
export interface Cluster {
  readonly services: readonly {
    readonly ns: string;
    readonly name: string;
    readonly clusterIPs: readonly string[];
    readonly externalIPs: readonly string[];
    readonly lbIPs: readonly string[];
    readonly external: string;
    readonly internal: string;
    readonly affinity: boolean;
    readonly ports: readonly {
      readonly name?: string;
      readonly protocol: string;
      readonly port: number;
      readonly nodePort?: number;
    }[];
  }[];
  readonly slices: readonly {
    readonly ns: string;
    readonly service: string | null;
    readonly ports: readonly {
      readonly name: string;
      readonly protocol: string;
      readonly port: number;
    }[];
    readonly endpoints: readonly {
      readonly addresses: readonly string[];
      readonly ready: boolean;
      readonly node: string | null;
      readonly hintZones: readonly string[];
    }[];
  }[];
  readonly zones: Readonly<Record<string, string>>;
}

/** What the Kubernetes objects say must stand in a node's rules, in the words of `told`'s heads. */
export function expected(
  cluster: Cluster,
  family: 4 | 6,
  hints: boolean,
  node = 'node1',
): Map<string, Set<string>> {
  const all = new Map<string, Set<string>>();
  const ofFamily = (ip: string): boolean => ip.includes(':') === (family === 6);
  for (const service of cluster.services) {
    for (const port of service.ports) {
      const slices = cluster.slices.filter(
        (s) => s.ns === service.ns && s.service === service.name,
      );
      const found = slices.flatMap((slice) =>
        slice.ports
          .filter((p) => p.name === (port.name ?? '') && p.protocol === port.protocol)
          .flatMap((p) =>
            slice.endpoints
              .filter((e) => e.ready)
              .flatMap((e) =>
                e.addresses.filter(ofFamily).map((ip) => ({ ...e, text: `${ip} ${p.port}` })),
              ),
          ),
      );
      const zone = cluster.zones[node];
      const hinted = hints && found.length > 0 && found.every((e) => e.hintZones.length > 0);
      const near = hinted ? found.filter((e) => e.hintZones.includes(zone ?? '')) : found;
      const here = found.filter((e) => e.node === node);
      const inside = service.internal === 'Local' ? here : near;
      const put = (address: string, number: number, via: string, to: typeof found): void => {
        const name = `${service.ns}/${service.name}:${port.name ?? ''}`;
        const what = to.length > 0 ? 'dnat' : 'reject';
        all.set(
          `${protocolNumber(port.protocol)} ${address} ${number} ${via} ${name} ${what}`,
          new Set(to.map((e) => e.text)),
        );
      };
      if (!service.clusterIPs.some(ofFamily)) continue;
      for (const ip of service.clusterIPs.filter(ofFamily)) put(ip, port.port, 'clusterIP', inside);
      for (const ip of service.externalIPs.filter(ofFamily)) put(ip, port.port, 'externalIP', near);
      for (const ip of service.lbIPs.filter(ofFamily)) put(ip, port.port, 'loadBalancerIP', near);
      if (port.nodePort !== undefined) put('local', port.nodePort, 'nodePort', near);
    }
  }
  return all;
}

/** The same of what was read. */
export function found(entries: readonly ServiceEntry[]): Map<string, Set<string>> {
  return new Map(
    entries.map((entry) => [
      told([{ ...entry, routes: [] }])[0] ?? '',
      new Set(entry.routes.map(({ ip, port }) => `${ip} ${port}`)),
    ]),
  );
}
