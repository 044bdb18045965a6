import { nftablesBaseChains } from '../../../src/explain/walk/nftables.js';
import { ONE } from '../../../src/explain/walk/share.js';
import type { RuleSet } from '../../../src/model/ruleset.js';
import type {
  Branch,
  FirstPacket,
  Followed,
  Hook,
  NodeFacts,
  WalkedRule,
} from '../../../src/model/walk.js';

/** One way through all hooks of a forwarded or delivered packet. */
export interface Way extends Followed {
  readonly steps: readonly WalkedRule[];
}

/** Leads a packet through the base chains of one nftables table alone. */
export function through(
  rules: RuleSet,
  packet: FirstPacket,
  facts: NodeFacts,
  places: { readonly in: string; readonly out: string },
): readonly Way[] {
  const chains = [...nftablesBaseChains(rules)].sort((a, b) => a.priority - b.priority);
  const ended: Followed[] = [];
  let branches: Branch[] = [
    {
      source: packet.source,
      destination: packet.destination,
      port: packet.port,
      mark: 0,
      masquerade: 'no',
      share: ONE,
      path: [],
      affinity: false,
      assuming: [],
    },
  ];
  const pass = (hook: Hook, going: readonly Branch[]): Branch[] => {
    const isDelivered = hook === 'input';
    const at = {
      packet,
      facts,
      // A forwarded packet comes to postrouting with the interface by which it came in (ip_output, linux/net/ipv4).
      in: places.in,
      out: hook === 'prerouting' || isDelivered ? null : places.out,
    };
    let through = [...going];
    for (const chain of chains.filter((one) => one.hook === hook)) {
      const next: Branch[] = [];
      for (const branch of through) {
        const isOver =
          chain.isNat &&
          (isDelivered ? branch.masquerade === 'yes' : hook === 'prerouting' && branch.dnat);
        if (isOver) {
          next.push(branch);
          continue;
        }
        for (const followed of chain.follow(branch, at)) {
          if (followed.verdict === 'accept') next.push(followed.branch);
          else ended.push(followed);
        }
      }
      through = next;
    }
    return through;
  };
  branches = pass('prerouting', branches);
  const isHere = ({ destination }: Branch): boolean => facts.addresses?.has(destination) === true;
  const delivered = pass('input', branches.filter(isHere));
  const sent = pass(
    'postrouting',
    pass(
      'forward',
      branches.filter((branch) => !isHere(branch)),
    ),
  );
  for (const branch of [...delivered, ...sent]) ended.push({ branch, verdict: 'accept' });
  return ended.map((followed) => ({ ...followed, steps: stepsOf(followed.branch) }));
}

function stepsOf(branch: Branch): WalkedRule[] {
  const steps: WalkedRule[] = [];
  for (let trail = branch.last; trail; trail = trail.before) steps.push(trail.rule);
  return steps.reverse();
}
