import type { Check, NodeFacts, RuleSetFacts } from '../../model/doctor.js';
import { replacements } from './interfaces.js';

/** Where kube-proxy's rules are: `iptables (nft)`, `nftables` … */
export function rulePlaces({ rules }: NodeFacts): string[] {
  return [...new Set(proxied(rules.sets).map(placeOf))].sort();
}

export function judgeRules(facts: NodeFacts): Check[] {
  return [
    datapathCheck(facts),
    placeCheck(facts),
    modeCheck(facts),
    ...versionChecks(facts),
    ...faultChecks(facts),
    ...markChecks(facts),
    ...ownerChecks(facts),
  ];
}

function proxied(sets: readonly RuleSetFacts[]): RuleSetFacts[] {
  return sets.filter(({ datapath }) => datapath === 'iptables' || datapath === 'nftables');
}

function placeOf({ kind, backend }: RuleSetFacts): string {
  if (kind === 'nftables') return 'nftables';
  return backend === 'unknown' ? 'iptables' : `iptables (${backend})`;
}

const LISTINGS =
  'iptables-save and ip6tables-save of both back ends, nft -j list table ip kube-proxy';

/** Who directs Services' connections: whoever does it out of netfilter's sight leaves nothing to attribute by. */
function datapathCheck(facts: NodeFacts): Check {
  const { rules, interfaces } = facts;
  const base = {
    group: 'rules',
    check: 'datapath',
    how: `${LISTINGS}; ${interfaces.how}; /sys/fs/bpf; /proc/net/ip_vs`,
  } as const;
  const has = rulePlaces(facts).length > 0;
  const signs = replacements(facts);
  const bySigns = signs.map(({ owner, sign }) => `${owner} (${sign})`).join(', ');
  if (has) {
    const beside = signs.length === 0 ? '' : `; ${bySigns} beside it`;
    if (signs.some(({ certain }) => certain)) {
      return {
        ...base,
        level: 'warn',
        fact: `kube-proxy's rules are there${beside}, which may direct Services before they are met`,
        remedy: 'look whether it replaces kube-proxy; old rules go with kube-proxy --cleanup',
        misses: 'connections that are translated in eBPF or Open vSwitch',
      };
    }
    return { ...base, level: 'ok', fact: `kube-proxy translates in netfilter${beside}` };
  }
  if (rules.ipvs !== undefined || rules.sets.some(({ datapath }) => datapath === 'ipvs')) {
    const sign = rules.ipvs ?? "kube-proxy's rules ask ipsets";
    return {
      ...base,
      level: 'warn',
      fact: `ipvs directs Services (${sign})`,
      remedy:
        "give the cluster's objects or a cluster to ask: rules name nothing in this mode; ipvs is to be removed from kube-proxy (iptables or nftables mode shows all)",
      misses: 'chains and probabilities; whatever net.ipv4.vs.conntrack=0 keeps from conntrack',
    };
  }
  const replaced = rules.sets.find(({ datapath }) => datapath !== undefined)?.datapath;
  const certain = signs.filter((one) => one.certain);
  if (replaced !== undefined || certain.length > 0) {
    const named = certain.length > 0 ? bySigns : (replaced ?? '');
    return {
      ...base,
      level: 'fail',
      fact: `no rules of kube-proxy; in its place: ${named}`,
      remedy: `nothing here translates in netfilter: ask the tools of ${replaced ?? certain[0]?.owner ?? 'that datapath'} (Cilium: hubble observe)`,
      misses: "Services' connections: they are seen, if at all, after their translation",
    };
  }
  return {
    ...base,
    level: 'warn',
    ...(rules.faults.length > 0
      ? {
          fact: 'who directs Services is not known: the rules could not be read',
          remedy: 'make them readable (below)',
        }
      : {
          fact: 'nobody that directs Services was found',
          remedy: 'is kube-proxy running on this node? Is this its network namespace?',
        }),
    misses: "Services' chains and probabilities, and names where no cluster is asked",
  };
}

function placeCheck({ rules }: NodeFacts): Check {
  const base = { group: 'rules', check: 'back-ends', how: LISTINGS } as const;
  const sets = proxied(rules.sets);
  const places = new Map<string, RuleSetFacts[]>();
  for (const set of sets) places.set(placeOf(set), [...(places.get(placeOf(set)) ?? []), set]);
  const told = [...places]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([place, here]) => `${place}: ${countsOf(here)}`);
  if (places.size === 0) {
    const where = rules.faults.length > 0 ? 'in none that could be read' : 'in no back end';
    return { ...base, level: 'ok', fact: `kube-proxy's rules are ${where}` };
  }
  if (places.size === 1) return { ...base, level: 'ok', fact: told.join('; ') };
  return {
    ...base,
    level: 'warn',
    fact: `kube-proxy's rules are in several back ends, all of them in force: ${told.join('; ')}`,
    remedy:
      'kube-proxy changed its mode or its iptables: kube-proxy --cleanup, or restart the node',
    misses: 'which back end translated a connection, where several could have',
  };
}

function countsOf(sets: readonly RuleSetFacts[]): string {
  return [...sets]
    .sort((a, b) => a.family - b.family)
    .map(
      ({ addresses, family }) =>
        `${addresses} Service address${addresses === 1 ? '' : 'es'} of IPv${family}`,
    )
    .join(', ');
}

function modeCheck(facts: NodeFacts): Check {
  const { rules } = facts;
  const base = {
    group: 'rules',
    check: 'proxy-mode',
    how: `${LISTINGS}; http://127.0.0.1:10249/proxyMode`,
  } as const;
  const shown = new Set(proxied(rules.sets).map(({ datapath }) => datapath));
  if (rules.ipvs !== undefined || rules.sets.some(({ datapath }) => datapath === 'ipvs'))
    shown.add('ipvs');
  const seen = [...shown].join(' and ');
  const { proxyMode } = rules;
  if (proxyMode === undefined) {
    const fact = seen === '' ? 'no proxy mode shows' : `${seen}, as the rules show`;
    return { ...base, level: 'ok', fact };
  }
  if (shown.size === 0) {
    return {
      ...base,
      level: 'warn',
      fact: `kube-proxy says ${proxyMode}, and no rules of it are there`,
      remedy:
        "look at kube-proxy's log: it may fail to write them; or they could not be read (below)",
      misses: "Services' chains and probabilities",
    };
  }
  if (shown.has(proxyMode)) {
    const also = shown.size > 1 ? `; rules show ${seen}` : '';
    return { ...base, level: 'ok', fact: `${proxyMode}, as kube-proxy says${also}` };
  }
  return {
    ...base,
    level: 'warn',
    fact: `kube-proxy says ${proxyMode}, its rules show ${seen}`,
    remedy: 'rules of another mode were left behind: kube-proxy --cleanup, or restart the node',
    misses: 'which rules translated a connection',
  };
}

function versionChecks({ rules }: NodeFacts): Check[] {
  const base = { group: 'rules', check: 'kube-proxy-version', level: 'ok' } as const;
  const { proxyVersion } = rules;
  if (proxyVersion !== undefined) {
    const how = 'http://127.0.0.1:10249/metrics, kubernetes_build_info';
    return [{ ...base, fact: `kube-proxy ${proxyVersion}`, how }];
  }
  const [shape] = proxied(rules.sets).filter(
    ({ from, to }) => from !== undefined || to !== undefined,
  );
  if (shape === undefined) return [];
  const { from, to } = shape;
  const range =
    from === undefined
      ? `${to} or older`
      : to === undefined
        ? `${from} or newer`
        : `${from} to ${to}`;
  return [{ ...base, fact: `kube-proxy ${range}, as its chains show`, how: shape.program }];
}

type Fault = NodeFacts['rules']['faults'][number];

/** A listing that failed, each; but what hinders all of them in the same way is one line. */
function faultChecks({ rules }: NodeFacts): Check[] {
  const denied = rules.faults.filter((fault) => fault.denied === true);
  const others = rules.faults.filter((fault) => fault.denied !== true);
  const checks = others.map((fault) => {
    const { program, reason } = fault;
    return unread(program, `${program}: ${reason}`, ...remedyOf(fault));
  });
  if (denied.length === 0) return checks;
  const programs = denied.map(({ program }) => program).join(', ');
  const missed = 'the rules that could not be read';
  const remedy =
    'CAP_NET_ADMIN must reach these programs, and iptables-legacy needs root (/proc/net/ip_tables_names is for root alone)';
  return [unread(programs, `not permitted: ${programs}`, remedy, missed), ...checks];
}

function remedyOf({ program, reason, late }: Fault): [remedy: string, misses?: string] {
  if (late === true) return ['live waits up to 60 s for it: this node has many rules, or is busy'];
  const remedy =
    reason === 'not found'
      ? 'install the package iptables'
      : "run it by hand to see what hinders it; use the node's own version";
  return [remedy, `the rules that ${program} prints`];
}

function unread(program: string, fact: string, remedy: string, misses?: string): Check {
  return {
    group: 'rules',
    check: 'rules-unread',
    level: 'warn',
    fact,
    remedy,
    ...(misses !== undefined && { misses }),
    how: program,
  };
}

function markChecks({ rules }: NodeFacts): Check[] {
  return rules.sets
    .filter(({ losesMarks }) => losesMarks === true)
    .map(({ program, version }) => ({
      group: 'rules',
      check: 'marks-lost',
      level: 'warn',
      fact: `${program}${version === undefined ? '' : ` ${version}`} prints kube-proxy's rules without their marks`,
      remedy: 'a newer iptables wrote them: install that version (kubernetes/kubernetes#112477)',
      misses: 'masquerading as the rules have it',
      how: `${program}, KUBE-POSTROUTING`,
    }));
}

function ownerChecks({ rules }: NodeFacts): Check[] {
  const checks: Check[] = [];
  const owners = [...new Set(rules.sets.flatMap((set) => set.owners))].sort();
  if (owners.length > 0) {
    checks.push({
      group: 'rules',
      check: 'other-owners',
      level: 'ok',
      fact: `rules of others too: ${owners.join(', ')}`,
      how: LISTINGS,
    });
  }
  const untracked = rules.sets.reduce((sum, set) => sum + set.untracked, 0);
  if (untracked > 0) {
    checks.push({
      group: 'rules',
      check: 'untracked',
      level: 'warn',
      fact: `${untracked} rules in table raw keep packets out of conntrack, and so out of translation (as NodeLocal DNSCache does)`,
      remedy: 'none is needed if that is meant: such packets are answered on this node',
      misses: 'packets that rules in table raw keep out of conntrack',
      how: `${LISTINGS}, table raw`,
    });
  }
  return checks;
}
