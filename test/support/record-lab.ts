/**
 * `npx tsx test/support/record-lab.ts [FOLDER [NAME...]]` builds a node in network namespaces, sends requests
 * to its Services while `whichpod record` runs there, and writes `pcaps/lab/` anew: of each recording the one
 * file that holds the case, and the truth that the clients saw. Takes Linux and root.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { closeLabsSync } from '../../src/lab/lab.js';
import type { TrafficOptions } from '../../src/lab/traffic.js';
import type { TruthRow } from '../../src/lab/traffic-client.js';
import { buildProgram, Whichpod } from '../live/program.js';
import {
  createWaysLab,
  NODE,
  NODE_PORT,
  type Shape,
  type WaysLab,
  WEB6,
} from '../live/ways-lab.js';

const BRIDGE: Shape = { layout: 'bridge', ruleBackend: 'iptables-nft', chainNames: 'current' };
const NFTABLES: Shape = {
  layout: 'routed',
  ruleBackend: 'nftables',
  nftLayout: '1.36',
  chainNames: 'current',
};

/** Rules are read again within this time of their change. */
const READ_MS = 1_500;
/** A connection's last word comes two seconds after its end. */
const LINGER_MS = 2_500;

const elapse = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Recording {
  readonly shape: Shape;
  readonly make: (lab: WaysLab) => Promise<readonly TruthRow[]>;
}

const FROM = 'client';
const UDP = { from: FROM, to: 'shop/dns', protocol: 'udp' } as const;

const ask = (lab: WaysLab, options: TrafficOptions): Promise<readonly TruthRow[]> =>
  lab.lab.request({ perSecond: 40, ...options });

const RECORDINGS: Readonly<Record<string, Recording>> = {
  nodeport: {
    shape: BRIDGE,
    make: (lab) => ask(lab, { from: 'outside', to: `${NODE}:${NODE_PORT}`, count: 12 }),
  },
  dns: {
    shape: BRIDGE,
    make: async (lab) => [
      // Ports of their own: the same port again would be the same flow.
      ...(await ask(lab, { ...UDP, count: 12, sourcePorts: { first: 20_000, size: 12 } })),
      ...(await ask(lab, { ...UDP, count: 20, keepAlive: true })),
    ],
  },
  rolling: {
    shape: BRIDGE,
    make: async (lab) => {
      const rows: TruthRow[] = [];
      const to = 'shop/roll';
      rows.push(...(await ask(lab, { from: FROM, to, count: 8 })));
      for (const pods of [
        ['web-1', 'web-2', 'web-5'],
        ['web-2', 'web-5', 'web-6'],
        ['web-5', 'web-6'],
      ]) {
        await lab.setEndpoints(to, pods);
        await elapse(READ_MS);
        rows.push(...(await ask(lab, { from: FROM, to, count: 8 })));
      }
      return rows;
    },
  },
  stale: {
    shape: BRIDGE,
    make: async (lab) => {
      const flow = { ...UDP, count: 1, sourcePorts: { first: 20_000, size: 1 } };
      const rows = [...(await ask(lab, flow))];
      const gone = rows[0]?.pod;
      const left = ['web-2', 'web-3', 'web-4'].filter((pod) => pod !== gone);
      await lab.setEndpoints('shop/dns', left, { keepsFlows: true });
      await elapse(READ_MS);
      rows.push(...(await ask(lab, flow)));
      rows.push(...(await ask(lab, { ...UDP, count: 4, sourcePorts: { first: 20_001, size: 4 } })));
      return rows;
    },
  },
  ipv6: {
    shape: BRIDGE,
    make: (lab) => ask(lab, { from: FROM, to: `[${WEB6}]:80`, count: 12 }),
  },
  nftables: {
    shape: NFTABLES,
    make: (lab) => ask(lab, { from: FROM, to: 'shop/web', count: 12 }),
  },
};

async function record(name: string, { shape, make }: Recording, folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const lab = await createWaysLab(shape);
  try {
    // A new link takes seconds until it carries IPv6.
    if (name === 'ipv6') await lab.lab.request({ from: FROM, to: `[${WEB6}]:80`, count: 1 });
    const file = join(folder, 'case.pcapng');
    const run = new Whichpod(
      ['record', '-w', file, '-v', '--kubeconfig', lab.kubeconfig, '--node-name', 'node1'],
      lab.lab.enter('node'),
    );
    await run.watching();
    const truth = await make(lab);
    // What closes late is in it too.
    await elapse(LINGER_MS);
    run.signal('SIGINT');
    await run.ended;
    const failed = truth.filter((row) => !row.ok);
    if (failed.length > 0) throw new Error(`${name}: ${JSON.stringify(failed)}`);
    const lines = truth.map((row) => `${JSON.stringify(row)}\n`).join('');
    await writeFile(join(folder, 'truth.jsonl'), lines);
    process.stdout.write(`${name}: ${truth.length} requests\n`);
  } finally {
    await lab.close();
  }
}

process.once('SIGINT', () => {
  closeLabsSync();
  process.exit(130);
});
const [into = fileURLToPath(new URL('../../pcaps/lab', import.meta.url)), ...names] =
  process.argv.slice(2);
buildProgram();
for (const [name, recording] of Object.entries(RECORDINGS)) {
  if (names.length === 0 || names.includes(name)) await record(name, recording, join(into, name));
}
