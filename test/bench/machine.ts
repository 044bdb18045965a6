import { spawnSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';

/** Processor, cores, memory, kernel, Node. */
export function machineFacts(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown processor';
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} x ${model}, ${memory} GiB, Linux ${release()}, Node ${process.versions.node}`;
}

/** `tcpdump 4.99.3`; the name alone if it does not tell. `undefined` if it is not there. */
export function toolVersion(name: string): string | undefined {
  const { error, stdout, stderr } = spawnSync(name, ['--version'], { encoding: 'utf8' });
  if (error) return undefined;
  const [version] = /\d+\.\d+(?:\.\d+)?/.exec(`${stdout}${stderr}`) ?? [];
  return version === undefined ? name : `${name} ${version}`;
}
