import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Where iproute2 keeps named network namespaces. */
const NETNS_DIRECTORY = '/run/netns';

const IP = 'ip';

/** `wp<pid>-<start time of that process>-<number of the lab>-<which>`: who made it, also after a pid was used again. */
const NAME = /^wp(\d+)-(\d+)-\d+-/;

/** Field 22 of /proc/PID/stat, counted after the name in parentheses, which may hold blanks (proc(5)). */
const START_TIME_AFTER_NAME = 19;

let labs = 0;

/** A prefix for the namespaces of one lab of this process; no two labs on one machine share it. */
export function newLabPrefix(): string {
  labs++;
  return `wp${process.pid}-${startTime(process.pid) ?? '0'}-${labs}-`;
}

export function namespacePath(name: string): string {
  return `${NETNS_DIRECTORY}/${name}`;
}

/** Deletes them as far as they exist; blocks, throws nothing, so that an exit hook can use it. */
export function deleteNamespaces(names: readonly string[]): void {
  const present = new Set(listNamespaces());
  const input = names.filter((name) => present.has(name)).map((name) => `netns del ${name}\n`);
  if (input.length > 0) spawnSync(IP, ['-force', '-batch', '-'], { input: input.join('') });
}

/**
 * Removes the namespaces of labs whose process is gone (killed before it could clean up) and returns
 * their names. Their servers need no help: each ends when the pipe from its parent closes. Needs root;
 * assumes that whoever shares /run/netns also shares the process table.
 */
export function sweepStaleLabs(): readonly string[] {
  const stale = listNamespaces().filter((name) => {
    const [, pid, start] = NAME.exec(name) ?? [];
    return pid !== undefined && startTime(Number(pid)) !== start;
  });
  deleteNamespaces(stale);
  return stale;
}

function listNamespaces(): string[] {
  try {
    return readdirSync(NETNS_DIRECTORY);
  } catch {
    return []; // no namespace was ever made
  }
}

function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[START_TIME_AFTER_NAME];
  } catch {
    return undefined;
  }
}
