import type { Check, NodeFacts, ProgramFacts } from '../../model/doctor.js';
import { conntrackBy, EVENT_BYTES } from './process.js';
import { compareVersions } from './versions.js';

type Found = NonNullable<ProgramFacts['found']>;

export function judgePrograms(facts: NodeFacts): Check[] {
  return [
    conntrackCheck(facts),
    ...[4, 6].map((family) => iptablesCheck(facts, family)),
    nftCheck(facts),
  ];
}

function find({ programs }: NodeFacts, name: string): Found | undefined {
  return programs.find((one) => one.name === name)?.found;
}

function named(name: string, { version, fault }: Found): string {
  const told = version === undefined ? `${name} of unknown version` : `${name} ${version}`;
  return fault === undefined ? told : `${told} (${fault})`;
}

function conntrackCheck(facts: NodeFacts): Check {
  const found = find(facts, 'conntrack');
  const base = { group: 'programs', check: 'conntrack', how: 'conntrack -V' } as const;
  const used = !facts.process.addon.ok;
  if (found === undefined) {
    if (!used) return { ...base, level: 'ok', fact: 'conntrack is not there; netlink needs none' };
    return {
      ...base,
      level: 'warn',
      fact: 'conntrack is not there, and without the addon nothing else reads conntrack',
      remedy: 'install the package conntrack, or build the addon: npm run build:native',
      misses: 'connections of which packets show no translation',
    };
  }
  const { version } = found;
  const text = named('conntrack', found);
  // Measured with 1.4.7: -b enlarges a socket that joined no group; an overrun is a warning on stderr
  // and exit code 0. Older ones end at an overrun instead (weaveworks/scope#1137, 1.4.3).
  const bad =
    version === undefined || compareVersions(version, '1.4.7') > 0
      ? undefined
      : compareVersions(version, '1.4.4') < 0
        ? 'ends when its buffer overruns'
        : 'its -b has no effect, and it says on stderr alone that its buffer overran';
  if (!used || bad === undefined) {
    const why = bad === undefined ? '' : ` (${bad})`;
    const unused = conntrackBy(facts) === 'netlink' ? '; netlink is used in its place' : '';
    return { ...base, level: 'ok', fact: `${text}${why}${unused}` };
  }
  const { rmemDefault } = facts.conntrack;
  const room =
    rmemDefault === undefined ? '' : ` (of ${Math.floor(rmemDefault / EVENT_BYTES)} events)`;
  return {
    ...base,
    level: 'warn',
    fact: `${text}: ${bad}`,
    remedy:
      'build the addon (npm run build:native): netlink is used then; or raise net.core.rmem_default',
    misses: `conntrack events in bursts that overrun its buffer${room}`,
  };
}

function iptablesCheck(facts: NodeFacts, family: number): Check {
  const tool = family === 4 ? 'iptables' : 'ip6tables';
  const base = {
    group: 'programs',
    check: tool,
    how: `${tool}-save -V, -nft-save, -legacy-save`,
  } as const;
  const all = [`${tool}-nft-save`, `${tool}-legacy-save`, `${tool}-save`].map((name) => ({
    name,
    found: find(facts, name),
  }));
  const there = all.flatMap(({ name, found }) => (found === undefined ? [] : [{ name, found }]));
  const [nft, legacy, plain] = all;
  const both = nft?.found !== undefined && legacy?.found !== undefined;
  const used = both ? there.filter(({ name }) => name !== plain?.name) : there;
  const text = used.map(({ name, found }) => named(name, found)).join(', ');
  if (there.length === 0) {
    const needless = facts.rules.sets.some(
      ({ kind, addresses }) => kind === 'nftables' && addresses > 0,
    );
    return {
      ...base,
      level: needless ? 'ok' : 'warn',
      fact: `${tool}-save is not there${needless ? "; kube-proxy's rules are nftables'" : ''}`,
      ...(!needless && {
        remedy: "install the package iptables, of the node's own version",
        misses: `iptables rules of IPv${family}: chains and probabilities`,
      }),
    };
  }
  const fault = oldNft(
    facts,
    used.map(({ found }) => found),
  );
  if (fault !== undefined) {
    return {
      ...base,
      level: 'warn',
      fact: `${text}: ${fault}`,
      remedy:
        "use the program that wrote the rules, or a newer one (the node's own, or kube-proxy's image's)",
      misses: 'matches of rules that a newer iptables wrote',
    };
  }
  // In a Pod it is the image's, and the rules are written by the node's and kube-proxy's.
  const whose = facts.namespace.inPod
    ? "; the container's own, to be no older than the node's"
    : '';
  return { ...base, level: 'ok', fact: `${text}${whose}` };
}

/** What is known of iptables-nft reading rules of iptables-nft, where there are such rules. */
function oldNft({ rules }: NodeFacts, used: readonly Found[]): string | undefined {
  if (
    !rules.sets.some(
      ({ backend, kind, addresses }) => kind === 'iptables' && backend === 'nft' && addresses > 0,
    )
  ) {
    return undefined;
  }
  const versions = used.filter(({ backend }) => backend !== 'legacy').map(({ version }) => version);
  for (const version of versions) {
    if (version === undefined || compareVersions(version, '1.8.0') < 0) continue;
    // kubernetes/kubernetes#82361: it does not find rules that are there.
    if (compareVersions(version, '1.8.3') < 0) return `${version} misreads comments and marks`;
    // kubernetes/kubernetes#112477.
    if (compareVersions(version, '1.8.8') < 0) {
      return `${version} leaves out the mark of rules that 1.8.8 or newer wrote`;
    }
  }
  return undefined;
}

function nftCheck(facts: NodeFacts): Check {
  const found = find(facts, 'nft');
  const base = { group: 'programs', check: 'nft', how: 'nft -V' } as const;
  const { rules } = facts;
  const needed =
    rules.proxyMode === 'nftables' ||
    rules.sets.some(({ kind, datapath }) => kind === 'nftables' && datapath !== undefined);
  if (found === undefined) {
    return {
      ...base,
      level: needed ? 'warn' : 'ok',
      fact: 'nft is not there; only the rules of nftables mode need it',
      ...(needed && {
        remedy: 'install the package nftables',
        misses: 'chains and probabilities of nftables mode',
      }),
    };
  }
  const text = named('nft', found);
  const { version } = found;
  // kubernetes/kubernetes#124152: older ones parse the whole rule set whatever they are asked for, and
  // crash on what newer ones wrote; kube-proxy itself asks for 1.0.1.
  if (version !== undefined && compareVersions(version, '1.0.1') < 0) {
    return {
      ...base,
      level: needed ? 'warn' : 'ok',
      fact: `${text}: older than 1.0.1, which may crash on rules of nftables mode`,
      ...(needed && {
        remedy: 'install nftables 1.0.1 or newer',
        misses: 'chains and probabilities of nftables mode, if it crashes',
      }),
    };
  }
  return { ...base, level: 'ok', fact: text };
}
