import { expect, it } from 'vitest';
import type { OutputEvent } from '../../src/model/attribution.js';
import { Rehearsal } from '../../src/pipeline/rehearsal.js';

const CONNECTIONS = 600;

it('plays whole connections: each is attributed with all evidence, answered, and ends', () => {
  const rehearsal = new Rehearsal(true);
  const said: OutputEvent[] = [];
  for (let i = 0; i < CONNECTIONS; i++) said.push(...rehearsal.play());
  const attributed = said.filter((event) => event.type === 'attribution');
  expect(new Set(attributed.map((event) => event.attribution.connection)).size).toBe(CONNECTIONS);
  const closed = said.filter((event) => event.type === 'close');
  // The last ones linger.
  expect(closed.length).toBeGreaterThan(CONNECTIONS / 4);
  for (const { attribution } of closed) {
    expect(attribution).toMatchObject({
      verdict: 'attributed',
      outcome: 'established',
      evidence: ['conntrack', 'packets', 'rules', 'cluster'],
    });
  }
  expect(said.filter((event) => event.type === 'loss' || event.type === 'notice')).toEqual([]);
});

it('says nothing of single connections where the run would not', () => {
  const rehearsal = new Rehearsal(false);
  for (let i = 0; i < CONNECTIONS; i++) expect(rehearsal.play()).toEqual([]);
});
