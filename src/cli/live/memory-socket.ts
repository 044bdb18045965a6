import { lstat, mkdir, readdir, readlink, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Io } from '../io.js';

/**
 * Where a live run may be asked: a socket in a folder that nobody but its user may enter, since what it
 * tells is as confidential as the traffic. Never a port: every process of the node could reach that.
 */

/** `0o077`: what group and others may do. */
const OTHERS = 0o077;

type Around = Pick<Io, 'env' | 'uid'>;

/** Folders in which sockets may be, the best first. */
function socketFolders({ env, uid }: Around): readonly string[] {
  const { XDG_RUNTIME_DIR: runtime } = env;
  return [
    // A service and a shell of root's must meet, and only one of them has a session.
    ...(uid === 0 ? ['/run/whichpod'] : []),
    ...(runtime?.startsWith('/') ? [join(runtime, 'whichpod')] : []),
    join(tmpdir(), `whichpod-${uid ?? 'user'}`),
  ];
}

/** Why a folder is not to be trusted; `undefined` if it is; `missing` if there is none. */
async function faultOf(
  folder: string,
  { uid }: Pick<Around, 'uid'>,
): Promise<'missing' | string | undefined> {
  try {
    const stats = await lstat(folder);
    if (!stats.isDirectory()) return `${folder} is no folder`;
    if (uid !== undefined && stats.uid !== uid) {
      return `${folder} is owned by user ${stats.uid}, not by ${uid}`;
    }
    if ((stats.mode & OTHERS) !== 0) return `${folder} may be entered by others (chmod 700 it)`;
    return undefined;
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? 'missing' : `${folder}: ${codeOf(error)}`;
  }
}

/** A folder for a socket of one's own, made if need be; else why there is none. */
export async function folderForSocket(
  around: Around,
): Promise<{ readonly folder: string } | { readonly faults: readonly string[] }> {
  const faults: string[] = [];
  for (const folder of socketFolders(around)) {
    const made = await mkdir(folder, { mode: 0o700 }).then(
      () => undefined,
      (error: unknown) => codeOf(error),
    );
    if (made !== undefined && made !== 'EEXIST') {
      faults.push(`${folder}: ${made}`);
      continue;
    }
    const fault = await faultOf(folder, around);
    if (fault === undefined) return { folder };
    faults.push(fault);
  }
  return { faults };
}

/** Sockets of live runs see one network namespace each, so their names tell which. */
export async function socketName(pid: number): Promise<string> {
  return `${await prefix()}${pid}.sock`;
}

async function prefix(): Promise<string> {
  const link = await readlink('/proc/self/ns/net').catch(() => '');
  const [, inode = '0'] = /\[(\d+)\]/.exec(link) ?? [];
  return `live-${inode}-`;
}

/** Sockets of live runs in this network namespace, the newest first, with why folders were passed over. */
export async function findSockets(
  around: Around,
): Promise<{ readonly paths: readonly string[]; readonly faults: readonly string[] }> {
  const begin = await prefix();
  const found: { readonly path: string; readonly made: number }[] = [];
  const faults: string[] = [];
  for (const folder of socketFolders(around)) {
    const fault = await faultOf(folder, around);
    if (fault === 'missing') continue;
    if (fault !== undefined) {
      faults.push(fault);
      continue;
    }
    for (const name of await readdir(folder).catch(() => [])) {
      if (!name.startsWith(begin) || !name.endsWith('.sock')) continue;
      const path = join(folder, name);
      const stats = await lstat(path).catch(() => undefined);
      if (stats?.isSocket() === true && (around.uid === undefined || stats.uid === around.uid)) {
        found.push({ path, made: stats.mtimeMs });
      }
    }
  }
  found.sort((a, b) => b.made - a.made);
  return { paths: found.map(({ path }) => path), faults };
}

/** Removes sockets that nobody listens on any more: their process was killed. */
export async function removeStale(around: Around): Promise<void> {
  const { paths } = await findSockets(around);
  for (const path of paths) if (await isStale(path)) await unlink(path).catch(() => undefined);
}

function isStale(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', (error) => resolve(codeOf(error) === 'ECONNREFUSED'));
  });
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
