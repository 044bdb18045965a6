import { ClusterState } from '../../correlate/cluster-state.js';
import type { InputEvent } from '../../model/event.js';
import type { Route } from '../../model/readings.js';
import type { RuleSet } from '../../model/ruleset.js';
import type { ServiceEntry } from '../../model/services.js';
import type { NodeFacts } from '../../model/walk.js';
import { nodeFacts } from '../../pipeline/node-facts.js';
import { ReadingsThen } from '../../pipeline/readings-then.js';

/** A node without any connection: what decides where one would go. As it was at the end of recordings, or is. */
export interface LoadedNode {
  /** As the cluster calls it, where that is known. */
  readonly name?: string;
  /** In force, of both families; several of one where legacy and nft are both live. */
  readonly rules: readonly RuleSet[];
  /** What they make reachable. */
  readonly entries: readonly ServiceEntry[];
  /** Ask it without a time: as last known. */
  readonly cluster: ClusterState;
  readonly facts: NodeFacts;
  /** Which kinds of evidence there were. */
  readonly looked: { readonly rules: boolean; readonly cluster: boolean };
}

/** What is in force after all events were taken. */
export class NodeNow {
  private readonly cluster = new ClusterState();
  private readonly rules = new Map<string, Extract<InputEvent, { type: 'rules' }>>();
  private addresses: readonly string[] | undefined;
  private readonly readings = new ReadingsThen();
  private knowsCluster = false;

  take(event: InputEvent): void {
    switch (event.type) {
      case 'rules': {
        const { kind, backend, family } = event.rules;
        this.rules.set(`${event.node ?? ''} ${family} ${kind} ${backend}`, event);
        break;
      }
      case 'cluster':
        this.knowsCluster = true;
        this.cluster.apply(event.change, event.time);
        break;
      case 'addresses':
        this.addresses = event.addresses;
        break;
      case 'readings':
        this.readings.take(event.time, event.readings);
        break;
      default:
        break;
    }
  }

  /** Nodes that rules are from; `''` for one of which that is not known. */
  get nodes(): readonly string[] {
    return [...new Set([...this.rules.values()].map(({ node }) => node ?? ''))].sort();
  }

  result(name: string, routes: readonly Route[] | undefined): LoadedNode {
    const { cluster } = this;
    const inOrder = [...this.rules].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, event]) => event);
    const own = this.addresses ?? cluster.nodeAddresses(name === '' ? undefined : name);
    return {
      ...(name !== '' && { name }),
      rules: inOrder.map(({ rules }) => rules),
      entries: inOrder.flatMap(({ services }) => services),
      cluster,
      facts: {
        ...nodeFacts({
          ...this.readings.node,
          ...(own.length > 0 && { addresses: own }),
          ...(routes !== undefined && { routes }),
        }),
        isPods: (address) => cluster.podAt(address, undefined) !== undefined,
      },
      looked: { rules: inOrder.length > 0, cluster: this.knowsCluster },
    };
  }
}
