import { conntrackNetlink } from '../../../src/sources/conntrack/netlink.js';

interface DumpJob {
  /** Entries in the table: with the last of them the listing is over. */
  readonly entries: number;
}

interface DumpResult {
  readonly entries: number;
  /** Without Node's start. */
  readonly seconds: number;
}

/** Lists the table of this network namespace over netlink into rows. */
export async function job({ entries }: DumpJob): Promise<DumpResult> {
  const start = performance.now();
  let seen = 0;
  await new Promise<void>((resolve, reject) => {
    const subscription = conntrackNetlink({ events: false }).subscribe({
      next: (event) => {
        if (event.type !== 'conntrack') return;
        seen += event.rows.length;
        if (seen < entries) return;
        subscription.unsubscribe();
        resolve();
      },
      error: reject,
    });
  });
  return { entries: seen, seconds: (performance.now() - start) / 1000 };
}
