import { spawnSync } from 'node:child_process';
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

/** `tcpdump 4.99.3`; the name alone if it does not tell. `undefined` if it is not there. */
export function toolVersion(name: string): string | undefined {
  const { error, stdout, stderr } = spawnSync(name, ['--version'], { encoding: 'utf8' });
  if (error) return undefined;
  const [version] = /\d+\.\d+(?:\.\d+)?/.exec(`${stdout}${stderr}`) ?? [];
  return version === undefined ? name : `${name} ${version}`;
}
