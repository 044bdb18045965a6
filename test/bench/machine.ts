import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

/** Processor, cores, memory, kernel, Node. */
export function machineFacts(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown processor';
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} x ${model}, ${memory} GiB, Linux ${release()}, Node ${process.versions.node}`;
}

/** What else ran in the minute before: figures of a machine that is not idle are slower, ratios hold better. */
export function loadBefore(): string {
  return `load average ${(loadavg()[0] ?? 0).toFixed(1)} before`;
}

/** A tenth is left to the machine's own connections. */
const SHARE_OF_LIMIT = 0.9;

/** What this machine's conntrack has room for, in all namespaces together; a benchmark does not change it. */
export function conntrackLimit(): { readonly limit: number; readonly most: number } {
  const limit = Number(readFileSync('/proc/sys/net/netfilter/nf_conntrack_max', 'latin1'));
  return { limit, most: Math.floor(limit * SHARE_OF_LIMIT) };
}

/** `tcpdump 4.99.3`; the name alone if it does not tell. `undefined` if it is not there. */
export function toolVersion(name: string): string | undefined {
  const { error, stdout, stderr } = spawnSync(name, ['--version'], { encoding: 'utf8' });
  if (error) return undefined;
  const [version] = /\d+\.\d+(?:\.\d+)?/.exec(`${stdout}${stderr}`) ?? [];
  return version === undefined ? name : `${name} ${version}`;
}
