import { readdir, readFile, readlink } from 'node:fs/promises';

/** linux/netlink.h: the column Eth of /proc/net/netlink holds the netlink protocol. */
const NETLINK_NETFILTER = 12;

export interface GroupSocket {
  /** Messages that the kernel could not queue on it so far. */
  readonly drops: number;
}

/**
 * The netfilter socket with which the process listens to multicast groups, from /proc/PID/net/netlink
 * (of its network namespace) and its open files; `undefined` while it has none, or cannot be seen.
 */
export async function groupSocket(pid: number): Promise<GroupSocket | undefined> {
  try {
    const own = await socketInodes(pid);
    const table = await readFile(`/proc/${pid}/net/netlink`, 'latin1');
    for (const line of table.split('\n').slice(1)) {
      // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
      const columns = line.trim().split(/\s+/);
      const listens = Number.parseInt(columns[3] ?? '0', 16) !== 0;
      if (Number(columns[1]) === NETLINK_NETFILTER && listens && own.has(columns[9] ?? '')) {
        return { drops: Number(columns[8] ?? 0) };
      }
    }
  } catch {
    // The process has gone, or /proc hides it: either way nothing can be said.
  }
  return undefined;
}

async function socketInodes(pid: number): Promise<Set<string>> {
  const inodes = new Set<string>();
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  return inodes;
}
