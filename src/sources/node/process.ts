import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Attempt, ProcessFacts } from '../../model/doctor.js';
import { type AddonLoad, isNativeError, loadAddon } from '../../native/binding.js';
import { linkOf, textOf } from './read.js';

/** The kernel's number of its first user namespace (include/linux/proc_ns.h, PROC_USER_INIT_INO). */
const FIRST_USER_NAMESPACE = 'user:[4026531837]';

/** linux/capability.h; those that whichpod or a reader of its report has a use for. */
const CAPABILITIES: readonly (readonly [bit: number, name: string])[] = [
  [12, 'NET_ADMIN'],
  [13, 'NET_RAW'],
  [19, 'SYS_PTRACE'],
  [21, 'SYS_ADMIN'],
];

/** As conntrack's netlink source asks for. */
const BUFFER_BYTES = 64 << 20;
const NETLINK_NETFILTER = 12;
/** linux/netfilter/nfnetlink.h: NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_DESTROY. */
const GROUPS = [1, 3];

/** `ret #0`: nothing comes through the ring that is opened to see whether it can be. */
const NOTHING = new Uint32Array([0x06, 0]);
/** As small as a ring can be that holds a frame. */
const RING = { blockBytes: 32 * 1024, blocks: 2, blockTimeoutMs: 100, filter: NOTHING };

export interface ProcessOptions {
  /** Where /proc is. */
  readonly root: string;
  readonly uid: number | undefined;
  readonly timeoutMs: number;
  readonly load?: () => AddonLoad;
}

/** What this process is and may do: looked up, and where that can be done without a trace, tried. */
export async function processFacts(options: ProcessOptions): Promise<ProcessFacts> {
  const { root, uid } = options;
  const [status, user, cap] = await Promise.all([
    textOf(`${root}proc/self/status`),
    linkOf(`${root}proc/self/ns/user`),
    capLoads(options.timeoutMs),
  ]);
  const load = (options.load ?? loadAddon)();
  const { platform, arch, versions } = process;
  return {
    platform,
    arch,
    version: versions.node,
    ...(uid !== undefined && { uid }),
    ...capabilities(status),
    ...(user !== undefined && { firstUserNamespace: user === FIRST_USER_NAMESPACE }),
    addon: load.ok ? { ok: true } : { ok: false, reason: load.reason },
    cap,
    ...(load.ok && tried(load.addon)),
  };
}

function capabilities(status: string | undefined): Pick<ProcessFacts, 'effective' | 'ambient'> {
  const named = (line: string): string[] | undefined => {
    const hex = new RegExp(`^${line}:\\s*([0-9a-f]+)$`, 'm').exec(status ?? '')?.[1];
    if (hex === undefined) return undefined;
    const mask = BigInt(`0x${hex}`);
    return CAPABILITIES.filter(([bit]) => (mask >> BigInt(bit)) & 1n).map(([, name]) => name);
  };
  const effective = named('CapEff');
  const ambient = named('CapAmb');
  return { ...(effective && { effective }), ...(ambient && { ambient }) };
}

type Addon = Extract<AddonLoad, { ok: true }>['addon'];

function tried(addon: Addon): Pick<ProcessFacts, 'ring' | 'netlink' | 'buffer'> {
  const ring = attempt(() => new addon.PacketRing(RING, () => undefined).close());
  let granted = 0;
  const netlink = attempt(() => {
    const options = {
      protocol: NETLINK_NETFILTER,
      groups: GROUPS,
      receiveBufferBytes: BUFFER_BYTES,
    };
    const socket = new addon.NetlinkSocket(options, () => undefined);
    granted = socket.receiveBufferBytes();
    socket.close();
  });
  // The kernel doubles what is asked for, for its own bookkeeping (socket(7), SO_RCVBUF).
  return {
    ring,
    netlink,
    ...(netlink.ok && { buffer: { asked: 2 * BUFFER_BYTES, granted } }),
  };
}

function attempt(open: () => void): Attempt {
  try {
    open();
    return { ok: true };
  } catch (error) {
    if (!isNativeError(error)) throw error;
    const denied = error.code === 'EPERM' || error.code === 'EACCES';
    return { ok: false, reason: `${error.syscall}: ${error.code}`, denied };
  }
}

/** In a process of its own: cap can be loaded once in a process, and ends it when it fails badly. */
function capLoads(timeoutMs: number): Promise<Attempt> {
  const here = fileURLToPath(import.meta.url);
  const script = `require('node:module').createRequire(${JSON.stringify(here)})('cap')`;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['-e', script],
      { timeout: timeoutMs, killSignal: 'SIGKILL', env: process.env },
      (error, _stdout, stderr) => {
        if (error === null) resolve({ ok: true });
        else resolve({ ok: false, reason: whyNot(error, stderr) });
      },
    );
  });
}

function whyNot(
  error: { readonly killed?: boolean; readonly message: string },
  stderr: string,
): string {
  if (error.killed === true) return 'it did not load in time';
  const said = /^(?:[A-Za-z]*Error): (.*)$/m.exec(stderr)?.[1] ?? error.message;
  return said.split('\n', 1)[0] ?? '';
}
