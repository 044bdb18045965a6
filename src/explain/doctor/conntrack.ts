import type { Check, NodeFacts } from '../../model/doctor.js';

/** Shares of the table in use at which new connections are about to be refused. */
const NEARLY_FULL = 0.95;
const FILLING = 0.8;

export function judgeConntrack(facts: NodeFacts): Check[] {
  const { settings } = facts.conntrack;
  if (settings['max'] === undefined && settings['events'] === undefined) {
    return [
      {
        group: 'conntrack',
        check: 'events',
        level: 'warn',
        fact: 'conntrack is not there: the kernel module nf_conntrack is not loaded',
        remedy: 'it comes with the first rule that translates: is kube-proxy running?',
        misses: 'translations, as long as there are none',
        how: '/proc/sys/net/netfilter',
      },
    ];
  }
  return [
    eventsCheck(settings['events']),
    ...useChecks(facts),
    ...counterChecks(facts),
    ...accountingChecks(settings),
    ...strictnessChecks(settings),
  ];
}

const SETTING = '/proc/sys/net/netfilter/nf_conntrack_';

function eventsCheck(events: number | undefined): Check {
  const base = { group: 'conntrack', check: 'events', how: `${SETTING}events` } as const;
  switch (events) {
    case 0:
      return {
        ...base,
        level: 'warn',
        fact: 'nf_conntrack_events=0: the kernel says nothing of new and deleted entries',
        remedy:
          'sysctl net.netfilter.nf_conntrack_events=1; until then --conntrack list asks for the table',
        misses: 'connections of which packets show no translation, and when entries end',
      };
    case 2:
      // Linux 5.19, commit 90d1daa45849: entries made while nobody listens get no event cache.
      return {
        ...base,
        level: 'ok',
        fact: 'nf_conntrack_events=2: the kernel tells of entries that begin while somebody listens',
        misses: 'the end of connections that were open before the start',
      };
    case 1:
      return { ...base, level: 'ok', fact: 'nf_conntrack_events=1' };
    default:
      return {
        ...base,
        level: 'warn',
        fact:
          events === undefined
            ? 'the kernel has no nf_conntrack_events'
            : `nf_conntrack_events=${events}, which is not known`,
        remedy: 'the kernel needs CONFIG_NF_CONNTRACK_EVENTS',
        misses: 'perhaps new and deleted entries',
      };
  }
}

function useChecks({ conntrack }: NodeFacts): Check[] {
  const { max, count } = conntrack.settings;
  if (max === undefined || count === undefined || max === 0) return [];
  const base = {
    group: 'conntrack',
    check: 'table',
    how: `${SETTING}count, ${SETTING}max`,
  } as const;
  const share = count / max;
  const percent = share > 0 && share < 0.01 ? 'less than 1' : String(Math.floor(100 * share));
  // The limit is the machine's; each network namespace counts its own entries (nf_conntrack_core.c).
  const fact = `${count} of ${max} entries in use (${percent} %)`;
  if (share < FILLING) return [{ ...base, level: 'ok', fact }];
  const full = share >= NEARLY_FULL;
  return [
    {
      ...base,
      level: 'warn',
      fact: `${fact}${full ? ': new connections are about to be dropped, if not already' : ''}`,
      remedy:
        'raise nf_conntrack_max (kube-proxy: conntrack.maxPerCore), or find who opens so many',
      ...(full && {
        misses: 'connections that are dropped for want of an entry: they show as unanswered',
      }),
    },
  ];
}

function counterChecks({ conntrack }: NodeFacts): Check[] {
  const base = { group: 'conntrack', how: '/proc/net/stat/nf_conntrack' } as const;
  const { insert_failed: failed, drop, early_drop: early } = conntrack.counters;
  const checks: Check[] = [];
  if (failed !== undefined && failed > 0) {
    checks.push({
      ...base,
      check: 'insert-failed',
      level: 'warn',
      fact: `${failed} packets were dropped since the start because another had taken their entry (insert_failed)`,
      remedy:
        'often two DNS questions from one socket (5 s waits: kubernetes/kubernetes#56903): a DNS cache on the node, or single-request-reopen',
    });
  }
  const dropped = (drop ?? 0) + (early ?? 0);
  if (dropped > 0) {
    checks.push({
      ...base,
      check: 'table-was-full',
      level: 'warn',
      fact: `the table was full since the start: ${drop ?? 0} packets dropped, ${early ?? 0} entries thrown out for new ones`,
      remedy: 'raise nf_conntrack_max, or find who opens so many connections',
    });
  }
  if (checks.length === 0 && failed !== undefined) {
    checks.push({
      ...base,
      check: 'counters',
      level: 'ok',
      fact: 'nothing was dropped since the start for want of an entry',
    });
  }
  return checks;
}

function accountingChecks(settings: NodeFacts['conntrack']['settings']): Check[] {
  const { acct, timestamp } = settings;
  const checks: Check[] = [];
  if (acct !== undefined) {
    checks.push({
      group: 'conntrack',
      check: 'accounting',
      level: 'ok',
      fact:
        acct === 0
          ? 'nf_conntrack_acct=0: packets and bytes are not counted'
          : 'nf_conntrack_acct=1: packets and bytes are counted',
      ...(acct === 0 && {
        remedy: 'sysctl net.netfilter.nf_conntrack_acct=1, if they are wanted',
        misses: "connections' packets and bytes",
      }),
      how: `${SETTING}acct`,
    });
  }
  if (timestamp !== undefined) {
    checks.push({
      group: 'conntrack',
      check: 'timestamps',
      level: 'ok',
      fact:
        timestamp === 0
          ? 'nf_conntrack_timestamp=0: entries do not tell when they began'
          : 'nf_conntrack_timestamp=1: entries tell when they began',
      ...(timestamp === 0 && {
        remedy: 'sysctl net.netfilter.nf_conntrack_timestamp=1, if that is wanted',
        misses: 'when connections began that were open before the start',
      }),
      how: `${SETTING}timestamp`,
    });
  }
  return checks;
}

function strictnessChecks(settings: NodeFacts['conntrack']['settings']): Check[] {
  const { tcp_loose: loose, tcp_be_liberal: liberal } = settings;
  if (loose === undefined || liberal === undefined) return [];
  const mid =
    loose === 0
      ? 'segments without an entry are INVALID'
      : 'segments without an entry make a new one, which may lead elsewhere';
  const window =
    liberal === 0
      ? 'segments out of the window are INVALID'
      : 'segments out of the window are taken';
  return [
    {
      group: 'conntrack',
      check: 'strictness',
      level: 'ok',
      fact: `tcp_loose=${loose}, tcp_be_liberal=${liberal}: ${mid}; ${window}`,
      how: `${SETTING}tcp_loose, ${SETTING}tcp_be_liberal`,
    },
  ];
}
