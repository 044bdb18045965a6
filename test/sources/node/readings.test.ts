import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { InputEvent } from '../../../src/model/event.js';
import { NodeReader } from '../../../src/sources/node/readings.js';
import { EventLog } from '../../support/event-log.js';

type Told = Extract<InputEvent, { type: 'readings' }>;

/** Of this machine, which nobody changes meanwhile. */
describe('what is read of a node', () => {
  let moment = 0n;
  let reader: NodeReader;
  let told: EventLog<Told>;
  let stop: () => void;

  beforeEach(() => {
    moment = 0n;
    reader = new NodeReader(() => ++moment);
    told = new EventLog();
    const subscription = reader.events.subscribe((event) => {
      if (event.type !== 'readings') throw new Error(event.type);
      told.push(event);
    });
    stop = () => subscription.unsubscribe();
  });
  afterEach(() => stop());

  it('is told at once, and when it is asked for as far as it is news', async () => {
    await told.until(() => true);
    await reader.read();
    expect(told.all).toHaveLength(2);
    const [first, second] = told.all;
    expect(first?.readings.table).toBeDefined();
    expect(Object.keys(second?.readings ?? {})).toEqual(['table']);
  });

  it('is told in order however many ask', async () => {
    await Promise.all([reader.read(), reader.read(false), reader.read()]);
    const times = told.all.map(({ time }) => time);
    expect(times).toEqual(times.toSorted((a, b) => (a < b ? -1 : 1)));
    expect(times).toHaveLength(4);
    for (const member of ['routes', 'recent', 'kubeProxy'] as const) {
      const tellers = told.all.filter(({ readings }) => readings[member] !== undefined);
      expect(tellers.length).toBeLessThan(2);
    }
  });

  it('is told to nobody who has gone', async () => {
    await told.until(() => true);
    stop();
    await reader.read();
    expect(told.all).toHaveLength(1);
  });
});
