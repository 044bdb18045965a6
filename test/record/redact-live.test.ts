import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { labUnavailable } from '../../src/lab/available.js';
import { fakeIo } from '../cli/fake-io.js';
import { buildProgram, endAll, Whichpod } from '../live/program.js';
import { createWaysLab, type WaysLab } from '../live/ways-lab.js';

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

describe('a redacted recording of the laboratory', () => {
  it('gives the verdicts of the live run, and its frames hold no address of it', async () => {
    made = await createWaysLab(SHAPE);
    const file = join(folder, 'case.pcapng');
    const live = join(folder, 'live.ndjson');
    const args = ['live', '-o', 'ndjson', '-w', file, '--redact', '--count', String(CONNECTIONS)];
    const into = ['sh', '-c', `exec "$0" "$@" >${live}`];
    const run = new Whichpod(
      [...args, '--kubeconfig', made.kubeconfig, '--node-name', 'node1'],
      [...made.lab.enter('node'), ...into],
    );
    await run.watching();
    await made.lab.churn({
      from: 'client',
      to: 'shop/roll',
      connections: CONNECTIONS,
      concurrency: 4,
      perSecond: 200,
    });
    const { code } = await run.ended;
    expect(code, run.stderr).toBe(0);
    const io = fakeIo({});
    expect(await runCli(['replay', '-o', 'ndjson', file], io, commands)).toBe(0);
    expect(io.stderr.text).toBe('');
    const said = readFileSync(live, 'utf8');
    expect(verdicts(said).length).toBeGreaterThanOrEqual(CONNECTIONS);
    expect(verdicts(io.stdout.text)).toEqual(verdicts(said));
    const bytes = readFileSync(file);
    const ips = new Set(said.match(/10\.\d+\.\d+\.\d+/g));
    expect(ips.size).toBeGreaterThan(2);
    for (const ip of ips) {
      expect(bytes.includes(Buffer.from(ip.split('.').map(Number))), ip).toBe(false);
      expect(io.stdout.text.includes(`"${ip}"`), ip).toBe(false);
    }
    for (const name of ['roll', 'shop', 'client.', 'web-1'])
      expect(bytes.includes(name)).toBe(false);
  }, 120_000);
});
