import { describe, expect, it } from 'vitest';
import { IptablesSaveReader } from '../../../src/decode/rules/iptables-save.js';
import { exploreWalk } from '../../../src/explain/walk/explore.js';
import { type Box, graphOf } from '../../../src/sinks/explain/graph.js';

const SEPS = ['KUBE-SEP-A', 'KUBE-SEP-B'];
const CHANCE = '-A PREROUTING -m statistic --mode random --probability 0.5 -j KUBE-SEP-A';

/** What the boxes at the end of each way say: endpoints, and what is refused. */
function ends(rules: readonly string[], forward: 'ACCEPT' | 'DROP'): string[] {
  const text = [
    '*nat',
    ':PREROUTING ACCEPT',
    ...SEPS.map((name) => `:${name} -`),
    ...rules,
    ...SEPS.map((name, i) => `-A ${name} -j DNAT --to-destination 10.244.1.${i + 4}`),
    'COMMIT',
    '*filter',
    `:FORWARD ${forward}`,
    'COMMIT',
    '',
  ].join('\n');
  const reader = new IptablesSaveReader();
  reader.feed(new TextEncoder().encode(text));
  reader.end();
  const possible = exploreWalk(
    reader.dumps,
    {
      protocol: 6,
      source: '10.244.1.9',
      destination: '10.96.0.1',
      port: 80,
      from: { kind: 'interface' },
    },
    { addresses: new Set() },
  );
  const found: string[] = [];
  const look = (box: Box): void => {
    if (box.kind !== 'chain') found.push(`${box.title} ${box.about}`);
    for (const row of box.rows) row.to.forEach(look);
  };
  for (const { boxes } of graphOf({ possible, knownBy: [] }).lanes) boxes.forEach(look);
  return found;
}

describe('a box at the end of a way', () => {
  it('tells the share of all ways that end there', () => {
    expect(ends([CHANCE, '-A PREROUTING -j KUBE-SEP-B'], 'DROP')).toEqual([
      '10.244.1.4:80 50%',
      '10.244.1.5:80 50%',
      'dropped 100%',
    ]);
  });

  it('tells of an endpoint chosen by chance another share than of the same by affinity', () => {
    const remembers = SEPS.map(
      (name) => `-A PREROUTING -m recent --rcheck --seconds 60 --name ${name} --rsource -j ${name}`,
    );
    const all = ends([...remembers, CHANCE, '-A PREROUTING -j KUBE-SEP-B'], 'ACCEPT');
    expect(all).toEqual([
      '10.244.1.4:80 100%',
      '10.244.1.5:80 100%',
      '10.244.1.4:80 50%',
      '10.244.1.5:80 50%',
    ]);
  });

  it('tells each share that it has, where it depends on what is assumed', () => {
    const some =
      '-A PREROUTING -m set --match-set some src -m statistic --mode random --probability 0.5 -j DROP';
    expect(ends([some, CHANCE, '-A PREROUTING -j KUBE-SEP-B'], 'ACCEPT')).toContain(
      '10.244.1.4:80 25% or 50%',
    );
  });
});
