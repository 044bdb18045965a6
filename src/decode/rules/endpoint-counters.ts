import type { IptablesBackend, IptablesRules } from '../../model/ruleset.js';
import type { Nanos } from '../../model/time.js';

/** kube-proxy's chain of one endpoint of one Service port. */
export const ENDPOINT_CHAIN = /^KUBE-SEP-/;
const DNAT = /(?:^| )-j DNAT(?:$| .*--to-destination (\S+))/;

interface EndpointCounter {
  /** `ip:port` as the rule has it; absent where iptables did not print it. */
  readonly address?: string;
  /** Connections sent there: nat's rules see the first packet of each. */
  readonly packets: number;
}

/** What one dump of iptables' rules counted. */
export interface CountedRules {
  readonly node?: string;
  readonly family: 4 | 6;
  readonly backend: IptablesBackend;
  /** When iptables-save began to print it; it reads the rules a little later. */
  readonly time: Nanos;
  readonly counters: ReadonlyMap<string, EndpointCounter>;
}

/**
 * What a dump counted for each endpoint, by the name of its chain; endpoints that counted nothing are
 * left out (of a large cluster's, nearly all). `undefined` for a dump without counters, or without nat.
 */
export function endpointCounters(
  rules: IptablesRules,
): ReadonlyMap<string, EndpointCounter> | undefined {
  const nat = rules.tables.get('nat');
  if (nat === undefined) return undefined;
  const counters = new Map<string, EndpointCounter>();
  for (const chain of nat.chains.values()) {
    if (!ENDPOINT_CHAIN.test(chain.name)) continue;
    for (const { packets, text } of chain.rules) {
      if (packets === undefined) return undefined;
      const dnat = packets === 0 ? null : DNAT.exec(text);
      if (dnat === null) continue;
      const [, address] = dnat;
      counters.set(chain.name, { packets, ...(address !== undefined && { address }) });
    }
  }
  return counters;
}
