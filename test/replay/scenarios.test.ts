import { describe, expect, it } from 'vitest';
import { type Fault, filesOf, type Request, replay, type Score, score } from './scenario.js';

interface Scenario {
  /** Requests that were answered, so that no truth goes missing. */
  readonly served: number;
  /** What captures of single interfaces cannot show, with the reason (see `whyNot`). */
  readonly unseen?: Readonly<Record<string, number>>;
  /** The same of multi.pcapng, where it differs. */
  readonly unseenByMulti?: Readonly<Record<string, number>>;
  /** multi.pcapng ends here (seconds since 1970): dumpcap gave up when an interface went with its Pod. */
  readonly multiEnds?: number;
  /** The rules counted other numbers than were told, for a reason that the notice gives. */
  readonly countersDiffer?: RegExp;
}

/** Folders of pcaps/. */
const SCENARIOS: Readonly<Record<string, Scenario>> = {
  '1.30-iptables-nft/01-seed': { served: 400 },
  '1.30-iptables-nft/01b-seed-keepalive': { served: 50 },
  '1.30-iptables-nft/01c-seed-acct-timestamp': { served: 60 },
  '1.30-iptables-nft/01d-seed-zone-mark': { served: 40 },
  '1.30-iptables-nft/02-udp-dns': { served: 320 },
  '1.30-iptables-nft/03-session-affinity': { served: 140 },
  '1.30-iptables-nft/04-nodeport-lb-external': {
    served: 295,
    unseen: { 'missing: the node is the client': 25 },
  },
  '1.30-iptables-nft/04b-internal-local-hints': {
    served: 100,
    countersDiffer:
      /1 of 4 endpoints differ: .* counted 28, told 27; .* their opening was sent again$/,
  },
  '1.30-iptables-nft/05-no-endpoints': { served: 0 },
  '1.30-iptables-nft/05b-endpoint-dies': {
    served: 489,
    multiEnds: 1795378551.81,
    countersDiffer: /counters were set to 0/,
  },
  '1.30-iptables-nft/06-hairpin-and-host': {
    served: 240,
    unseen: {
      'missing: the node is the client': 100,
      'missing: its interface was not captured': 39,
    },
    unseenByMulti: { 'missing: the node is the client': 100 },
  },
  '1.30-iptables-nft/06b-masquerade-all': {
    served: 110,
    unseen: { 'missing: the node is the client': 30 },
  },
  '1.30-iptables-nft/06c-no-cluster-cidr': {
    served: 99,
    unseen: { 'missing: the node is the client': 30 },
  },
  '1.30-iptables-nft/07-dual-stack': {
    served: 210,
    unseen: { 'missing: the node is the client': 20 },
  },
  '1.30-iptables-nft/08-rolling-update': {
    served: 469,
    multiEnds: 1795377428.9,
    countersDiffer: /counters were set to 0/,
  },
  '1.30-iptables-nft/10-multi-port': { served: 210 },
  '1.30-iptables-nft/10b-sctp': { served: 8 },
  '1.30-iptables-nft/11-snat-collisions': { served: 30 },
  '1.30-iptables-nft/12-source-port-reuse': { served: 90 },
  '1.30-iptables-nft/13-not-promiscuous': { served: 200 },
  '1.30-iptables-nft-ptp/01-seed': { served: 400 },
  '1.30-iptables-nft-ptp/06-hairpin-and-host': {
    served: 240,
    unseen: {
      'missing: the node is the client': 100,
      'missing: its interface was not captured': 60,
      'unattributed (no-evidence): the endpoint is a socket of the node': 23,
    },
    unseenByMulti: {
      'missing: the node is the client': 100,
      'unattributed (no-evidence): the endpoint is a socket of the node': 23,
    },
  },
  '1.30-iptables-legacy/01-seed': { served: 400 },
  '1.30-iptables-legacy/02-udp-dns': { served: 320 },
  '1.30-nftables/01-seed': { served: 400 },
  '1.30-nftables/03-session-affinity': { served: 140 },
  '1.36-nftables/01-seed': { served: 400 },
  '1.36-nftables/02-udp-dns': { served: 320 },
  '1.36-nftables/03-session-affinity': { served: 140 },
  '1.36-nftables/04-nodeport-lb-external': {
    served: 290,
    unseen: { 'missing: the node is the client': 20 },
  },
  '1.36-nftables/05-no-endpoints': { served: 0 },
  '1.36-nftables/07-dual-stack': {
    served: 210,
    unseen: { 'missing: the node is the client': 20 },
  },
  '1.36-iptables-nft-vxlan/24-vxlan': {
    served: 340,
    unseen: { 'missing: the node is the client': 20 },
  },
  '1.36-iptables-nft/25-hostport': {
    served: 140,
    unseen: { 'missing: the node is the client': 20 },
  },
};

/** The node on which everything was recorded. */
const NODE = '192.168.77.11';

/** Why packets without conntrack cannot show a request (docs/attribution.md, "What packets cannot show"). */
function whyNot({ from, podIP }: Request): string {
  if (from?.startsWith('node1') === true) return 'the node is the client';
  if (from === 'one-of-endpoints') return 'its interface was not captured';
  if (podIP === NODE) return 'the endpoint is a socket of the node';
  return 'no reason is known';
}

function counted(
  faults: readonly Fault[],
  by: (request: Request) => string,
): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { what, request } of faults) {
    const name = `${what}: ${by(request)}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

/** What may be told of a request that evidence does not show: nothing, or that it is not known. */
const HONEST = /^(missing|unattributed \((no-evidence|lost|time-too-coarse)\))$/;

const wrong = ({ faults }: Score): string[] =>
  faults.map(({ what }) => what).filter((what) => !HONEST.test(what));

const RULES_AND_API = [/tables-save/, /^nft-ruleset/, /^api\//, /^net\//];
const LISTINGS = [/^conntrack6?\.xml/];
const EVENTS = [/^conntrack-events\.txt/, ...LISTINGS];
const COARSE_EVENTS = [/^conntrack-events\.xml/, ...LISTINGS];
const SINGLE = [/^(client|eth0|bridge|flannel\.1)\.pcap/, /^pods\/.*\.pcap/];
const MULTI = [/^multi\.pcapng/];
const ANY = [/^any\.pcap/];

describe.each(Object.entries(SCENARIOS))('%s', (scenario, { served, unseen = {}, ...of }) => {
  const has = (patterns: readonly RegExp[]): boolean => filesOf(scenario, patterns).length > 0;
  const { unseenByMulti = unseen, multiEnds, countersDiffer = /as many as were told/ } = of;
  const isWhole = has(MULTI) && multiEnds === undefined;
  const replayed = async (...patterns: readonly RegExp[]) => {
    const { code, lines } = await replay(filesOf(scenario, patterns));
    expect(code).toBe(0);
    return lines;
  };

  it('is told as it was from everything', async () => {
    const lines = await replayed(...(isWhole ? MULTI : SINGLE), ...EVENTS, ...RULES_AND_API);
    const result = score(scenario, lines, true);
    expect(result.complaints).toEqual([]);
    expect(result.served).toBe(served);
    for (const { code, detail } of lines) {
      if (code === 'rule-counters') expect(detail).toMatch(countersDiffer);
    }
  });

  it('is told as it was from everything, events as XML', async () => {
    const lines = await replayed(...SINGLE, ...COARSE_EVENTS, ...RULES_AND_API);
    expect(score(scenario, lines, true).complaints).toEqual([]);
  });

  it('is told as it was from its whole folder', async () => {
    expect(score(scenario, await replayed(/./), true).complaints).toEqual([]);
  });

  it('is told as it was from conntrack without packets', async () => {
    const lines = await replayed(...EVENTS, ...RULES_AND_API);
    expect(score(scenario, lines, false).complaints).toEqual([]);
  });

  it('is told from packets without conntrack as far as they show it, and no further', async () => {
    const result = score(scenario, await replayed(...SINGLE, ...RULES_AND_API), true);
    expect(counted(result.faults, whyNot)).toEqual(unseen);
    expect(result.balances).toBe(true);
  });

  if (has(MULTI)) {
    it('is told likewise from one capture of several interfaces', async () => {
      const lines = await replayed(...MULTI, ...RULES_AND_API);
      const result = score(scenario, lines, true, multiEnds);
      expect(counted(result.faults, whyNot)).toEqual(unseenByMulti);
      expect(result.balances).toBe(true);
    });
  }

  if (has(ANY)) {
    it('is never told wrongly from the capture that lost packets', async () => {
      expect(wrong(score(scenario, await replayed(...ANY, ...RULES_AND_API), false))).toEqual([]);
    });
  }

  it('is never told wrongly from conntrack events with times of whole seconds', async () => {
    const lines = await replayed(...COARSE_EVENTS, ...RULES_AND_API);
    expect(wrong(score(scenario, lines, false))).toEqual([]);
    const unplaced = lines.filter((l) => l.type === 'close' && l.reason === 'time-too-coarse');
    const notices = lines.filter((l) => l.code === 'reused-within-time-resolution');
    expect(notices.length > 0).toBe(unplaced.length > 0);
  });
});

describe('where the bridge and the interfaces of Pods that came later are not captured', () => {
  it.each<[scenario: string, unseen: Readonly<Record<string, number>>]>([
    [
      '1.30-iptables-nft/05b-endpoint-dies',
      { 'unattributed (no-evidence): dying-7878888b5-rcd6c': 75 },
    ],
    [
      '1.30-iptables-nft/08-rolling-update',
      {
        'unattributed (no-evidence): roll-56c5776898-vvgsd': 82,
        'unattributed (no-evidence): roll-56c5776898-w248l': 79,
      },
    ],
  ])('their connections in %s are not guessed', async (scenario, unseen) => {
    const given = [/^(client|eth0)\.pcap/, /^pods\//, ...RULES_AND_API];
    const { lines } = await replay(filesOf(scenario, given));
    const { faults } = score(scenario, lines, true);
    expect(counted(faults, ({ pod = '' }) => pod)).toEqual(unseen);
  });
});

describe('determinism', () => {
  const scenario = '1.30-iptables-nft/12-source-port-reuse';
  const all = (): string[] => filesOf(scenario, [/^(?!.*truth)/]);

  it('the same inputs give byte-identical output', async () => {
    const first = await replay(all());
    expect((await replay(all())).stdout).toBe(first.stdout);
  });

  it('the order in which inputs are named does not matter', async () => {
    const first = await replay(all());
    expect((await replay(all().reverse())).stdout).toBe(first.stdout);
    const rotated = [...all().slice(7), ...all().slice(0, 7)];
    expect((await replay(rotated)).stdout).toBe(first.stdout);
  });

  it.each([/^multi/, /^client/, /^eth0/, /^any/])(
    'adding the capture %s twice changes nothing but the packet counts',
    async (pattern) => {
      const once = await replay(all());
      const twice = await replay([...all(), ...filesOf(scenario, [pattern])]);
      const counts = /"packets":\{"seen":\d+/;
      expect(twice.stdout.replace(counts, '')).toBe(once.stdout.replace(counts, ''));
      expect(twice.stdout).not.toBe(once.stdout);
    },
  );

  it.each([/events\.txt/, /events\.xml/, /conntrack\.xml/, /tables-save/, /^api/])(
    'naming %s twice changes nothing',
    async (pattern) => {
      const once = await replay(all());
      const twice = await replay([...all(), ...filesOf(scenario, [pattern])]);
      expect(twice.stdout).toBe(once.stdout);
    },
  );
});
