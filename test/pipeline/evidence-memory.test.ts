import { describe, expect, it } from 'vitest';
import { ClusterState } from '../../src/correlate/cluster-state.js';
import type { Attribution, OutputEvent } from '../../src/model/attribution.js';
import { Interfaces } from '../../src/model/interfaces.js';
import { EvidenceMemory } from '../../src/pipeline/evidence-memory.js';

const OTHER_CLIENT = '10.244.1.8';

function connection(i: number, more: Partial<Attribution> = {}): Attribution {
  return {
    connection: `c${i}`,
    time: BigInt(i),
    timeSource: 'packet',
    protocol: 'tcp',
    client: { ip: '10.244.1.9', port: 40_000 + i },
    destination: { ip: '10.96.0.10', port: 80 },
    service: { namespace: 'shop', name: 'web', via: 'clusterIP' },
    backend: { ip: `10.244.1.${i}`, port: 8080, node: 'node1' },
    evidence: ['packets'],
    verdict: 'attributed',
    outcome: 'established',
    ...more,
  };
}

const told = (attribution: Attribution): OutputEvent => ({ type: 'attribution', attribution });
const closed = (attribution: Attribution): OutputEvent => ({ type: 'close', attribution });

function memoryOf(connections: number, ...events: OutputEvent[]): EvidenceMemory {
  const memory = new EvidenceMemory({
    interfaces: new Interfaces(),
    cluster: new ClusterState(),
    connections,
  });
  memory.hear(events);
  return memory;
}

function remembered(memory: EvidenceMemory): string[] {
  return memory
    .ask({ text: 'all' })
    .inOrder.map(({ attribution: it, closed: over }) => `${it.connection} ${it.outcome} ${over}`);
}

describe('what a live run remembers', () => {
  it('is the last word on each connection, whether it is over or not', () => {
    const reset = connection(1, { outcome: 'reset' });
    const memory = memoryOf(
      3,
      told(connection(1, { outcome: 'open' })),
      told(connection(1)),
      told(connection(2, { outcome: 'open' })),
      told(reset),
      closed(reset),
    );
    expect(remembered(memory)).toEqual(['c1 reset true', 'c2 open false']);
  });

  it('is bounded: so many that are over, and so many that are not', () => {
    const all = [1, 2, 3, 4, 5, 6, 7, 8].map((i) => connection(i));
    const over = all.filter(({ time = 0n }) => time % 2n === 0n);
    const memory = memoryOf(2, ...all.map(told), ...over.map(closed));
    expect(remembered(memory)).toEqual([
      'c6 established true',
      'c7 established false',
      'c8 established true',
    ]);
    memory.hear([9, 10].map((i) => told(connection(i))));
    expect(remembered(memory)).toEqual([
      'c6 established true',
      'c8 established true',
      'c9 established false',
      'c10 established false',
    ]);
  });

  it('holds what the same client asked of the same Service before, the newest first, open ones too', () => {
    const elsewhere = { namespace: 'shop', name: 'api', via: 'clusterIP' } as const;
    const memory = memoryOf(
      9,
      closed(connection(1)),
      closed(connection(2, { service: elsewhere })),
      closed(connection(3, { client: { ip: OTHER_CLIENT, port: 1 } })),
      closed(connection(4, { backend: undefined })),
      told(connection(5)),
      closed(connection(6)),
      closed(connection(8)),
    );
    expect(memory.before(connection(7))).toEqual([
      { connection: 'c6', time: 6n, backend: { ip: '10.244.1.6', port: 8080 } },
      { connection: 'c5', time: 5n, backend: { ip: '10.244.1.5', port: 8080 } },
      { connection: 'c1', time: 1n, backend: { ip: '10.244.1.1', port: 8080 } },
    ]);
    expect(memory.before(connection(7, { time: undefined }))).toEqual([]);
  });
});
