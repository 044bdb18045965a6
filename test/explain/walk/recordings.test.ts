import { describe, expect, it } from 'vitest';
import { NONE, ONE, plus, rest, times, toNumber } from '../../../src/model/share.js';
import type { Distribution, WalkEnding } from '../../../src/model/walk.js';
import { filesOf, type Line, replay } from '../../replay/scenario.js';
import { Recording } from './recordings.js';

/** Folder of pcaps/ and how many requests there were answered. */
const SCENARIOS: readonly (readonly [string, number])[] = [
  ['tutorial', 12],
  ['1.30-iptables-legacy/01-seed', 400],
  ['1.30-iptables-legacy/02-udp-dns', 320],
  ['1.30-iptables-nft-ptp/01-seed', 400],
  ['1.30-iptables-nft-ptp/06-hairpin-and-host', 240],
  ['1.30-iptables-nft/01-seed', 400],
  ['1.30-iptables-nft/01b-seed-keepalive', 50],
  ['1.30-iptables-nft/01c-seed-acct-timestamp', 60],
  ['1.30-iptables-nft/01d-seed-zone-mark', 40],
  ['1.30-iptables-nft/02-udp-dns', 320],
  ['1.30-iptables-nft/03-session-affinity', 140],
  ['1.30-iptables-nft/04-nodeport-lb-external', 295],
  ['1.30-iptables-nft/04b-internal-local-hints', 100],
  ['1.30-iptables-nft/05b-endpoint-dies', 489],
  ['1.30-iptables-nft/06-hairpin-and-host', 240],
  ['1.30-iptables-nft/06b-masquerade-all', 110],
  ['1.30-iptables-nft/06c-no-cluster-cidr', 99],
  ['1.30-iptables-nft/07-dual-stack', 210],
  ['1.30-iptables-nft/08-rolling-update', 469],
  ['1.30-iptables-nft/10-multi-port', 210],
  ['1.30-iptables-nft/10b-sctp', 8],
  ['1.30-iptables-nft/11-snat-collisions', 30],
  ['1.30-iptables-nft/12-source-port-reuse', 90],
  ['1.30-iptables-nft/13-not-promiscuous', 200],
  ['1.36-iptables-nft-vxlan/24-vxlan', 340],
  ['1.36-iptables-nft/25-hostport', 140],
  ['1.30-nftables/01-seed', 400],
  ['1.30-nftables/03-session-affinity', 140],
  ['1.36-nftables/01-seed', 400],
  ['1.36-nftables/02-udp-dns', 320],
  ['1.36-nftables/03-session-affinity', 140],
  ['1.36-nftables/04-nodeport-lb-external', 290],
  ['1.36-nftables/07-dual-stack', 210],
];

/** Rules, conntrack and cluster: what names chains and probabilities. */
const INPUTS = [
  /(?:tables-save|nft-ruleset)[^/]*$/,
  /^conntrack-events[.](?:txt|xml)/,
  /^api\//,
  /^net\//,
];

describe.each(SCENARIOS)('in %s', (name, answered) => {
  const recording = new Recording(name);

  it('every answered request went a way that its walk has', () => {
    const { served } = recording;
    expect(served).toHaveLength(answered);
    const faults = served.flatMap((row) => {
      const { proto, src, dst, dport, t0, pod, podIP, podPort, seenSrc } = row;
      const ips = podIP === undefined ? recording.ipsOf(pod) : [podIP];
      const walks = recording.walks(proto, src, dst, dport);
      const ends = walks
        .flatMap(({ endings }) => endings)
        .filter(
          ({ kind, ip, port }) =>
            kind === 'endpoint' &&
            ip !== undefined &&
            ips.includes(ip) &&
            (podPort === undefined || port === podPort),
        );
      const hides =
        seenSrc === undefined ||
        recording.addresses.has(src) ||
        ends.some(({ masquerade }) => masquerade === (seenSrc === src ? 'no' : 'yes'));
      if (ends.length > 0 && hides) return [];
      return [
        `${proto} ${src} -> ${dst}:${dport} at ${t0}: ${pod} ${ips.join()}:${podPort} saw ${seenSrc}, the walk has ${say(walks)}`,
      ];
    });
    expect(first(faults)).toEqual([]);
  });

  it('chances multiply to shares, shares add up, and both are what connections were told to have', async () => {
    const { lines } = await replay(filesOf(name, INPUTS));
    const told = lines.filter((line) => line.verdict === 'attributed' && line.rules !== undefined);
    expect(told.length).toBeGreaterThan(0);
    const faults = told.flatMap((line) => faultsOf(line, recording));
    expect(first(faults)).toEqual([]);
  });
});

/** A few of them: each says enough. */
function first(faults: readonly string[]): string[] {
  return [...new Set(faults)].slice(0, 5);
}

interface ToldRules {
  readonly path?: readonly string[];
  readonly probability?: number;
  readonly affinity?: boolean;
}

function faultsOf(line: Line, recording: Recording): string[] {
  const { protocol = '', client, destination, backend } = line;
  const walks = recording.walks(
    protocol,
    client?.ip ?? '',
    destination?.ip ?? '',
    destination?.port ?? 0,
  );
  const faults = walks.flatMap((walk) => [...chancesOf(walk), ...sumsOf(walk)]);
  const { path, probability, affinity = false }: ToldRules = line.rules ?? {};
  const same = walks
    .flatMap(({ endings }) => endings)
    .filter(
      (ending) =>
        ending.ip === backend?.ip &&
        ending.port === backend?.port &&
        ending.path.join(' ') === path?.join(' ') &&
        ending.affinity === affinity,
    );
  const isAlike = same.some(
    ({ share }) => probability === undefined || Math.abs(toNumber(share) - probability) < 1e-10,
  );
  if (!isAlike) {
    faults.push(
      `${client?.ip} -> ${destination?.ip}:${destination?.port} to ${backend?.ip}:${backend?.port} by ${path?.join(' ')} with ${probability}${affinity ? ' by affinity' : ''}: the walk has ${say(walks)}`,
    );
  }
  return faults;
}

function chancesOf({ endings }: Distribution): string[] {
  return endings.flatMap(({ steps, share }) => {
    const product = steps.reduce(
      (so, { chance, effects }) =>
        chance ? times(so, effects.length > 0 ? chance : rest(chance)) : so,
      ONE,
    );
    return product.parts === share.parts && product.bits === share.bits
      ? []
      : [`an ending has ${toNumber(share)}, its steps ${toNumber(product)}`];
  });
}

/** Endings that assume nothing that excludes another add up to 1: here what the first one assumes, and so on. */
function sumsOf({ endings }: Distribution): string[] {
  const bySame = new Map<string, typeof ONE>();
  for (const { assuming, share } of endings) {
    const key = assuming.join('\n');
    bySame.set(key, plus(bySame.get(key) ?? NONE, share));
  }
  return [...bySame.values()].every((sum) => toNumber(sum) === 1) ? [] : ['shares do not add up'];
}

function say(walks: readonly Distribution[]): string {
  const one = ({ kind, ip, port, share, path, masquerade, assuming }: WalkEnding): string =>
    `${kind} ${ip}:${port} ${toNumber(share)} masquerade ${masquerade} by ${path.join(' ')} assuming ${assuming.length}`;
  return walks.map(({ endings }) => endings.map(one).join('; ')).join(' | ');
}
