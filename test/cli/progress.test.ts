import { describe, expect, it } from 'vitest';
import { Progress } from '../../src/cli/progress.js';
import { fakeIo } from './fake-io.js';

const MB = 1_000_000;

/** What stands on the line after each look, a tenth of a second apart. */
function lines(terminal: boolean, looks: readonly number[], total: number, packets = 0): string[] {
  let now = 0n;
  const io = fakeIo({ terminal: { stdout: false, stderr: terminal }, now: () => now });
  const progress = new Progress(io);
  progress.packets = packets;
  let before = 0;
  return looks.map((done) => {
    now += 100_000_000n;
    progress.show(done, total);
    const text = io.stderr.text.slice(before).replace('\r\u001b[K', '');
    before = io.stderr.text.length;
    return text;
  });
}

const steady = (count: number, each: number): number[] =>
  Array.from({ length: count }, (_, i) => (i + 1) * each);

describe('progress', () => {
  it('is shown on a terminal alone, and not of short work', () => {
    expect(lines(false, steady(30, MB), 100 * MB).join('')).toBe('');
    const shown = lines(true, steady(30, MB), 100 * MB);
    expect(shown.slice(0, 6).join('')).toBe('');
    expect(shown[6]).toBe('[##............................] 7 %  7 MB');
  });

  it('tells a rate and the time left once there is a second to tell by', () => {
    const shown = lines(true, steady(30, 2 * MB), 100 * MB, 1_234_567);
    expect(shown[15]).toBe('[##########....................] 32 %  32 MB, 1,234,567 packets');
    expect(shown[16]).toBe(
      '[##########....................] 34 %  34 MB, 1,234,567 packets  20 MB/s  4 s left',
    );
  });

  it('goes by the last three seconds, whatever came before', () => {
    const slow = steady(100, 1_000);
    const fast = steady(40, MB).map((done) => done + 100_000);
    expect(lines(true, [...slow, ...fast], 1_000 * MB).at(-1)).toMatch(
      / {2}10 MB\/s {2}1 min 36 s left$/,
    );
  });

  it.each([
    [59 * MB, '59 s left'],
    [125 * MB, '2 min 5 s left'],
    [11_040 * MB, '3 h 4 min left'],
  ])('of %d bytes at 1 MB/s tells %s', (left, text) => {
    const looks = steady(40, MB / 10);
    expect(lines(true, looks, left + (looks.at(-1) ?? 0)).at(-1)).toMatch(new RegExp(`${text}$`));
  });

  it('has no end to tell of where nobody knows how much there is', () => {
    expect(lines(true, steady(20, MB), 0).at(-1)).toBe('20 MB  10 MB/s');
  });
});
