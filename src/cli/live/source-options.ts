import type { Command } from '@commander-js/extra-typings';
import { BACKENDS, CONNTRACK, RULES } from '../commands.js';

/** What tells rules and names of a node: options of every command that can ask a live one. */
export function withNameSources<Args extends unknown[], Opts extends Record<string, unknown>>(
  command: Command<Args, Opts>,
) {
  return command
    .option('--rules <source>', `whose rules are read: ${RULES.join(', ')}`)
    .option('--kubeconfig <file>', 'cluster to ask (default: as kubectl, else in-cluster)')
    .option('--context <name>', 'context of the kubeconfig')
    .option(
      '--objects <path>',
      "Kubernetes objects from kubectl's JSON files in place of a cluster",
      collect,
    )
    .option('--no-cluster', 'ask no cluster: addresses instead of Pod names')
    .option('--node-name <name>', "this node's name in the cluster (default: $NODE_NAME)");
}

/** The same, and what tells its traffic: options of every command that watches connections. */
export function withLiveSources<Args extends unknown[], Opts extends Record<string, unknown>>(
  command: Command<Args, Opts>,
) {
  return withNameSources(
    command
      .option('--backend <backend>', `how packets are captured: ${BACKENDS.join(', ')}`)
      .option('--conntrack <source>', `how conntrack is read: ${CONNTRACK.join(', ')}`),
  );
}

/** For an option that may be given again. */
export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}
