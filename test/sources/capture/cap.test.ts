import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { InputEvent } from '../../../src/model/event.js';
import { P_DIRECTION, P_DPORT, P_NSEC, P_SEC } from '../../../src/model/packet.js';
import { captureCap } from '../../../src/sources/capture/cap.js';
import { type Child, missingForKernelTests, Namespace } from '../../native/namespace.js';
import { BARE_MARKER } from './frames.js';

const folder = mkdtempSync(join(tmpdir(), 'whichpod-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** LINUX_SLL: to another host, ARPHRD_ETHER, six bytes of address, IPv4. */
const SLL = [0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0];
const FRAME = JSON.stringify([...SLL, ...BARE_MARKER]);

let scripts = 0;

/** A child by hand: `body` may use `run` (which start this is, from 1), `say`, `frames` and `heard`. */
function childScript(body: string): string {
  const file = join(folder, `child-${++scripts}.mjs`);
  writeFileSync(
    file,
    `import { existsSync, readFileSync, writeFileSync } from 'node:fs';
     const count = ${JSON.stringify(`${file}.count`)};
     const run = (existsSync(count) ? Number(readFileSync(count, 'utf8')) : 0) + 1;
     writeFileSync(count, String(run));
     const say = (message) => process.send(message);
     const frames = (times, dropped = 0) => {
       const frame = ${FRAME};
       const bytes = Buffer.alloc(times * (16 + ((frame.length + 3) & ~3)));
       for (let i = 0, at = 0; i < times; i++, at += 16 + ((frame.length + 3) & ~3)) {
         [1795377425, 1000, frame.length, frame.length].forEach((it, w) => bytes.writeUInt32LE(it, at + 4 * w));
         bytes.set(frame, at + 16);
       }
       say({ type: 'frames', bytes, count: times, dropped });
     };
     const heard = [];
     process.on('disconnect', () => process.exit(0));
     process.on('message', (message) => {
       heard.push(message);
       if (message.type === 'open') opened(message);
       else taken();
     });
     const open = () => say({ type: 'open', linkType: 'LINKTYPE_LINUX_SLL' });
     let taken = () => {};
     let opened = () => {};
     ${body}`,
  );
  return file;
}

/** Subscribes until `enough` of the events or an error; what was seen. */
async function seenOf(
  child: string,
  enough: (seen: readonly string[]) => boolean = () => false,
): Promise<{
  seen: string[];
  events: InputEvent[];
  error: unknown;
  rows: number[][];
  opened: number;
}> {
  const seen: string[] = [];
  const events: InputEvent[] = [];
  const rows: number[][] = [];
  let opened = 0;
  const onOpen = () => {
    opened++;
  };
  const error = await new Promise<unknown>((resolve) => {
    const subscription = captureCap({ child, restartMs: 1, onOpen }).subscribe({
      next: (event) => {
        events.push(event);
        seen.push(
          event.type === 'loss'
            ? `loss ${event.loss.source}`
            : event.type === 'notice'
              ? event.notice.code
              : event.type,
        );
        if (event.type === 'packets') {
          for (let i = 0; i < event.rows.length; i++) {
            const at = i * event.rows.stride;
            const word = (offset: number) => event.rows.words[at + offset] ?? -1;
            rows.push([word(P_SEC), word(P_NSEC), word(P_DIRECTION), word(P_DPORT)]);
          }
        }
        // Not before the subscription has been returned.
        if (enough(seen)) {
          queueMicrotask(() => {
            subscription.unsubscribe();
            resolve(undefined);
          });
        }
      },
      error: resolve,
    });
  });
  return { seen, events, error, rows, opened };
}

describe('captureCap, with a child by hand', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test('frames become rows with the child’s time and the direction of their header', async () => {
    const child = childScript('opened = () => { open(); frames(2); };');
    const { rows, seen, opened } = await seenOf(child, (it) => it.includes('packets'));
    expect(seen).toEqual(['packets']);
    expect(opened).toBe(1);
    expect(rows).toEqual([
      [1_795_377_425, 1_000, 3, 65_001],
      [1_795_377_425, 1_000, 3, 65_001],
    ]);
  });

  test('every batch is answered, so that the child knows what has been taken', async () => {
    const child = childScript(
      'let n = 0; opened = () => { open(); frames(1); }; taken = () => { if (++n < 20) frames(1); };',
    );
    const { seen } = await seenOf(child, (it) => it.length === 20);
    expect(seen).toEqual(new Array(20).fill('packets'));
  });

  test('what the child had to drop is a loss', async () => {
    const child = childScript('opened = () => { open(); frames(1, 12); };');
    const { events } = await seenOf(child, (it) => it.includes('loss queue'));
    expect(events.at(-1)).toMatchObject({ loss: { source: 'queue', count: 12 } });
  });

  test.each([
    ['aborts', 'process.abort()', /SIGABRT/],
    ['exits', 'process.exit(7)', /exit code 7/],
    ['throws', 'throw new Error("from cap")', /Error: from cap/],
  ])('a child that %s is a loss, a notice and a restart', async (_, end, why) => {
    const child = childScript(
      `opened = () => { open(); frames(1); }; taken = () => { if (run === 1) { ${end}; } };`,
    );
    const { seen, events, opened } = await seenOf(
      child,
      (it) => it.filter((event) => event === 'packets').length === 2,
    );
    expect(seen).toEqual(['packets', 'loss capture', 'capture-restart', 'loss capture', 'packets']);
    expect(opened).toBe(1);
    const [, first, notice, second] = events;
    expect(notice).toMatchObject({ notice: { detail: expect.stringMatching(why) } });
    if (first?.type !== 'loss' || second?.type !== 'loss') throw new Error('no losses');
    // The two spans join: from what was last heard to the end, and from there to the new beginning.
    expect(first.loss.to).toBe(second.loss.from);
    expect(first.loss.from ?? 0n).toBeLessThanOrEqual(first.loss.to ?? 0n);
    expect(second.loss.from ?? 0n).toBeLessThanOrEqual(second.loss.to ?? 0n);
  });

  test('a child that never comes to capture is given up', async () => {
    const child = childScript('process.exit(3);');
    const { error, seen } = await seenOf(child);
    expect(error).toMatchObject({ message: expect.stringContaining('exit code 3') });
    expect(seen.filter((event) => event === 'capture-restart')).toHaveLength(2);
  });

  test.each([
    ['missing', 'UsageError', /libpcap-dev.*npm/],
    ['permission', 'PermissionError', /CAP_NET_RAW/],
    ['other', 'Error', /no such thing/],
  ])('a child that cannot capture: %s', async (why, name, text) => {
    const child = childScript(
      `opened = () => say({ type: 'failed', why: '${why}', message: 'no such thing\\nand more' });`,
    );
    const { error } = await seenOf(child);
    expect(error).toMatchObject({ name, message: expect.stringMatching(text) });
    expect((error as Error).message).not.toContain('and more');
  });

  test('a link type that is not the one asked for ends the capture', async () => {
    const child = childScript("opened = () => say({ type: 'open', linkType: 'LINKTYPE_NULL' });");
    const { error } = await seenOf(child);
    expect(error).toMatchObject({ message: expect.stringContaining('LINKTYPE_NULL') });
  });
});

const CAP = fileURLToPath(
  new URL('../../../node_modules/cap/build/Release/cap.node', import.meta.url),
);
const missing =
  missingForKernelTests() ?? (existsSync(CAP) ? undefined : 'cap is not built (libpcap-dev)');
const SOURCE = fileURLToPath(new URL('../scripts/source.mjs', import.meta.url));
const CONNECT = `
  require('node:net').connect({ host: process.argv[1], port: Number(process.argv[2]) }).on('error', () => {});`;

describe('captureCap, on this kernel', () => {
  let namespace: Namespace | undefined;
  beforeAll(() => {
    if (missing === undefined) namespace = new Namespace();
  });
  afterAll(() => namespace?.destroy());

  /** The process in which cap lives. */
  function capOf(child: Child): number {
    const { pid } = child;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    expect(children).toHaveLength(1);
    return Number(children[0]);
  }

  /** Connects to a closed port of lo and waits until SYN and RST have been seen. */
  async function connectionSeen(within: Namespace, child: Child, host: string, port: number) {
    within.run(process.execPath, ['-e', CONNECT, host, String(port)]);
    await child.until((lines) => lines.some((line) => line['sport'] === port));
    return child.lines.filter((line) => line['dport'] === port || line['sport'] === port);
  }

  test.for(['127.0.0.1', '::1'])('a connection to %s is seen once', async (host, context) => {
    if (namespace === undefined) return context.skip(missing);
    const child = namespace.start(SOURCE, ['cap']);
    await child.line('open');
    const packets = await connectionSeen(namespace, child, host, 7);
    expect(packets).toMatchObject([
      { protocol: 6, flags: 0x02, dst: host, direction: 1 },
      { protocol: 6, flags: 0x14, src: host, direction: 1 },
    ]);
    for (const packet of packets) expect(Math.abs(Number(packet['age']))).toBeLessThan(1);
    expect((await child.finish()).code).toBe(0);
  });

  test('no interface becomes promiscuous, and one that goes away does no harm', async (context) => {
    if (namespace === undefined) return context.skip(missing);
    namespace.ip('link add wpgone type veth peer name wpgonf');
    namespace.ip('link set wpgone up');
    const child = namespace.start(SOURCE, ['cap']);
    await child.line('open');
    const links = JSON.parse(namespace.ip('-d -j link show')) as { promiscuity: number }[];
    expect(links.map((link) => link.promiscuity)).toEqual(links.map(() => 0));
    namespace.ip('link delete wpgone');
    await connectionSeen(namespace, child, '127.0.0.1', 8);
    await child.finish();
    expect(child.lines.filter(({ type }) => type === 'loss')).toEqual([]);
  });

  test('when cap dies, capture goes on in a new process', async (context) => {
    if (namespace === undefined) return context.skip(missing);
    const child = namespace.start(SOURCE, ['cap', JSON.stringify({ restartMs: 1 })]);
    await child.line('open');
    const first = capOf(child);
    process.kill(first, 'SIGABRT');
    await child.until((lines) => lines.filter(({ type }) => type === 'loss').length === 2);
    await connectionSeen(namespace, child, '127.0.0.1', 9);
    expect(capOf(child)).not.toBe(first);
    await child.finish();
  });

  test('cap’s process ends with its parent, however that ends', async (context) => {
    if (namespace === undefined) return context.skip(missing);
    const child = namespace.start(SOURCE, ['cap']);
    await child.line('open');
    const cap = capOf(child);
    // Readable until the process is gone: tail ends with it.
    process.kill(child.pid, 'SIGKILL');
    execFileSync('tail', ['--pid', String(cap), '-f', '/dev/null']);
    expect(existsSync(`/proc/${cap}`)).toBe(false);
  });
});
