import { readdir } from 'node:fs/promises';
import type { InterfaceFacts } from '../../model/doctor.js';
import { type RunLimits, runProgram } from '../rules/run-program.js';
import { textOf } from './read.js';

type Found = InterfaceFacts['list'];

/** 10,000 interfaces. */
const MAX_BYTES = 16 << 20;
const COMMAND = ['ip', '-d', '-j', 'link', 'show'];
/** Where datapaths in eBPF keep their maps, so that they outlive the program (bpffs). */
const BPF_FOLDERS = ['sys/fs/bpf', 'sys/fs/bpf/tc', 'sys/fs/bpf/tc/globals', 'sys/fs/bpf/cilium'];
/** More names say nothing more. */
const MAX_BPF = 200;

/** The interfaces of this network namespace, and what is kept for programs of eBPF. */
export async function interfaceFacts(
  root: string,
  limits: Omit<RunLimits, 'maxBytes'>,
): Promise<InterfaceFacts> {
  const [told, listed, bpf] = await Promise.all([
    askIp(limits),
    textOf(`${root}proc/net/dev`),
    bpfNames(root),
  ]);
  if (told !== undefined) return { list: told, bpf, how: COMMAND.join(' ') };
  const names = [...(listed ?? '').matchAll(/^\s*([^\s:|]+):/gm)].map((m) => m[1] ?? '');
  return { list: names.map((name) => ({ name, up: true })), bpf, how: '/proc/net/dev' };
}

async function askIp(limits: Omit<RunLimits, 'maxBytes'>): Promise<Found | undefined> {
  const chunks: Uint8Array[] = [];
  const result = await runProgram(COMMAND, { ...limits, maxBytes: MAX_BYTES }, (chunk) => {
    chunks.push(chunk);
  });
  if (result.end !== 'ran' || result.code !== 0) return undefined;
  try {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(Buffer.concat(chunks)));
    return Array.isArray(parsed) ? parsed.flatMap(interfaceOf) : undefined;
  } catch {
    // An ip without JSON (busybox's): /proc tells the names.
    return undefined;
  }
}

/** An object of `ip -d -j link` (iproute2, ip/ipaddress.c: print_linkinfo). */
function interfaceOf(row: unknown): Found {
  if (typeof row !== 'object' || row === null) return [];
  const { ifname, flags, master, linkinfo, link_netnsid }: IpLink = row;
  if (typeof ifname !== 'string') return [];
  const kind =
    typeof linkinfo === 'object' && linkinfo !== null && 'info_kind' in linkinfo
      ? linkinfo.info_kind
      : undefined;
  return [
    {
      name: ifname,
      ...(typeof kind === 'string' && { kind }),
      ...(typeof master === 'string' && { master }),
      ...(link_netnsid !== undefined && { leadsAway: true }),
      up: Array.isArray(flags) && flags.includes('UP'),
    },
  ];
}

interface IpLink {
  readonly ifname?: unknown;
  readonly flags?: unknown;
  readonly master?: unknown;
  readonly linkinfo?: unknown;
  readonly link_netnsid?: unknown;
}

async function bpfNames(root: string): Promise<string[]> {
  const lists = await Promise.all(
    BPF_FOLDERS.map(async (folder) => {
      try {
        return await readdir(`${root}${folder}`);
      } catch {
        return [];
      }
    }),
  );
  return [...new Set(lists.flat())].sort().slice(0, MAX_BPF);
}
