import type { Check, Diagnosis, NodeFacts, ProcessFacts } from '../../model/doctor.js';
import { compareVersions } from './versions.js';

/** package.json, engines. */
const OLDEST_NODE = '20.19.0';

const AS_ROOT =
  'run as root, or in a container add NET_RAW and NET_ADMIN to securityContext.capabilities';

/** How packets would be captured (sources/capture/backend.ts, `auto`). */
export function packetsBy({ process }: NodeFacts): Diagnosis['packets'] {
  if (process.platform !== 'linux') return 'none';
  if (process.addon.ok) return process.ring?.ok === true ? 'ring' : 'none';
  return process.cap.ok && mayCapture(process) ? 'cap' : 'none';
}

/** How conntrack would be read (sources/conntrack/choose.ts, `auto`). */
export function conntrackBy({ process, programs }: NodeFacts): Diagnosis['conntrack'] {
  if (process.platform !== 'linux') return 'none';
  if (process.addon.ok) return process.netlink?.ok === true ? 'netlink' : 'none';
  const there = programs.some(({ name, found }) => name === 'conntrack' && found !== undefined);
  return there && reachesPrograms(process) ? 'conntrack -E' : 'none';
}

export function judgeProcess(facts: NodeFacts): Check[] {
  const { process } = facts;
  const platform = platformCheck(process);
  const version = versionCheck(process);
  if (platform.level === 'fail') return [platform, version];
  return [
    platform,
    version,
    capabilityCheck(process),
    ...(process.firstUserNamespace === false ? [userNamespaceCheck()] : []),
    addonCheck(process),
    capCheck(process),
    packetCheck(facts),
    ...(process.netlink === undefined ? [] : [netlinkCheck(process.netlink)]),
    ...bufferChecks(facts),
  ];
}

function platformCheck({ platform, arch }: ProcessFacts): Check {
  const base = { group: 'process', check: 'platform', how: 'process.platform' } as const;
  if (platform === 'linux') return { ...base, level: 'ok', fact: `Linux on ${arch}` };
  return {
    ...base,
    level: 'fail',
    fact: `live needs Linux's packet rings and conntrack; this is ${platform}`,
    remedy: 'record on the node, and read the recording here: whichpod replay',
  };
}

function versionCheck({ version }: ProcessFacts): Check {
  const base = { group: 'process', check: 'node-version', how: 'process.versions' } as const;
  if (compareVersions(version, OLDEST_NODE) >= 0) {
    return { ...base, level: 'ok', fact: `Node ${version}` };
  }
  return {
    ...base,
    level: 'fail',
    fact: `Node ${version} is older than ${OLDEST_NODE}`,
    remedy: `install Node ${OLDEST_NODE} or newer`,
  };
}

function capabilityCheck(process: ProcessFacts): Check {
  const base = {
    group: 'process',
    check: 'capabilities',
    how: '/proc/self/status, CapEff',
  } as const;
  const { effective } = process;
  if (effective === undefined) {
    return {
      ...base,
      level: 'warn',
      fact: 'the kernel does not tell this process its capabilities',
      remedy: 'mount /proc; the lines below tell what could be opened',
    };
  }
  const missing = ['NET_RAW', 'NET_ADMIN'].filter((name) => !effective.includes(name));
  if (missing.length > 0) {
    const without = missing.map((name) => `CAP_${name}`).join(' and ');
    return {
      ...base,
      level: missing.includes('NET_RAW') ? 'fail' : 'warn',
      fact: `without ${without}`,
      remedy: AS_ROOT,
      ...(missing.includes('NET_ADMIN') && { misses: 'conntrack and the rules' }),
    };
  }
  if (!reachesPrograms(process)) {
    return {
      ...base,
      level: 'warn',
      fact: 'CAP_NET_RAW and CAP_NET_ADMIN, which the programs that are started do not inherit',
      remedy:
        'give ambient capabilities: setpriv --ambient-caps +net_raw,+net_admin (file capabilities do not reach iptables-save and nft)',
      misses: 'the rules, which programs read',
    };
  }
  return { ...base, level: 'ok', fact: 'CAP_NET_RAW and CAP_NET_ADMIN' };
}

function userNamespaceCheck(): Check {
  return {
    group: 'process',
    check: 'user-namespace',
    level: 'warn',
    fact: 'this is a user namespace of its own: its capabilities count only in network namespaces that it owns, not in others',
    remedy: 'run on the node itself, or in a Pod without a user namespace (spec.hostUsers: true)',
    how: '/proc/self/ns/user',
  };
}

function addonCheck({ addon }: ProcessFacts): Check {
  const base = { group: 'process', check: 'addon', how: 'loading it' } as const;
  if (addon.ok) return { ...base, level: 'ok', fact: "whichpod's addon loads" };
  return {
    ...base,
    level: 'warn',
    fact: addon.reason,
    remedy: 'npm run build:native (needs a C++ compiler and make)',
    misses:
      'what the kernel drops of packets (cap cannot tell), changes of nf_tables as they happen',
  };
}

function capCheck({ addon, cap }: ProcessFacts): Check {
  const base = {
    group: 'process',
    check: 'cap',
    how: "require('cap') in a child process",
  } as const;
  if (cap.ok) return { ...base, level: 'ok', fact: 'cap loads' };
  if (addon.ok) {
    return { ...base, level: 'ok', fact: `cap does not load (${cap.reason}); the ring needs none` };
  }
  return {
    ...base,
    level: 'fail',
    fact: `cap does not load either: ${cap.reason}`,
    remedy: 'build the addon, or install libpcap-dev and run npm ci again',
  };
}

function packetCheck(facts: NodeFacts): Check {
  const { process } = facts;
  const { ring, addon, cap } = process;
  const base = { group: 'process', check: 'packets' } as const;
  if (ring !== undefined) {
    const how = 'an AF_PACKET ring, opened and closed';
    if (ring.ok) return { ...base, level: 'ok', fact: 'a packet ring opens', how };
    return {
      ...base,
      level: 'fail',
      fact: `no packet ring can be opened (${ring.reason})`,
      remedy:
        ring.denied === true
          ? AS_ROOT
          : 'the kernel needs CONFIG_PACKET, or memory is short: 16 MiB are locked',
      how,
    };
  }
  const how = 'the addon, cap, /proc/self/status';
  if (packetsBy(facts) === 'cap') {
    return { ...base, level: 'ok', fact: "packets by cap, on libpcap's device any", how };
  }
  const why = addon.ok || cap.ok ? 'CAP_NET_RAW is missing' : 'neither the addon nor cap loads';
  return {
    ...base,
    level: 'fail',
    fact: `packets cannot be captured: ${why}`,
    remedy: cap.ok ? AS_ROOT : 'npm run build:native',
    how,
  };
}

function netlinkCheck(netlink: NonNullable<ProcessFacts['netlink']>): Check {
  const base = {
    group: 'process',
    check: 'conntrack-socket',
    how: 'a netlink socket with the groups of new and deleted entries, opened and closed',
  } as const;
  if (netlink.ok) return { ...base, level: 'ok', fact: "conntrack's events can be heard" };
  return {
    ...base,
    level: 'warn',
    fact: `conntrack's events cannot be heard (${netlink.reason})`,
    remedy: netlink.denied === true ? AS_ROOT : 'load the kernel module nf_conntrack_netlink',
    misses:
      'connections of which packets show no translation: of the node itself, and over a bridge',
  };
}

/** What an event of conntrack takes of a socket's buffer (measured on Linux 6.18). */
export const EVENT_BYTES = 1_280;

function bufferChecks({ process, conntrack }: NodeFacts): Check[] {
  const { buffer } = process;
  if (buffer === undefined) return [];
  const base = {
    group: 'process',
    check: 'receive-buffer',
    how: 'SO_RCVBUFFORCE on that socket',
  } as const;
  const { asked, granted } = buffer;
  const room = Math.floor(granted / EVENT_BYTES);
  const fact = `${mebibytes(granted)} MiB for conntrack's events, room for ${room} that wait`;
  if (granted >= asked) return [{ ...base, level: 'ok', fact }];
  const { rmemMax } = conntrack;
  const now = rmemMax === undefined ? '' : `, now ${rmemMax}`;
  return [
    {
      ...base,
      level: 'warn',
      fact: `${fact} (${mebibytes(asked)} were asked for)`,
      remedy: `CAP_NET_ADMIN of the first user namespace lifts the limit; else raise net.core.rmem_max${now}`,
      misses: 'conntrack events in bursts of connections (each is said as a loss)',
    },
  ];
}

function mebibytes(bytes: number): string {
  const value = bytes / (1 << 20);
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}

function mayCapture({ uid, effective }: ProcessFacts): boolean {
  return effective === undefined ? uid === 0 : effective.includes('NET_RAW');
}

/** What a program that is started may do: everything of root's, else what is ambient (capabilities(7)). */
function reachesPrograms({ uid, effective, ambient }: ProcessFacts): boolean {
  if (effective === undefined) return uid === 0;
  if (!effective.includes('NET_ADMIN')) return false;
  return uid === 0 || ambient?.includes('NET_ADMIN') === true;
}
