import { spawn } from 'node:child_process';
import { Subscription } from 'rxjs';
import { conntrackNetlink } from '../../../src/sources/conntrack/netlink.js';

interface EventsJob {
  /** Entries that are made while nobody measures, so that V8 has compiled what it will compile. */
  readonly before: number;
  readonly entries: number;
}

interface EventsResult {
  readonly events: number;
  readonly losses: number;
  /** Of this process, per event: reading from the socket, handing over and decoding to rows. */
  readonly cpuMicroseconds: number;
}

/** How long nothing must come until everything has. */
const QUIET_MS = 300;

/** Listens to conntrack's events in this network namespace while another process makes entries. */
export async function job({ before, entries }: EventsJob): Promise<EventsResult> {
  let events = 0;
  let losses = 0;
  let last = performance.now();
  const subscription = new Subscription();
  const failed = new Promise<never>((_resolve, reject) => {
    const all = conntrackNetlink({ list: false }).subscribe({
      next: (event) => {
        last = performance.now();
        if (event.type === 'conntrack') events += event.rows.length;
        else losses++;
      },
      error: reject,
    });
    subscription.add(all);
  });
  const quiet = async (): Promise<void> => {
    while (performance.now() - last < QUIET_MS) {
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS / 4));
    }
  };
  await Promise.race([failed, fill(0, before)]);
  await Promise.race([failed, quiet()]);
  const seenBefore = events;
  const used = process.cpuUsage();
  await Promise.race([failed, fill(before, entries)]);
  await Promise.race([failed, quiet()]);
  const { user, system } = process.cpuUsage(used);
  const seen = events - seenBefore;
  subscription.unsubscribe();
  return { events: seen, losses, cpuMicroseconds: (user + system) / seen };
}

/** Another process, so that what it costs is not counted. */
function fill(first: number, entries: number): Promise<void> {
  const [program = ''] = process.argv.slice(1);
  const child = spawn(
    process.execPath,
    [program, 'conntrack-fill', JSON.stringify({ first, entries })],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`the table was not filled (${code})`)),
    );
  });
}
