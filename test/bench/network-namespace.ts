import { spawnSync } from 'node:child_process';
import { deleteNamespaces, newLabPrefix } from '../../src/lab/namespaces.js';

/** A network namespace of our own: the machine's own is never touched. */
export interface NetworkNamespace {
  /** What stands before a program that shall run in it. */
  readonly enter: readonly string[];
  /** Deletes it. */
  close(): void;
}

/** Why namespaces cannot be made here; `undefined` if they can. */
export function whyNoNamespaces(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces are Linux’s';
  if (process.getuid?.() !== 0) return 'only root may make network namespaces';
  const { error } = spawnSync('ip', ['-V']);
  return error ? 'ip (iproute2) is not there' : undefined;
}

export function createNamespace(): NetworkNamespace {
  const name = `${newLabPrefix()}bench`;
  const close = (): void => {
    deleteNamespaces([name]);
    process.removeListener('exit', close);
  };
  const { status, stderr } = spawnSync('ip', ['netns', 'add', name], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip netns add: ${stderr}`);
  process.once('exit', close);
  return { enter: ['ip', 'netns', 'exec', name], close };
}
