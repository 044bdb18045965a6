import type { ChildProcess } from 'node:child_process';

const running = new Set<ChildProcess>();

/** Sees to it that a child does not outlive this process, however that ends by itself; of its own children it is to take care. */
export function ours<T extends ChildProcess>(child: T): T {
  running.add(child);
  child.once('close', () => running.delete(child));
  return child;
}

process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
