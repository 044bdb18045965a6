import { describe, expect, it } from 'vitest';
import { inNodeLab, type NodeLab } from './node-lab.js';
import { Whichpod } from './program.js';

const SHAPE = {
  layout: 'routed',
  ruleBackend: 'iptables-legacy',
  chainNames: 'current',
} as const;
/** The slow timer, after which they would be read in any case, is 30 s. */
const SOON_MS = 15_000;

let node: NodeLab;

inNodeLab(SHAPE, (made) => {
  node = made;
});

describe('live on a node with legacy iptables, of which the kernel tells nothing', () => {
  it('reads the rules again soon after they have changed, without a word from the cluster', async () => {
    const run = new Whichpod(
      ['live', '--objects', node.objects, '-o', 'ndjson'],
      node.lab.enter('node'),
    );
    await run.watching();
    const changed = run.said.until((line) => line['code'] === 'rules-changed');
    const began = performance.now();
    const { code, stderr } = await node.lab.exec('node', [
      'iptables-legacy',
      ...['-t', 'nat', '-A', 'KUBE-SERVICES', '-p', 'tcp', '-d', '10.96.9.9/32'],
      ...['--dport', '80', '-j', 'KUBE-MARK-MASQ'],
    ]);
    expect(code, stderr).toBe(0);
    await changed;
    expect(performance.now() - began).toBeLessThan(SOON_MS);
    run.signal('SIGINT');
    await run.ended;
  }, 60_000);
});
