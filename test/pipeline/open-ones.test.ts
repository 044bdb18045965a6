import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Attribution } from '../../src/model/attribution.js';
import { OpenOnes } from '../../src/pipeline/open-ones.js';

const MOST = 4;

function said(connection: string, port: number): Attribution {
  return {
    connection,
    timeSource: 'packet',
    protocol: 'tcp',
    client: { ip: '10.0.0.1', port },
    destination: { ip: '10.96.0.1', port: 80 },
    evidence: [],
    verdict: 'attributed',
    outcome: 'open',
  };
}

test('whatever is said and ends, the latest that are open are there, in the order of their first words', () => {
  const step = fc.record({ id: fc.integer({ min: 0, max: 9 }), ends: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const ones = new OpenOnes(MOST);
      // A Map keeps the order of first setting.
      const plain = new Map<string, Attribution>();
      for (const [i, { id, ends }] of steps.entries()) {
        const connection = `c${id}`;
        if (ends) {
          ones.delete(connection);
          plain.delete(connection);
          continue;
        }
        ones.set(said(connection, i));
        plain.set(connection, said(connection, i));
        if (plain.size > MOST) plain.delete([...plain.keys()][0] ?? '');
      }
      expect(ones.all).toEqual([...plain.values()]);
    }),
  );
});
