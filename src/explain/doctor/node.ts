import type { Check, InterfaceFacts, NodeFacts } from '../../model/doctor.js';
import { podInterfaces } from './interfaces.js';

/** A clock that is further off than this makes times of two machines hard to compare. */
const JUMP_MS = 20;

export function judgeNode(facts: NodeFacts): Check[] {
  return [namespaceCheck(facts), clockCheck(facts)];
}

function namespaceCheck(facts: NodeFacts): Check {
  const { namespace, interfaces, rules } = facts;
  const { own, first, firstProcessIsTheMachines, initial, inPod } = namespace;
  const base = {
    group: 'node',
    check: 'network-namespace',
    how: '/proc/self/ns/net, /proc/1/ns/net, /proc/sys/net/core/netdev_max_backlog',
  } as const;
  if (initial) {
    return { ...base, level: 'ok', fact: "the machine's own network namespace" };
  }
  const pods = podInterfaces(interfaces).length;
  const proxied =
    rules.ipvs !== undefined || rules.sets.some(({ datapath }) => datapath !== undefined);
  if (proxied || pods > 1) {
    // kind, k3d and labs: a node's network in a namespace of its own, and the right one to be in.
    const has = proxied ? "kube-proxy's rules" : 'interfaces that lead to Pods';
    return {
      ...base,
      level: 'ok',
      fact: `a network namespace with ${has} (a node in a container, or a lab)`,
    };
  }
  if (inPod || looksLikePod(interfaces)) {
    return {
      ...base,
      level: 'fail',
      fact: "this is a Pod's own network namespace: only its own traffic is seen, after its Services' addresses were translated elsewhere",
      remedy: inPod
        ? 'spec.hostNetwork: true (hostPID is not needed)'
        : "enter the node's: nsenter --target 1 --net",
      misses: "every other Pod's connections",
    };
  }
  // In a container process 1 is the container's own, and tells nothing.
  const other = firstProcessIsTheMachines === true && first !== undefined && first !== own;
  return {
    ...base,
    level: interfaces.list.some(({ name, up }) => name !== 'lo' && up) ? 'warn' : 'fail',
    fact: `${other ? 'not the network namespace of process 1' : "not the machine's own network namespace"}, without Pods and without kube-proxy's rules`,
    remedy: "run in the node's network namespace: nsenter --target 1 --net",
    misses: "the node's connections",
  };
}

/** Besides lo, one or two interfaces, each of which is an end of something that lies elsewhere. */
function looksLikePod({ list }: InterfaceFacts): boolean {
  const others = list.filter(({ name, kind }) => name !== 'lo' && !TUNNELS.test(kind ?? ''));
  return (
    others.length > 0 && others.length < 3 && others.every(({ leadsAway }) => leadsAway === true)
  );
}

/** Each namespace gets these from their kernel modules, down (fb_tunnels_only_for_init_net). */
const TUNNELS = /^(?:ipip|gre|gretap|erspan|vti|vti6|sit|ip6tnl|ip6gre)$/;

function clockCheck({ clock }: NodeFacts): Check {
  const how = [
    'Date, performance.now()',
    clock.synchronisedHow,
    'clocksource0/current_clocksource',
  ];
  const base = {
    group: 'node',
    check: 'clock',
    how: how.filter((one) => one !== undefined).join(', '),
  } as const;
  const of = clock.source === undefined ? '' : `, kept by ${clock.source}`;
  if (Math.abs(clock.jumpMs) > JUMP_MS) {
    return {
      ...base,
      level: 'warn',
      fact: `the time of day moved by ${clock.jumpMs} ms while this was looked at${of}`,
      remedy: 'let the clock be slewed, not set (chrony: makestep at the start only)',
      misses: 'durations that a jump of the clock falls into',
    };
  }
  if (clock.synchronised === false) {
    return {
      ...base,
      level: 'warn',
      fact: `the clock is not synchronised${of}`,
      remedy: 'start chrony or systemd-timesyncd',
      misses: "how this node's times compare with other nodes'",
    };
  }
  const synchronised =
    clock.synchronised === true ? 'synchronised' : 'synchronised or not: nothing here tells';
  return { ...base, level: 'ok', fact: `${synchronised}${of}` };
}
