import { describe, expect, it } from 'vitest';
import { WorkInOrder } from '../../src/cli/record/work-in-order.js';
import type { Steps } from '../../src/decode/rules/steps.js';

/** Longer than a slice. */
function busy(): void {
  const until = performance.now() + 5;
  while (performance.now() < until);
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Steps of which each takes a slice. */
function* long(name: string, steps: number, into: string[]): Steps<void> {
  for (let n = 0; n < steps; n++) {
    busy();
    into.push(`${name}${n}`);
    yield;
  }
}

function note(into: string[], what: string): undefined {
  into.push(what);
}

describe('work in order', () => {
  it('is done at once where nothing waits', () => {
    const work = new WorkInOrder();
    const done: string[] = [];
    work.add(() => note(done, 'a'));
    expect(done).toEqual(['a']);
    expect(work.isIdle).toBe(true);
  });

  it('is done a slice a turn where it is long, and what comes meanwhile waits', async () => {
    const work = new WorkInOrder();
    const done: string[] = [];
    work.add(() => long('a', 3, done));
    work.add(() => note(done, 'b'));
    work.add(() => long('c', 2, done));
    expect([work.isIdle, done]).toEqual([false, ['a0']]);
    await turn();
    expect(done).toEqual(['a0', 'a1']);
    while (!work.isIdle) await turn();
    expect(done).toEqual(['a0', 'a1', 'a2', 'b', 'c0', 'c1']);
    work.add(() => note(done, 'd'));
    expect(done.at(-1)).toBe('d');
  });

  it('is all done when the end is asked for, and once', async () => {
    const work = new WorkInOrder();
    const done: string[] = [];
    work.add(() => long('a', 3, done));
    work.add(() => note(done, 'b'));
    work.finish();
    const all = ['a0', 'a1', 'a2', 'b'];
    expect(done).toEqual(all);
    await turn();
    expect([work.isIdle, done]).toEqual([true, all]);
  });

  it('is done at once where too much would wait', () => {
    const work = new WorkInOrder();
    const done: string[] = [];
    work.add(() => long('a', 3, done));
    work.add(() => note(done, 'b'), 100 * 1024 * 1024);
    expect(done).toEqual(['a0']);
    work.add(() => note(done, 'c'), 100 * 1024 * 1024);
    expect(done).toEqual(['a0', 'a1', 'a2', 'b', 'c']);
  });

  it('throws out of the next call what it threw in a turn of its own, and does no more', async () => {
    const work = new WorkInOrder();
    const done: string[] = [];
    work.add(() => long('a', 1, done));
    work.add(() => {
      throw new Error('disk full');
    });
    work.add(() => note(done, 'c'));
    await turn();
    await turn();
    expect(() => work.add(() => note(done, 'd'))).toThrow('disk full');
    expect(() => work.finish()).toThrow('disk full');
    expect(done).toEqual(['a0']);
  });
});
