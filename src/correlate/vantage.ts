import { Destinations } from './destinations.js';
import { type EntrySet, ServiceIndex } from './service-index.js';

/**
 * What one node's own rules and addresses make of a destination. Rules differ from node to node for one
 * Service (local endpoints, topology hints), so a connection is explained by those of the node that
 * translated it. Events that name no node belong to the nameless one, whose rules hold everywhere.
 */
export class Vantage {
  readonly name: string;
  /** Service entries of each rule set in force, by family and back end. */
  readonly rules = new Map<string, EntrySet>();
  addresses: readonly string[] = [];
  /** Whether any connection was seen on both sides of its translation: then one that was not lacks a copy. */
  seesBothSides = false;
  /** Service addresses by the rules in force now, and by the cluster's objects. */
  private rulesIndex = new ServiceIndex([], []);
  private clusterIndex = new ServiceIndex([], []);
  destinations = new Destinations(this.rulesIndex, this.clusterIndex);

  constructor(name: string) {
    this.name = name;
  }

  get byRules(): ServiceIndex {
    return this.rulesIndex;
  }
  set byRules(index: ServiceIndex) {
    this.rulesIndex = index;
    this.destinations = new Destinations(index, this.clusterIndex);
  }

  set byCluster(index: ServiceIndex) {
    this.clusterIndex = index;
    this.destinations = new Destinations(this.rulesIndex, index);
  }
}
