import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { fields, NO_WIRESHARK, replay } from './annotated.js';

const PCAPS = new URL('../../pcaps/', import.meta.url).pathname;
const TUTORIAL = join(PCAPS, 'tutorial');
const folder = mkdtempSync(join(tmpdir(), 'whichpod-kinds-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface End {
  readonly ip: string;
  readonly port: number;
}

interface Closed {
  readonly type: string;
  readonly connection: string;
  readonly protocol: string;
  readonly client: End;
  readonly destination: End;
  readonly source?: End;
  readonly backend?: End;
  readonly claims?: readonly { readonly backend: End }[];
  readonly verdict: string;
  readonly outcome: string;
}

/** The innermost headers: those that an ICMP error quotes, and those within a tunnel. */
const INNERMOST = [
  ...['ip.src', 'ipv6.src', 'ip.dst', 'ipv6.dst'],
  ...['tcp.srcport', 'udp.srcport', 'sctp.srcport', 'tcp.dstport', 'udp.dstport', 'sctp.dstport'],
];

interface Seen {
  readonly number: string;
  readonly comment: string;
  /** Protocol, and both ends in an order of their own. */
  readonly tuple: string;
}

const tuple = (protocol: string, a: End, b: End): string =>
  [protocol, ...[`${a.ip} ${a.port}`, `${b.ip} ${b.port}`].sort()].join(' ');

function seen(path: string, filter: string, ...options: readonly string[]): Seen[] {
  const names = ['frame.number', 'frame.comment', ...INNERMOST];
  const rows = fields(path, filter, names, ['-E', 'occurrence=l', ...options]);
  return rows.map(([number = '', comment = '', src4, src6, dst4, dst6, ...ports]) => {
    const [tcp1, udp1, sctp1, tcp2, udp2, sctp2] = ports;
    // The quoted datagram's own protocol: the outer one of a tunnel is not asked for.
    const protocol = tcp1 ? 'tcp' : sctp1 ? 'sctp' : 'udp';
    const from = { ip: src4 || src6 || '', port: Number(tcp1 || sctp1 || udp1) };
    const to = { ip: dst4 || dst6 || '', port: Number(tcp2 || sctp2 || udp2) };
    return { number, comment, tuple: tuple(protocol, from, to) };
  });
}

const keyOf = (comment: string): string => /^whichpod connection=(\w+) /.exec(comment)?.[1] ?? '';

/** Both sides of each connection's translation, and what is between two of them. */
function sidesOf(closed: readonly Closed[]): Map<string, Set<string>> {
  const sides = new Map<string, Set<string>>();
  for (const { connection, protocol, client, destination, source, backend, claims } of closed) {
    const own = new Set([tuple(protocol, client, destination)]);
    for (const end of [backend, ...(claims ?? []).map((claim) => claim.backend)]) {
      if (end === undefined) continue;
      own.add(tuple(protocol, source ?? client, end));
      own.add(tuple(protocol, client, end));
    }
    sides.set(connection, own);
  }
  return sides;
}

/** The tutorial, but conntrack's first entry names another Pod than the packets show. */
function contradicted(): string[] {
  const events = readFileSync(join(TUTORIAL, 'conntrack-events.txt'), 'utf8')
    .split('\n')
    .map((line) =>
      line.includes('=59710') ? line.replace('src=10.32.0.5', 'src=10.32.0.4') : line,
    )
    .join('\n');
  const path = join(folder, 'conntrack-events.txt');
  writeFileSync(path, events);
  const rest = ['api', 'capture.pcapng', 'iptables-save.txt', 'net'];
  return [path, ...rest.map((name) => join(TUTORIAL, name))];
}

const scene = (name: string) => (): string[] => [join(PCAPS, name)];
const SYN = 'tcp.flags.syn == 1';

interface Kind {
  readonly inputs: () => string[];
  /** Packets that open connections or answer: each of a connection that is known has its comment. */
  readonly filter: string;
  /** Of them only the first few are commented. */
  readonly some?: true;
  readonly options?: readonly string[];
  /** What connections with such packets came to. */
  readonly came: readonly string[];
}

const KINDS: readonly (readonly [string, Kind])[] = [
  [
    'datagrams',
    {
      inputs: scene('1.36-nftables/02-udp-dns'),
      filter: 'udp && !icmp',
      some: true,
      came: [
        'attributed established',
        'attributed open',
        'attributed refused',
        'attributed unanswered',
      ],
    },
  ],
  [
    'what ICMP says of datagrams',
    {
      inputs: scene('1.36-nftables/02-udp-dns'),
      filter: 'icmp.type == 3 && udp',
      came: ['attributed established', 'attributed refused'],
    },
  ],
  [
    'SCTP',
    {
      inputs: scene('1.30-iptables-nft/10b-sctp'),
      filter: 'sctp.chunk_type in {1,2}',
      came: ['attributed established'],
    },
  ],
  [
    'IPv6',
    {
      inputs: scene('1.36-nftables/07-dual-stack'),
      filter: `ipv6 && ${SYN} && !icmpv6`,
      came: ['attributed established'],
    },
  ],
  [
    'copies within a tunnel',
    {
      inputs: scene('1.36-iptables-nft-vxlan/24-vxlan'),
      filter: `vxlan && ${SYN}`,
      options: ['-d', 'udp.port==8472,vxlan'],
      came: ['attributed established'],
    },
  ],
  [
    'what is refused and rejected',
    {
      inputs: scene('1.30-iptables-nft/05-no-endpoints'),
      filter: `${SYN} || icmp.type == 3`,
      came: [
        'attributed refused',
        'unattributed open',
        'unattributed rejected',
        'unattributed unanswered',
      ],
    },
  ],
  [
    'a conflict',
    { inputs: contradicted, filter: SYN, came: ['attributed established', 'conflict established'] },
  ],
];

describe.skipIf(NO_WIRESHARK)('comments on', () => {
  it.each(KINDS)('%s: on both sides, findable by the key', async (name, kind) => {
    const path = join(folder, `${name}.pcapng`);
    const { code, stdout } = await replay(...kind.inputs(), '-w', path);
    expect(code).toBe(0);
    const closed = stdout
      .split('\n')
      .filter((line) => line.includes('"type":"close"'))
      .map((line): Closed => JSON.parse(line));
    const sides = sidesOf(closed);
    const known = new Set([...sides.values()].flatMap((own) => [...own]));
    const packets = seen(path, kind.filter, ...(kind.options ?? []));
    const commented = packets.filter(({ comment }) => comment !== '');
    // Each comment is that of a connection between these ends.
    const wrong = commented.filter(
      ({ comment, tuple }) => sides.get(keyOf(comment))?.has(tuple) !== true,
    );
    expect(wrong).toEqual([]);
    if (kind.some !== true) {
      const lacking = packets.filter(({ comment, tuple }) => comment === '' && known.has(tuple));
      expect(lacking).toEqual([]);
    }
    // Each side that is seen at all.
    const bySide = new Set(commented.map((it) => `${keyOf(it.comment)} ${it.tuple}`));
    const told = new Set(commented.map(({ comment }) => keyOf(comment)));
    const visible = new Set(packets.map((it) => it.tuple));
    for (const key of told) {
      for (const side of sides.get(key) ?? []) {
        if (visible.has(side)) expect(bySide, `${key} ${side}`).toContain(`${key} ${side}`);
      }
    }
    const came = closed
      .filter(({ connection }) => told.has(connection))
      .map(({ verdict, outcome }) => `${verdict} ${outcome}`);
    expect([...new Set(came)].sort()).toEqual(kind.came);
    // The documented filter.
    const [key = ''] = told;
    const found = seen(
      path,
      `(${kind.filter}) && frame.comment contains "connection=${key}"`,
      ...(kind.options ?? []),
    );
    expect(found).toEqual(commented.filter(({ comment }) => keyOf(comment) === key));
    expect(found.length).toBeGreaterThan(0);
    const disputed = commented.filter(({ comment }) => comment.includes(' verdict=conflict '));
    for (const { comment } of disputed) {
      expect(comment).toMatch(/ conntrack-says=\S+\(10\.32\.0\.4:80\)( |$)/);
      expect(comment).toMatch(/ packets-says=\S+\(10\.32\.0\.5:80\)( |$)/);
    }
    expect(disputed.length > 0).toBe(kind.came.includes('conflict established'));
  });
});
