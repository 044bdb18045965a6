import { type Datapath, datapathOf, type Replacement } from '../decode/rules/datapath.js';
import type { InputEvent } from '../model/event.js';
import type { RuleSet } from '../model/ruleset.js';
import type { ServiceEntry } from '../model/services.js';
import type { Nanos } from '../model/time.js';
import { RuleNames } from './rule-names.js';

/** What the latest rules of one family and back end are. */
interface Surveyed {
  readonly rules: Pick<RuleSet, 'kind' | 'family' | 'backend' | 'version'>;
  readonly datapath: Datapath | undefined;
  readonly addresses: number;
  /** Service addresses that a comment names which no hash confirms, and the first of them. */
  readonly unverified: number;
  readonly example: string;
  readonly time: Nanos | undefined;
}

/** What stands where: iptables of one back end, or nftables. */
type Place = 'iptables (legacy)' | 'iptables (nft)' | 'iptables' | 'nftables';

const REPLACED: Readonly<Record<Replacement, string>> = {
  Cilium: 'Cilium has chains here and kube-proxy has none: Cilium directs Services itself, in eBPF',
  Calico:
    'Calico has rules of its eBPF mode here and kube-proxy has none: it directs Services itself',
  'OVN-Kubernetes':
    'OVN-Kubernetes has chains here and kube-proxy has none: Open vSwitch directs Services',
};

/**
 * Looks at rules on their way to the machine: gives their Services the names that hashes confirm, and
 * says what they show as a whole, once each: in which back ends kube-proxy's rules are and what printed
 * them, whether they are in several, whether kube-proxy runs in ipvs mode or another program in its place.
 */
export class RuleSurvey {
  private readonly names = new RuleNames();
  /** By node, then by kind, back end and family. */
  private readonly nodes = new Map<string, Map<string, Surveyed>>();
  private readonly said = new Set<string>();
  private concluded = false;

  /** Takes in what events that come later tell of the cluster, so that rules need not be named twice. */
  prepare(events: readonly InputEvent[]): void {
    for (const event of events) this.names.learn(event);
  }

  /** What the machine is to be given for an event. */
  take(event: InputEvent): readonly InputEvent[] {
    switch (event.type) {
      case 'rules': {
        this.survey(event);
        const named = this.names.name(event);
        return this.concluded ? [named, ...this.conclude()] : [named];
      }
      case 'cluster':
        return [event, ...this.names.learn(event)];
      case 'notice':
        // The kernel may show ipvs as well as the rules.
        return event.notice.code !== 'proxy-mode-ipvs' || this.isNews('ipvs ') ? [event] : [];
      default:
        return [event];
    }
  }

  /** What there is to say when the rules were read as far as they can be; from then on `take` says what is new. */
  conclude(): readonly InputEvent[] {
    this.concluded = true;
    const nodes = [...this.nodes].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return nodes.flatMap(([node, sets]) => this.concludeNode(node, [...sets.values()]));
  }

  private survey(event: Extract<InputEvent, { type: 'rules' }>): void {
    const { rules, services, node = '', time } = event;
    const sets = this.nodes.get(node) ?? new Map<string, Surveyed>();
    this.nodes.set(node, sets);
    const { kind, family, backend, version } = rules;
    const addresses = new Set(services.map((s) => `${s.protocol} ${s.address} ${s.port}`));
    const unverified = services.filter(({ nameUnverified }) => nameUnverified);
    const [first] = unverified;
    sets.set(`${kind} ${backend} ${family}`, {
      rules: { kind, family, backend, ...(version !== undefined && { version }) },
      datapath: datapathOf(rules),
      addresses: addresses.size,
      unverified: unverified.length,
      example: first === undefined ? '' : nameAndAddress(first),
      time,
    });
  }

  private concludeNode(node: string, sets: readonly Surveyed[]): readonly InputEvent[] {
    const notices: InputEvent[] = [];
    const on = node === '' ? '' : ` on ${node}`;
    const places = new Map<Place, Surveyed[]>();
    for (const set of sets) {
      if (set.datapath !== 'iptables' && set.datapath !== 'nftables') continue;
      const place = placeOf(set);
      places.set(place, [...(places.get(place) ?? []), set]);
    }
    for (const [place, here] of [...places].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (!this.isNews(`read ${node} ${place}`)) continue;
      const detail = `kube-proxy's rules${on} are in ${place}, printed by ${printersOf(here)}: ${countsOf(here)}`;
      notices.push({ type: 'notice', notice: { code: 'rules-read', ...timeOf(here), detail } });
    }
    if (places.size > 1) {
      const all = [...places.keys()].sort();
      const here = [...places.values()].flat();
      if (this.isNews(`several ${node} ${all.join()}`)) {
        const detail = `kube-proxy's rules${on} are in ${all.join(' and ')}, and all of them are in force; where more than one has the endpoint of a connection, which of them translated it cannot be told`;
        notices.push({
          type: 'notice',
          notice: { code: 'rules-in-several-places', ...timeOf(here), detail },
        });
      }
    }
    const ipvs = sets.filter(({ datapath }) => datapath === 'ipvs');
    if (ipvs.length > 0 && this.isNews(`ipvs ${node}`)) {
      const detail = `kube-proxy${on} runs in ipvs mode (its rules ask ipsets): there are no chains that lead to endpoints, so no paths; connections are attributed by conntrack and packets, and named by the cluster's objects`;
      notices.push({
        type: 'notice',
        notice: { code: 'proxy-mode-ipvs', ...timeOf(ipvs), detail },
      });
    }
    if (places.size === 0 && ipvs.length === 0) {
      for (const set of sets) {
        const by = replacementOf(set.datapath);
        if (by === undefined || !this.isNews(`replaced ${node} ${by}`)) continue;
        const detail = `${REPLACED[by]}${on}; where neither conntrack nor packets show a translation, connections are not attributed`;
        notices.push({
          type: 'notice',
          notice: { code: 'proxy-replaced', ...timeOf([set]), detail },
        });
      }
    }
    for (const set of sets) {
      if (
        set.unverified === 0 ||
        !this.isNews(`names ${node} ${placeOf(set)} ${set.rules.family}`)
      ) {
        continue;
      }
      const detail = `of ${addressCount(set.unverified)} in ${placeOf(set)}${on}, IPv${set.rules.family}, the comments do not fit the chains' names (first: ${set.example}): another program may have written them; of the cluster's Services the one that fits is taken, where they are known`;
      notices.push({
        type: 'notice',
        notice: { code: 'service-name-unverified', ...timeOf([set]), detail },
      });
    }
    return notices;
  }

  private isNews(what: string): boolean {
    if (this.said.has(what)) return false;
    this.said.add(what);
    return true;
  }
}

function placeOf({ rules }: Surveyed): Place {
  if (rules.kind === 'nftables') return 'nftables';
  return rules.backend === 'unknown' ? 'iptables' : `iptables (${rules.backend})`;
}

/** `iptables-save 1.8.9`, `nft 1.0.6`. */
function printersOf(sets: readonly Surveyed[]): string {
  const all = sets.map(({ rules }) => {
    const tool = rules.kind === 'nftables' ? 'nft' : 'iptables-save';
    return `${tool} ${rules.version ?? 'of unknown version'}`;
  });
  return [...new Set(all)].sort().join(' and ');
}

function countsOf(sets: readonly Surveyed[]): string {
  return [...sets]
    .sort((a, b) => a.rules.family - b.rules.family)
    .map(({ addresses, rules }) => `${addressCount(addresses)} of IPv${rules.family}`)
    .join(', ');
}

function addressCount(count: number): string {
  return count === 1 ? '1 Service address' : `${count} Service addresses`;
}

function timeOf(sets: readonly Surveyed[]): { readonly time?: Nanos } {
  let latest: Nanos | undefined;
  for (const { time } of sets) {
    if (time !== undefined && (latest === undefined || time > latest)) latest = time;
  }
  return latest === undefined ? {} : { time: latest };
}

function replacementOf(datapath: Datapath | undefined): Replacement | undefined {
  return datapath === 'Cilium' || datapath === 'Calico' || datapath === 'OVN-Kubernetes'
    ? datapath
    : undefined;
}

function nameAndAddress({ service, address, port }: ServiceEntry): string {
  const name = service === undefined ? '' : `${service.namespace}/${service.name} at `;
  return `${name}${address} port ${port}`;
}
