import type { ServiceEntry } from '../model/services.js';
import { ServiceIndex } from './service-index.js';

/**
 * What one node's own rules and addresses make of a destination. Rules differ from node to node for one
 * Service (local endpoints, topology hints), so a connection is explained by those of the node that
 * translated it. Events that name no node belong to the nameless one, whose rules hold everywhere.
 */
export class Vantage {
  readonly name: string;
  /** Service entries of each rule set in force, by family and back end. */
  readonly rules = new Map<string, readonly ServiceEntry[]>();
  addresses: readonly string[] = [];
  /** Service addresses by the rules in force now, and by the cluster's objects. */
  byRules = new ServiceIndex([], []);
  byCluster = new ServiceIndex([], []);

  constructor(name: string) {
    this.name = name;
  }
}
