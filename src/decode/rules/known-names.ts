import type { ServiceRecord } from '../../model/cluster.js';
import type { ServiceEntry, ServicePortName } from '../../model/services.js';
import { hashOfServiceChain, serviceChainHash, spellings } from './chain-names.js';
import { hashOfNftChain, nftHash } from './nft-names.js';

/** Names of Service ports by the hashes that kube-proxy puts into its chains' names. */
export class KnownNames {
  private readonly names = new Map<string, ServicePortName>();

  constructor(services: Iterable<ServiceRecord>) {
    for (const { namespace, name, ports } of services) {
      for (const port of ports) {
        const service: ServicePortName = {
          namespace,
          name,
          ...(port.name !== undefined && { portName: port.name }),
        };
        for (const spelling of spellings(service)) {
          this.names.set(serviceChainHash(spelling, port.protocol), service);
        }
        this.names.set(
          nftHash(`${namespace}/${name}/${port.protocol}/${port.name ?? ''}`),
          service,
        );
      }
    }
  }

  /** An entry whose name no hash confirms, with the name that its chains' hash has. */
  named(entry: ServiceEntry): ServiceEntry {
    const { service: _, nameUnverified: __, ...rest } = entry;
    const hash = hashOf(entry);
    const service = hash === undefined ? undefined : this.names.get(hash);
    return service === undefined ? rest : { ...rest, service };
  }
}

/** Whether what an entry is called has no hash to confirm it, though its chains have one. */
export function isUnnamed(entry: ServiceEntry): boolean {
  if (entry.via === 'hostPort') return false;
  if (entry.nameUnverified) return true;
  return entry.service === undefined && hashOf(entry) !== undefined;
}

/** The routes are asked for last: they may not have been made. */
function hashOf(entry: ServiceEntry): string | undefined {
  const { chain } = entry;
  const known = chain === undefined ? undefined : hashIn(chain);
  if (known !== undefined) return known;
  for (const name of entry.routes[0]?.rule.path ?? []) {
    const hash = hashIn(name);
    if (hash !== undefined) return hash;
  }
  return undefined;
}

function hashIn(chain: string): string | undefined {
  return hashOfServiceChain(chain) ?? hashOfNftChain(chain);
}
