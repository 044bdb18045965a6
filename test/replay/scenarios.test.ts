import { describe, expect, it } from 'vitest';
import { filesOf, replay, score } from './scenario.js';

/** Folders of pcaps/ with the number of requests that were served in each, so that no truth goes missing. */
const SCENARIOS: readonly (readonly [scenario: string, served: number])[] = [
  ['1.30-iptables-nft/01-seed', 400],
  ['1.30-iptables-nft/01b-seed-keepalive', 50],
  ['1.30-iptables-nft/01c-seed-acct-timestamp', 60],
  ['1.30-iptables-nft/01d-seed-zone-mark', 40],
  ['1.30-iptables-nft/02-udp-dns', 320],
  ['1.30-iptables-nft/03-session-affinity', 140],
  ['1.30-iptables-nft/10-multi-port', 210],
  ['1.30-iptables-nft/12-source-port-reuse', 90],
  ['1.30-iptables-nft-ptp/01-seed', 400],
  ['1.30-iptables-legacy/01-seed', 400],
];

const RULES_AND_API = [/tables-save/, /^api\//, /^net\//];

/** Which of a scenario's files are given. */
const GIVEN = {
  everything: [/^multi\.pcapng/, /conntrack-events\.txt/, /conntrack6?\.xml/, ...RULES_AND_API],
  'everything, events as XML': [
    /^multi\.pcapng/,
    /conntrack-events\.xml/,
    /conntrack6?\.xml/,
    ...RULES_AND_API,
  ],
  'packets without conntrack': [
    /^client\.pcap/,
    /^eth0\.pcap/,
    /^pods\/.*\.pcap/,
    ...RULES_AND_API,
  ],
  'conntrack without packets': [/conntrack-events\.txt/, /conntrack6?\.xml/, ...RULES_AND_API],
} as const;

describe.each(SCENARIOS)('%s', (scenario, served) => {
  it.each(Object.entries(GIVEN))('is told as it was from %s', async (name, patterns) => {
    const packets = name !== 'conntrack without packets';
    const { code, lines } = await replay(filesOf(scenario, patterns));
    expect(code).toBe(0);
    const result = score(scenario, lines, packets);
    expect(result.complaints).toEqual([]);
    expect(result.served).toBe(served);
  });

  it('is told as it was from its whole folder', async () => {
    const { code, lines } = await replay(filesOf(scenario, [/./]));
    expect(code).toBe(0);
    expect(score(scenario, lines, true).complaints).toEqual([]);
  });

  it('is never told wrongly from the capture that lost packets', async () => {
    const { lines } = await replay(filesOf(scenario, [/^any\.pcap/, ...RULES_AND_API]));
    expect(score(scenario, lines, false).wrongPod).toBe(0);
  });

  it('is never told wrongly from conntrack events with times of whole seconds', async () => {
    const { code, lines } = await replay(
      filesOf(scenario, [/conntrack-events\.xml/, /conntrack6?\.xml/, ...RULES_AND_API]),
    );
    expect(code).toBe(0);
    expect(score(scenario, lines, false).wrongPod).toBe(0);
    const unplaced = lines.filter((l) => l.type === 'close' && l.reason === 'time-too-coarse');
    const notices = lines.filter((l) => l.code === 'reused-within-time-resolution');
    expect(notices.length > 0).toBe(unplaced.length > 0);
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
