import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { labUnavailable } from '../../src/lab/available.js';
import { fakeIo } from '../cli/fake-io.js';
import { buildProgram, endAll, Whichpod } from '../live/program.js';
import { createWaysLab, type WaysLab, WEB6 } from '../live/ways-lab.js';
import { stateOf } from './state-of.js';

const SHAPE = { layout: 'routed', ruleBackend: 'iptables-nft', chainNames: 'current' } as const;
const CONNECTIONS = 100;

const folder = mkdtempSync(join(tmpdir(), 'whichpod-redact-live-'));
let made: WaysLab | undefined;

beforeAll(() => {
  if (process.platform === 'linux') buildProgram();
}, 240_000);
afterEach(endAll);
afterAll(async () => {
  await made?.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach((context) => {
  const unavailable = labUnavailable(SHAPE);
  if (unavailable !== undefined) context.skip(unavailable);
});

/** What a run says of its connections, whatever they are called. */
function verdicts(ndjson: string): string[] {
  return ndjson
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((event) => event['type'] === 'close')
    .map((event) => {
      const { client, rules } = event as {
        client: { port: number };
        rules?: { probability?: number };
      };
      const { time, verdict, outcome, reason, evidence } = event;
      return JSON.stringify([
        time,
        client.port,
        verdict,
        outcome,
        reason,
        evidence,
        rules?.probability,
      ]);
    });
}

/** A question for a Service by its name, as a resolver asks it (RFC 1035, 4.1). */
const ASK = `const { createSocket } = require('node:dgram');
const labels = 'roll.shop.svc.cluster.local'.split('.').flatMap((one) => [one.length, ...Buffer.from(one)]);
const query = Buffer.from([0x1c, 0x2f, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
const socket = createSocket('udp4');
socket.send(query, 53, '10.96.0.16', () => setTimeout(() => socket.close(), 200));`;

describe('a redacted recording of the laboratory', () => {
  it('gives the verdicts of the live run, and nothing in it is called as it was', async () => {
    made = await createWaysLab(SHAPE);
    const { lab } = made;
    const file = join(folder, 'case.pcapng');
    const live = join(folder, 'live.ndjson');
    const args = ['live', '-o', 'ndjson', '-w', file, '--redact'];
    const into = ['sh', '-c', `exec "$0" "$@" >${live}`];
    const run = new Whichpod(
      [...args, '--kubeconfig', made.kubeconfig, '--node-name', 'node1'],
      [...lab.enter('node'), ...into],
    );
    await run.watching();
    const from = 'client';
    await lab.churn({
      from,
      to: 'shop/roll',
      connections: CONNECTIONS,
      concurrency: 4,
      perSecond: 200,
    });
    await lab.churn({ from, to: `[${WEB6}]:80`, connections: 10 });
    await lab.request({ from, to: 'shop/dns', protocol: 'udp', count: 5 });
    const asked = await lab.exec(from, [process.execPath, '-e', ASK]);
    expect(asked.code, asked.stderr).toBe(0);
    // Refused by the rules, and by the Pod: each by an ICMP error that quotes what was sent.
    await lab.churn({ from, to: 'shop/none', connections: 3 });
    await lab.request({ from, to: 'shop/closed', protocol: 'udp', count: 3, timeoutMs: 500 });
    const links = await lab.exec('node', ['ip', '-j', 'link']);
    run.signal('SIGINT');
    const { code } = await run.ended;
    expect(code, run.stderr).toBe(130);
    const io = fakeIo({});
    expect(await runCli(['replay', '-o', 'ndjson', file], io, commands)).toBe(0);
    expect(io.stderr.text).toBe('');
    const said = readFileSync(live, 'utf8');
    expect(verdicts(said).length).toBeGreaterThanOrEqual(CONNECTIONS + 10);
    expect(verdicts(io.stdout.text)).toEqual(verdicts(said));

    const bytes = readFileSync(file);
    const all = Buffer.concat([bytes, stateOf(bytes)]);
    const text = all.toString('latin1');
    const ips = new Set(said.match(/10\.\d+\.\d+\.\d+|fd00:10(?::[0-9a-f]*)+/g));
    expect([...ips].some((ip) => ip.includes(':'))).toBe(true);
    expect(ips.size).toBeGreaterThan(4);
    for (const ip of ips) {
      expect(all.includes(bytesOf(ip)), ip).toBe(false);
      expect(text.includes(`"${ip}"`) || text.includes(` ${ip}/`), ip).toBe(false);
    }
    const hardware = new Set(links.stdout.match(/[0-9a-f]{2}(?::[0-9a-f]{2}){5}/g));
    expect(hardware.size).toBeGreaterThan(3);
    for (const one of hardware) {
      if (/^(?:00:){5}00$|^(?:ff:){5}ff$/.test(one)) continue;
      expect(all.includes(Buffer.from(one.replaceAll(':', ''), 'hex')), one).toBe(false);
    }
    for (const name of ['shop', 'web-1', 'node1', 'cluster\x05local', ...lab.interfaces.values()]) {
      expect(text.includes(name), name).toBe(false);
    }
    // The quotations of ICMP errors are there, by whom their connections are told to be refused.
    const icmp = packetBlocks(bytes).filter((frame) => frame[12] === 8 && frame[23] === 1);
    expect(icmp.length).toBeGreaterThanOrEqual(6);
    expect(io.stdout.text).toMatch(/"outcome":"refused"/);
    // Pods' interfaces are told by their Pods' pseudonyms.
    expect(/Pod pod-[0-9a-f]{12}\.ns-[0-9a-f]{12} \(\d/.exec(text)?.[0]).toBeDefined();
  }, 120_000);
});

function bytesOf(ip: string): Buffer {
  if (!ip.includes(':')) return Buffer.from(ip.split('.').map(Number));
  const [head = '', tail = ''] = ip.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':'));
  const [before, after] = [groups(head), groups(tail)];
  const zeros = Array<string>(8 - before.length - after.length).fill('0');
  const hex = [...before, ...zeros, ...after].map((group) => group.padStart(4, '0'));
  return Buffer.from(hex.join(''), 'hex');
}

/** The frames in a file's packet blocks. */
function packetBlocks(bytes: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at + 4)) {
    if (bytes.readUInt32LE(at) !== 6) continue;
    frames.push(bytes.subarray(at + 28, at + 28 + bytes.readUInt32LE(at + 20)));
  }
  return frames;
}
