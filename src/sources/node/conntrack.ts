import type { ConntrackFacts } from '../../model/doctor.js';
import { numberOf, textOf } from './read.js';

const PREFIX = 'proc/sys/net/netfilter/nf_conntrack_';
const SETTINGS: readonly string[] = [
  'events',
  'acct',
  'timestamp',
  'max',
  'count',
  'buckets',
  'tcp_loose',
  'tcp_be_liberal',
];

/** The columns that tell of entries which could not be made. */
const COUNTERS: readonly string[] = ['insert_failed', 'drop', 'early_drop', 'error', 'icmp_error'];

/** How conntrack is set in this network namespace, how full it is, and what it had to refuse. */
export async function conntrackFacts(root: string): Promise<ConntrackFacts> {
  const [settings, statistics, ...others] = await Promise.all([
    Promise.all(
      SETTINGS.map(async (name) => [name, await numberOf(`${root}${PREFIX}${name}`)] as const),
    ),
    textOf(`${root}proc/net/stat/nf_conntrack`),
    ...['net/bridge/bridge-nf-call-iptables', 'net/core/rmem_max', 'net/core/rmem_default'].map(
      (name) => numberOf(`${root}proc/sys/${name}`),
    ),
  ]);
  const [bridgeCalls, rmemMax, rmemDefault] = others;
  return {
    settings: Object.fromEntries(
      settings.filter((one): one is readonly [string, number] => one[1] !== undefined),
    ),
    counters: countersOf(statistics ?? ''),
    ...(bridgeCalls !== undefined && { bridgeCalls }),
    ...(rmemMax !== undefined && { rmemMax }),
    ...(rmemDefault !== undefined && { rmemDefault }),
  };
}

/** A line of headings, then one a processor in hexadecimal (net/netfilter/nf_conntrack_standalone.c, ct_cpu_seq_show). */
function countersOf(text: string): Record<string, number> {
  const [headings = '', ...lines] = text.trim().split('\n');
  const columns = headings.trim().split(/\s+/);
  const sums: Record<string, number> = {};
  for (const name of COUNTERS) {
    const column = columns.indexOf(name);
    if (column < 0) continue;
    const values = lines.map((line) => Number.parseInt(line.trim().split(/\s+/)[column] ?? '', 16));
    sums[name] = values.reduce((sum, value) => sum + (Number.isNaN(value) ? 0 : value), 0);
  }
  return sums;
}
