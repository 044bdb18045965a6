import { describe, expect, test } from 'vitest';
import { captureFilter } from '../../../src/sources/capture/filter.js';
import { runBpf } from './bpf-machine.js';
import { BARE_CASES, FILTER_CASES } from './frames.js';

const SNAPLEN = 100;
const ETHER = 1;
const LOOPBACK = 772;
const NONE = 0xfffe;
const program = captureFilter({ snaplen: SNAPLEN });

const ethernet = (frame: Uint8Array) => ({
  frame,
  network: 14,
  protocol: ((frame[12] ?? 0) << 8) | (frame[13] ?? 0),
  hardware: ETHER,
  packetType: 0,
});

const bare = (frame: Uint8Array) => ({
  frame,
  network: 0,
  protocol: (frame[0] ?? 0) >> 4 === 4 ? 0x0800 : 0x86dd,
  hardware: NONE,
  packetType: 0,
});

describe('the filter, by the book', () => {
  test.each(FILTER_CASES)('Ethernet: $name', ({ frame, passes }) => {
    expect(runBpf(program, ethernet(frame))).toBe(passes ? SNAPLEN : 0);
  });

  test.each(BARE_CASES)('without a link header: $name', ({ frame, passes }) => {
    expect(runBpf(program, bare(frame))).toBe(passes ? SNAPLEN : 0);
  });

  test.each([
    ['comes in through lo', 0, SNAPLEN],
    ['leaves through lo', 4, 0],
  ])('a packet that %s', (_, packetType, kept) => {
    const frame = FILTER_CASES[0]?.frame ?? new Uint8Array();
    expect(runBpf(program, { ...ethernet(frame), hardware: LOOPBACK, packetType })).toBe(kept);
  });

  test('tunnels pass when they are asked for', () => {
    const asked = captureFilter({ snaplen: SNAPLEN, tunnels: true });
    const tunnels = FILTER_CASES.filter(({ name }) => /VXLAN|flannel|Geneve/.test(name));
    expect(tunnels.map(({ frame }) => runBpf(asked, ethernet(frame)))).toEqual(
      tunnels.map(() => SNAPLEN),
    );
  });

  test('every frame cut at every length is judged without an error', () => {
    for (const { frame } of FILTER_CASES) {
      for (let length = 0; length <= frame.length; length++) {
        expect([0, SNAPLEN]).toContain(runBpf(program, ethernet(frame.subarray(0, length))));
      }
    }
  });
});
