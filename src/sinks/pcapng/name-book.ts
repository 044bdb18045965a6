import type { ClusterChange, ClusterKind, ClusterRecord } from '../../model/cluster.js';
import type { NameRecord } from './names-block.js';

/**
 * What addresses are called in a capture: `pod.namespace.pod`, `service.namespace.svc`, `node.node`. An
 * address keeps its name when its Pod goes, since packets of before bear it, until it is given to another.
 */
export class NameBook {
  private readonly names = new Map<string, string>();
  private readonly news = new Set<string>();

  learn(change: ClusterChange): void {
    if (change.op === 'list') for (const item of change.items) this.set(item);
    else if (change.op === 'set') this.set(change.item);
  }

  /** A node's own addresses. */
  own(node: string, addresses: readonly string[]): void {
    for (const address of addresses) {
      const isLoopback = address.startsWith('127.') || address === '::1';
      if (!isLoopback && !this.names.has(address)) this.name(address, 'node', node);
    }
  }

  /** The name of an address, without what it is a name of. */
  of(address: string, kind: 'pod'): string | undefined {
    const name = this.names.get(address);
    return name?.endsWith(`.${kind}`) === true ? name.slice(0, -kind.length - 1) : undefined;
  }

  /** What has changed since the last call. */
  changes(): readonly NameRecord[] {
    const changed = [...this.news].flatMap((address) => this.record(address));
    this.news.clear();
    return changed;
  }

  /** Everything, for a file that begins. */
  all(): readonly NameRecord[] {
    this.news.clear();
    return [...this.names.keys()].flatMap((address) => this.record(address));
  }

  private record(address: string): NameRecord[] {
    const name = this.names.get(address);
    return name === undefined ? [] : [{ address, names: [name] }];
  }

  private set(item: ClusterRecord): void {
    switch (item.kind) {
      case 'pod': {
        // Its addresses are its node's; and one that has ended has given them back.
        const isOver = item.phase === 'Succeeded' || item.phase === 'Failed';
        if (item.hostNetwork || isOver) break;
        for (const ip of item.ips) this.name(ip, 'pod', item.name, item.namespace);
        break;
      }
      case 'service': {
        const all = [...item.clusterIPs, ...item.externalIPs, ...item.loadBalancerIPs];
        for (const ip of all) this.name(ip, 'svc', item.name, item.namespace);
        break;
      }
      case 'node':
        for (const ip of item.addresses) this.name(ip, 'node', item.name);
        break;
      case 'endpointslice':
        break;
    }
  }

  private name(address: string, kind: Exclude<ClusterKind, 'service'> | 'svc', ...parts: string[]) {
    const name = [...parts, kind].join('.');
    if (this.names.get(address) === name) return;
    this.names.set(address, name);
    this.news.add(address);
  }
}
