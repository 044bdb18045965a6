import { fileURLToPath } from 'node:url';
import { TestScheduler } from 'rxjs/testing';
import { afterEach, describe, expect, test } from 'vitest';
import type { AddonLoad, LegacyTable } from '../../../src/native/binding.js';
import { watchLegacyChanges } from '../../../src/sources/rules/legacy-changes.js';
import { buildProgram } from '../../live/program.js';
import { missingForKernelTests, Namespace } from '../../native/namespace.js';

const NAT: LegacyTable = { name: 'nat', entries: 7, bytes: 1_112 };

/** An addon whose answers are these, one after the other; the last one stays. */
function saying(...answers: readonly (readonly LegacyTable[] | Error)[]): () => AddonLoad {
  let asked = 0;
  const legacyTables = (family: 4 | 6): Promise<readonly LegacyTable[]> => {
    if (family === 6) return Promise.resolve([]);
    const answer = answers[Math.min(asked++, answers.length - 1)] ?? [];
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  const nothing = Object as never;
  const addon = { PacketRing: nothing, NetlinkSocket: nothing, widen: () => 0, legacyTables };
  return () => ({ ok: true, addon });
}

/** How often it tells of a change in the first so many looks, and whether it has ended. */
async function told(load: () => AddonLoad, looks: number): Promise<[number, boolean]> {
  const scheduler = new TestScheduler(() => true);
  let changes = 0;
  let ended = false;
  const watching = watchLegacyChanges(load, scheduler).subscribe({
    next: () => changes++,
    complete: () => {
      ended = true;
    },
  });
  for (let i = 0; i < looks; i++) {
    scheduler.maxFrames = i * 1_000;
    scheduler.flush();
    await new Promise((resolve) => setImmediate(resolve));
  }
  watching.unsubscribe();
  return [changes, ended];
}

describe('a look at the legacy tables', () => {
  test.each([
    ['says nothing while there are none', [[]], 0],
    ['says nothing while they are as they were', [[NAT]], 0],
    ['says that a table has come', [[], [NAT]], 1],
    ['says that a table has gone', [[NAT], []], 1],
    ['says that a rule more or less is there', [[NAT], [{ ...NAT, entries: 8 }], [NAT]], 2],
    ['says that a rule has another length', [[NAT], [{ ...NAT, bytes: 1_200 }]], 1],
  ] as const)('%s', async (_, answers, changes) => {
    expect(await told(saying(...answers), 5)).toEqual([changes, false]);
  });

  test('is the last one where the kernel refuses', async () => {
    expect(await told(saying([NAT], new Error('EPERM'), []), 5)).toEqual([0, true]);
  });

  test('is not there without the addon', async () => {
    expect(await told(() => ({ ok: false, reason: 'not built' }), 2)).toEqual([0, true]);
  });
});

const missing = missingForKernelTests(['iptables-legacy']);
const SOURCE = fileURLToPath(new URL('../scripts/source.mjs', import.meta.url));

describe.skipIf(missing !== undefined)(
  `on the real kernel${missing ? ` (${missing})` : ''}`,
  () => {
    let namespace: Namespace;
    afterEach(() => namespace.destroy());

    test('tables are seen come and change, and none is made by looking', async () => {
      buildProgram();
      namespace = new Namespace();
      const iptables = (...args: string[]): string => namespace.run('iptables-legacy', args);
      const tables = (kind: 'ip' | 'ip6'): string =>
        namespace.run('sh', ['-c', `cat /proc/self/net/${kind}_tables_names 2>/dev/null || true`]);
      const source = namespace.start(SOURCE, ['legacy']);
      await source.line('open');
      const count = (): number => source.lines.filter(({ type }) => type === 'changed').length;
      // Whether the first look comes before the first rule is not known: so until one is told.
      for (let i = 0; i < 10 && count() === 0; i++) {
        iptables('-t', 'nat', '-A', 'PREROUTING', '-j', 'ACCEPT');
        await Promise.race([
          source.until(() => count() > 0),
          new Promise((resolve) => setTimeout(resolve, 2_000)),
        ]);
      }
      expect(count()).toBe(1);
      for (const [i, change] of [
        ['-N', 'KUBE-SERVICES'],
        ['-A', 'KUBE-SERVICES', '-j', 'ACCEPT'],
        ['-D', 'KUBE-SERVICES', '1'],
      ].entries()) {
        iptables('-t', 'nat', ...change);
        await source.until(() => count() > i + 1);
      }
      expect([tables('ip'), tables('ip6')]).toEqual(['nat\n', '']);
    }, 20_000);
  },
);
