import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { captureFilter } from '../../src/sources/capture/filter.js';
import {
  BARE_CASES,
  BARE_MARKER,
  FILTER_CASES,
  type FilterCase,
  hex,
  MARKER,
} from '../sources/capture/frames.js';
import { type Child, join, type Line, missingForKernelTests, Namespace } from './namespace.js';

const script = (name: string): string =>
  fileURLToPath(new URL(`./scripts/${name}`, import.meta.url));
const missing = missingForKernelTests(['python3']);
const SNAPLEN = 192;
const OUTGOING = 4;
const OTHER_HOST = 3;

/** The first `SNAPLEN` bytes, as the ring gives them. */
const seenAs = (frame: Uint8Array): string => hex(frame.subarray(0, SNAPLEN));

const packets = (child: Child): Line[] => child.lines.filter((line) => line['type'] === 'packet');

/** One row for all that a frame can look like: a tag may have been taken out of it. */
function untagged(frame: Uint8Array): string {
  const text = seenAs(frame);
  return /^.{24}(8100|88a8)/.test(text) ? text.slice(0, 24) + text.slice(32) : text;
}

describe('the ring on this kernel', () => {
  let a: Namespace | undefined;
  let b: Namespace | undefined;
  beforeAll(() => {
    if (missing !== undefined) return;
    a = new Namespace();
    b = new Namespace();
    join(a, b);
  });
  afterAll(async () => {
    await a?.destroy();
    await b?.destroy();
  });

  /** Opens a ring with the real filter in `where`. */
  async function open(where: Namespace, options: Record<string, unknown> = {}): Promise<Child> {
    const filter = [...captureFilter({ snaplen: SNAPLEN })];
    const child = where.start(script('ring.mjs'), [JSON.stringify({ filter, ...options })]);
    await child.line('open');
    return child;
  }

  const seenIt = (bytes: string) => (lines: readonly Line[]) =>
    lines.some((line) => line['bytes'] === bytes);

  /** What should have come of these cases, by name, and what did. */
  function judged(cases: readonly FilterCase[], child: Child, name: string) {
    const came = new Set(
      packets(child)
        .filter((line) => line['name'] === name)
        .map((line) => line['bytes']),
    );
    const passed = (it: FilterCase): boolean =>
      came.has(seenAs(it.frame)) || came.has(untagged(it.frame));
    return {
      expected: cases.filter((it) => it.passes).map((it) => it.name),
      actual: cases.filter(passed).map((it) => it.name),
    };
  }

  test('what comes in passes the filter as by the book', async (context) => {
    if (a === undefined || b === undefined) return context.skip(missing);
    const child = await open(a);
    const frames = [...FILTER_CASES.map((it) => it.frame), MARKER];
    b.run('python3', [script('inject.py'), 'raw', 'wpb'], frames.map(hex).join('\n'));
    await child.until(seenIt(hex(MARKER)));
    await child.finish();
    // The kernel drops a frame that ends within its tags before anyone sees it, so nothing is lost by
    // comparing names; three tags leave one more than the filter reads.
    const { expected, actual } = judged(
      FILTER_CASES.filter((it) => it.name !== 'three VLAN tags'),
      child,
      'wpa',
    );
    expect(actual).toEqual(expected);
    const marker = packets(child).find((line) => line['bytes'] === hex(MARKER));
    expect(marker).toMatchObject({ packetType: OTHER_HOST, hardware: 1, netOffset: 14, vlan: 0 });
  });

  test('what goes out passes the filter as by the book', async (context) => {
    if (b === undefined) return context.skip(missing);
    const child = await open(b);
    const cases = FILTER_CASES.filter((it) => it.frame.length > 14);
    const frames = [...cases.map((it) => it.frame), MARKER];
    b.run('python3', [script('inject.py'), 'raw', 'wpb'], frames.map(hex).join('\n'));
    await child.until(seenIt(hex(MARKER)));
    await child.finish();
    const { expected, actual } = judged(cases, child, 'wpb');
    expect(actual).toEqual(expected);
    const marker = packets(child).find((line) => line['bytes'] === hex(MARKER));
    expect(marker).toMatchObject({ packetType: OUTGOING, hardware: 1, netOffset: 14 });
  });

  test('a device without link headers passes the filter as by the book', async (context) => {
    if (a === undefined) return context.skip(missing);
    const child = await open(a);
    const frames = [...BARE_CASES.map((it) => it.frame), BARE_MARKER];
    a.run('python3', [script('inject.py'), 'tun', 'wptun'], frames.map(hex).join('\n'));
    await child.until(seenIt(hex(BARE_MARKER)));
    await child.finish();
    const marker = packets(child).find((line) => line['bytes'] === hex(BARE_MARKER));
    expect(marker).toMatchObject({ hardware: 0xfffe, protocol: 0x0800, netOffset: 0, vlan: 0 });
    const came = new Set(packets(child).map((line) => line['bytes']));
    expect(BARE_CASES.filter((it) => came.has(seenAs(it.frame))).map((it) => it.name)).toEqual(
      BARE_CASES.filter((it) => it.passes).map((it) => it.name),
    );
  });

  test('the tag that the kernel takes out of a frame is handed over beside it', async (context) => {
    if (a === undefined || b === undefined) return context.skip(missing);
    const child = await open(a);
    const tagged = FILTER_CASES.filter((it) => it.passes && it.name.includes('VLAN tag'));
    const frames = [...tagged.map((it) => it.frame), MARKER];
    b.run('python3', [script('inject.py'), 'raw', 'wpb'], frames.map(hex).join('\n'));
    await child.until(seenIt(hex(MARKER)));
    await child.finish();
    expect(
      tagged.map((it) => {
        const line = packets(child).find((seen) => seen['bytes'] === untagged(it.frame));
        return [it.name, Number(line?.['vlan']).toString(16)];
      }),
    ).toEqual([
      ['TCP SYN with a VLAN tag', '8100202a'],
      ['TCP SYN with two VLAN tags', '88a80007'],
    ]);
  });

  test('times are the kernel’s, in nanoseconds', async (context) => {
    if (a === undefined || b === undefined) return context.skip(missing);
    const child = await open(a);
    b.run('python3', [script('inject.py'), 'raw', 'wpb'], `${hex(MARKER)}\n`.repeat(20));
    await child.until(
      (lines) => lines.filter((line) => line['bytes'] === hex(MARKER)).length === 20,
    );
    await child.finish();
    const markers = packets(child).filter((line) => line['bytes'] === hex(MARKER));
    for (const line of markers) {
      expect(Math.abs(Number(line['now']) - Number(line['time']))).toBeLessThan(1);
    }
    // Twenty times that all end on a whole microsecond would be a clock of microseconds.
    expect(markers.some((line) => Number(line['nsec']) % 1_000 !== 0)).toBe(true);
  });

  test('a frame is cut where the filter says, and its length on the wire kept', async (context) => {
    if (a === undefined || b === undefined) return context.skip(missing);
    const child = await open(a, { filter: [0x06, 20] });
    b.run('python3', [script('inject.py'), 'raw', 'wpb'], hex(MARKER));
    const cut = hex(MARKER.subarray(0, 20));
    await child.until(seenIt(cut));
    await child.finish();
    expect(packets(child).find((line) => line['bytes'] === cut)).toMatchObject({
      captured: 20,
      onWire: MARKER.length,
    });
  });

  test('the filter can be replaced while running', async (context) => {
    if (a === undefined || b === undefined) return context.skip(missing);
    const child = await open(a, { filter: [0x06, 0] });
    b.run('python3', [script('inject.py'), 'raw', 'wpb'], hex(MARKER));
    child.write(`filter 6 ${SNAPLEN}\n`);
    await child.line('filtered');
    const second = hex(MARKER).replace(/.{4}$/, 'beef');
    b.run('python3', [script('inject.py'), 'raw', 'wpb'], second);
    await child.until(seenIt(second));
    await child.finish();
    expect(child.lines.filter(({ bytes }) => bytes === hex(MARKER))).toEqual([]);
  });

  test('no interface becomes promiscuous', async (context) => {
    if (a === undefined) return context.skip(missing);
    const child = await open(a);
    const links = JSON.parse(a.ip('-d -j link show')) as { ifname: string; promiscuity: number }[];
    await child.finish();
    expect(links.map((link) => [link.ifname, link.promiscuity])).toEqual(
      links.map((link) => [link.ifname, 0]),
    );
    expect(links.map((link) => link.ifname)).toContain('wpa');
  });

  test('an interface that appears later is seen at once, and its end does not end the ring', async (context) => {
    if (a === undefined || b === undefined) return context.skip(missing);
    const child = await open(a);
    a.ip(`link add wplate type veth peer name wplatf netns ${b.name}`);
    a.ip('link set wplate up');
    b.ip('link set wplatf up');
    b.run('python3', [script('inject.py'), 'raw', 'wplatf'], hex(MARKER));
    await child.until(seenIt(hex(MARKER)));
    a.ip('link delete wplate');
    const second = hex(MARKER).replace(/.{4}$/, 'beef');
    b.run('python3', [script('inject.py'), 'raw', 'wpb'], second);
    await child.until(seenIt(second));
    expect((await child.finish()).code).toBe(0);
    expect(child.lines.find((line) => line['bytes'] === hex(MARKER))).toMatchObject({
      name: 'wplate',
    });
  });

  test('while JavaScript does not come round, every packet is kept or counted', async (context) => {
    if (a === undefined) return context.skip(missing);
    const child = a.start(script('drops.mjs'));
    const { code, stderr } = await child.finish();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const stats = await child.line('stats');
    expect(Number(stats['drops'])).toBeGreaterThan(0);
    expect(Number(stats['freezes'])).toBeGreaterThan(0);
    expect(Number(stats['seen']) + Number(stats['drops'])).toBe(Number(stats['packets']));
    // What waited when it came round again is the most of what it then saw; the ring had the rest.
    expect(Number(stats['waited'])).toBeGreaterThan(0);
    expect(Number(stats['waited'])).toBeLessThanOrEqual(Number(stats['seen']));
    expect(stats['waits']).toBe(0);
  });
});
