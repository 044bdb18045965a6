/**
 * `npx tsx test/support/record-tutorial.ts [FOLDER]` builds the tutorial's node in network namespaces,
 * records it while 12 requests are sent to its Service, and writes `pcaps/tutorial/` anew: what
 * `whichpod demo` replays where it cannot build a node. Takes Linux, root, dumpcap and conntrack.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { closeLabsSync, createLab, type Lab } from '../../src/lab/lab.js';
import { TUTORIAL, TUTORIAL_CLIENT } from '../../src/lab/tutorial.js';

const REQUESTS = 12;
const PER_SECOND = 20;
/** Enough for every header; what the Pods answer is of no interest. */
const SNAPLEN = 128;
const DEADLINE_MS = 10_000;
const POLL_MS = 20;
/** What the kernel still holds reaches dumpcap and conntrack well within this time. */
const DRAIN_MS = 500;
const NETLINK_NETFILTER = '12';

const folder = process.argv[2] ?? fileURLToPath(new URL('../../pcaps/tutorial', import.meta.url));

const capture = join(folder, 'capture.pcapng');

async function write(name: string, text: string): Promise<void> {
  const path = join(folder, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

async function printed(lab: Lab, argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await lab.exec('node', argv);
  if (code !== 0) throw new Error(`${argv.join(' ')}: ${stderr}`);
  return stdout;
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${DEADLINE_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Packets of the Pods' veths, each interface under its own name; never promiscuous (-p). */
async function startCapture(lab: Lab): Promise<ChildProcess> {
  const interfaces = [...lab.interfaces.values()].flatMap((name) => ['-i', name]);
  const options = ['-p', '-q', '-s', String(SNAPLEN), '-w', capture];
  const [command = '', ...words] = [...lab.enter('node'), 'dumpcap', ...interfaces, ...options];
  const child = spawn(command, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (piece: Buffer) => {
    said += piece.toString();
  });
  await until('dumpcap', async () => {
    if (child.exitCode !== null) throw new Error(`dumpcap: ${said}`);
    return said.includes('File: ');
  });
  return child;
}

async function startConntrack(lab: Lab): Promise<ChildProcess> {
  const output = ['-E', '-o', 'timestamp,extended,id'];
  const [command = '', ...words] = [...lab.enter('node'), 'conntrack', ...output];
  const file = openSync(join(folder, 'conntrack-events.txt'), 'w');
  const child = spawn(command, words, { stdio: ['ignore', file, 'inherit'] });
  // It says nothing when it listens; its socket does: protocol and subscribed groups of /proc/net/netlink.
  await until('conntrack -E', async () => {
    const sockets = (await printed(lab, ['cat', '/proc/net/netlink'])).split('\n');
    return sockets.some((line) => {
      const [, protocol, , groups] = line.trim().split(/\s+/);
      return protocol === NETLINK_NETFILTER && Number.parseInt(groups ?? '0', 16) !== 0;
    });
  });
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill('SIGINT');
  await closed;
}

process.once('SIGINT', () => {
  closeLabsSync();
  process.exit(130);
});
await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
const lab = await createLab(TUTORIAL);
const recorders: ChildProcess[] = [];
try {
  for (const [name, list] of Object.entries(lab.objects)) {
    await write(`api/${name}.json`, `${JSON.stringify(list, undefined, 1)}\n`);
  }
  await write('net/addr.json', await printed(lab, ['ip', '-j', 'addr']));
  await write('net/link.json', await printed(lab, ['ip', '-j', 'link']));
  recorders.push(await startCapture(lab), await startConntrack(lab));
  await write('iptables-save.before.txt', await lab.rules());
  const truth = await lab.request({
    from: TUTORIAL_CLIENT,
    to: 'default/nginx',
    count: REQUESTS,
    perSecond: PER_SECOND,
  });
  await new Promise((resolve) => setTimeout(resolve, DRAIN_MS));
  await write('iptables-save.txt', await lab.rules());
  await write('truth.jsonl', truth.map((row) => `${JSON.stringify(row)}\n`).join(''));
} finally {
  for (const child of recorders) await stop(child);
  await lab.close();
}
// dumpcap gives it to its user alone.
await chmod(capture, 0o644);
