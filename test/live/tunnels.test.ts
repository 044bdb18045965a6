import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { labUnavailable } from '../../src/lab/available.js';
import type { Lab } from '../../src/lab/lab.js';
import type { TruthRow } from '../../src/lab/traffic-client.js';
import { EventLog } from '../support/event-log.js';
import { score } from '../support/score.js';
import { buildProgram, endAll, type Said, Whichpod } from './program.js';
import { createTwoNodes, DEVICE, type Overlay, tunnelUnavailable } from './two-nodes.js';

const OVERLAYS: readonly Overlay[] = [
  { kind: 'vxlan', port: 8472 },
  { kind: 'vxlan', port: 4789 },
  { kind: 'geneve', port: 6081 },
  { kind: 'ipip', port: 0 },
];
/** A port where nobody listens: a datagram to it is the last packet of a recording. */
const LAST_PORT = 9;
const REMOTE_POD = '10.244.2.2';

const unavailable = labUnavailable({ ruleBackend: 'iptables-nft' }) ?? tunnelUnavailable(false);

beforeAll(() => {
  if (process.platform === 'linux') buildProgram();
});
beforeEach((context) => {
  if (unavailable !== undefined) context.skip(unavailable);
});
afterEach(endAll);

const TCP_COUNT = 40;
const UDP_COUNT = 20;

async function send(lab: Lab): Promise<readonly TruthRow[]> {
  const from = 'client';
  const rows = await Promise.all([
    lab.churn({ from, to: 'shop/web', connections: TCP_COUNT, concurrency: 4 }),
    lab.request({ from, to: 'shop/dns', protocol: 'udp', count: UDP_COUNT, concurrency: 4 }),
  ]);
  return rows.flat().filter(beginsFlow);
}

/** A port may be given to a second socket: without conntrack its datagrams are the first one's flow. */
function beginsFlow(row: TruthRow, place: number, all: readonly TruthRow[]): boolean {
  const first = all.findIndex(({ proto, sport }) => proto === row.proto && sport === row.sport);
  return row.proto === 'tcp' || row.sport === undefined || first === place;
}

describe.each(OVERLAYS)('through a tunnel: $kind $port', (overlay) => {
  it('a packet and its encapsulated copy are one, live and in recordings', async () => {
    const { lab, close } = await createTwoNodes(overlay);
    const folder = mkdtempSync(join(tmpdir(), 'whichpod-tunnel-'));
    try {
      mkdirSync(join(folder, 'api'));
      for (const [name, list] of Object.entries(lab.objects)) {
        writeFileSync(join(folder, 'api', `${name}.json`), JSON.stringify(list));
      }
      writeFileSync(join(folder, 'rules.txt'), await lab.rules());
      const veth = lab.interfaces.get('client') ?? '';
      const live = new Whichpod(
        ['live', '--objects', join(folder, 'api'), '-o', 'ndjson', '--conntrack', 'none'],
        lab.enter('node'),
      );
      await live.watching();
      const captures = await Promise.all(
        [veth, 'eth0', 'any'].map((device) =>
          Capture.start(lab, device, join(folder, `${device}.pcap`)),
        ),
      );
      const truth = await send(lab);
      expect(truth.filter((row) => !row.ok)).toEqual([]);
      await Promise.all([
        ...captures.map((capture) => capture.hasLast()),
        lab.request({
          from: 'client',
          to: `${REMOTE_POD}:${LAST_PORT}`,
          protocol: 'udp',
          count: 1,
        }),
      ]);
      await Promise.all(captures.map((capture) => capture.end()));
      live.signal('SIGINT');
      await live.ended;
      judge(truth, live.said.all);
      for (const close of closesOf(live.said.all)) {
        expect(close['interfaces']).toEqual({ in: veth, out: DEVICE });
      }

      // The client's side, and the uplink, where only encapsulated copies pass.
      const file = (device: string): string => join(folder, `${device}.pcap`);
      const evidence = [join(folder, 'rules.txt'), join(folder, 'api')];
      judge(truth, await replayed([file(veth), file('eth0'), ...evidence]));
      // Every copy on every device.
      judge(truth, await replayed([file('any'), ...evidence]));
    } finally {
      rmSync(folder, { recursive: true, force: true });
      await close();
    }
  });
});

function closesOf(said: readonly Said[]): readonly Said[] {
  return said.filter((line) => line.type === 'close');
}

function judge(truth: readonly TruthRow[], said: readonly Said[]): void {
  expect(score(truth, said).slice(0, 8)).toEqual([]);
  const closes = closesOf(said);
  expect(closes).toHaveLength(truth.length);
  for (const close of closes) expect(close['evidence']).toEqual(['packets', 'rules', 'cluster']);
}

async function replayed(inputs: readonly string[]): Promise<readonly Said[]> {
  const run = new Whichpod(['replay', ...inputs, '-o', 'ndjson']);
  expect(await run.ended, run.stderr).toEqual({ code: 0, signal: null });
  return run.said.all;
}

/** tcpdump on one of the node's devices. */
class Capture {
  private readonly child: ChildProcessByStdio<null, Readable, Readable>;
  private readonly printed = new EventLog<string>();
  private readonly told = new EventLog<string>();

  private constructor(child: ChildProcessByStdio<null, Readable, Readable>) {
    this.child = child;
    createInterface(child.stdout).on('line', (line) => this.printed.push(line));
    createInterface(child.stderr).on('line', (line) => this.told.push(line));
    child.once('close', () => {
      const end = new Error(`tcpdump ended: ${this.told.all.join('; ')}`);
      this.printed.fail(end);
      this.told.fail(end);
    });
  }

  static async start(lab: Lab, device: string, file: string): Promise<Capture> {
    const options = '--immediate-mode -s 256 -B 16384 -Z root -p -n -U -l --print'.split(' ');
    const program = ['tcpdump', ...options, '-i', device, '-w', file];
    const [command = '', ...rest] = [...lab.enter('node'), ...program];
    const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
    const capture = new Capture(child);
    await capture.told.until((line) => line.includes('listening on'));
    return capture;
  }

  /** Resolves when the last packet of the traffic has been written, on a device where it passes more than once the first copy. */
  async hasLast(): Promise<void> {
    await this.printed.until((line) => line.includes(`> ${REMOTE_POD}.${LAST_PORT}: `));
  }

  async end(): Promise<void> {
    const ended = once(this.child, 'close');
    this.child.kill('SIGINT');
    await ended;
    expect(this.told.all).toContain('0 packets dropped by kernel');
  }
}
