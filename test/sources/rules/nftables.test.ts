import { afterEach, describe, expect, test } from 'vitest';
import type { InputEvent } from '../../../src/model/event.js';
import { type NftablesOptions, watchNftables } from '../../../src/sources/rules/nftables.js';
import { missingForKernelTests, Namespace } from '../../native/namespace.js';
import { recorded } from '../../support/recorded.js';
import { Programs, summary, Watched } from './watched.js';

let programs: Programs | undefined;
let watched: Watched | undefined;
afterEach(() => {
  watched?.stop();
  programs?.remove();
  watched = undefined;
  programs = undefined;
});

/** A watch of nft as a shell script stands for it. */
function watch(nft: string, options: Partial<NftablesOptions> = {}): Watched {
  programs = new Programs();
  const prefix = programs.script(nft);
  return watchOf({ prefix, families: [4], ...options });
}

function watchOf(options: NftablesOptions): Watched {
  watched = new Watched((timing) => watchNftables({ ...timing, ...options }));
  return watched;
}

const RULES =
  '{"nftables": [{"chain": {"family": "ip", "table": "kube-proxy", "name": "services", "handle": 1}}]}';
const NO_TABLE = 'echo "Error: No such file or directory\nlist table ip kube-proxy" >&2; exit 1\n';

describe('with programs of the test', () => {
  test.each([
    ['a table that does not exist is nothing to tell', NO_TABLE, []],
    [
      'nft that is not there is said once',
      'echo "exec of \\"$1\\" failed: No such file or directory" >&2; exit 255\n',
      ['rules-tool-missing'],
    ],
    [
      'a permission that is missing is said once',
      'echo "netlink: Error: cache initialization failed: Operation not permitted" >&2; exit 1\n',
      ['rules-permission'],
    ],
    [
      'a kernel without nf_tables is said once',
      'echo "Error: cache initialization failed: Protocol not supported" >&2; exit 1\n',
      ['rules-failed'],
    ],
    ['too much of it is said once', 'exec yes\n', ['rules-failed']],
    ['something else than rules is said once', 'echo hello\n', ['rules-warning']],
    [
      'a cut listing is said once, and not used',
      `echo '${RULES.slice(0, 95)}'\n`,
      ['rules-warning'],
    ],
    [
      'what nft says beside is said once',
      `echo '${RULES}'; echo "beware" >&2\n`,
      ['rules-warning', 'rules 4 nft 0'],
    ],
  ])('%s', async (_, nft, expected) => {
    const watching = watch(nft, { maxBytes: 200_000 });
    expect(summary(await watching.reading())).toEqual(expected);
    expect(summary(await watching.next())).toEqual([]);
  });

  test('a prefix that does not exist is a missing program, of both families', async () => {
    const watching = watchOf({ prefix: ['/nowhere/prefix'] });
    expect(summary(await watching.reading())).toEqual(['rules-tool-missing']);
  });

  test('nft that takes too long is ended, and it is said once', async () => {
    const watching = watch('exec sleep 600\n', { timeoutMs: 100 });
    expect(summary(await watching.reading())).toEqual(['rules-failed']);
    expect(summary(await watching.next())).toEqual([]);
  });

  test("only kube-proxy's two tables are asked for", async () => {
    const watching = watch('echo "$@" >&2\nexit 1\n', { families: [4, 6] });
    const asked = (await watching.reading()).map((event: InputEvent) =>
      event.type === 'notice' ? event.notice.detail.split(': ').at(-1) : event.type,
    );
    expect(asked).toEqual(['nft -j list table ip kube-proxy', 'nft -j list table ip6 kube-proxy']);
  });

  test('every reading is reported, whether it found something or not', async () => {
    let readings = 0;
    const watching = watch(NO_TABLE, { onRead: () => readings++ });
    await watching.reading();
    await watching.next();
    expect(readings).toBe(2);
  });

  test('rules that can no longer be read are a loss, and no change', async () => {
    let time = 0n;
    const watching = watch(`echo '${RULES}'\n`, { now: () => ++time, node: 'n' });
    const [rules] = await watching.reading();
    expect(rules).toMatchObject({ type: 'rules', time: 1n, node: 'n', services: [] });
    programs?.script('echo broken >&2; exit 1\n');
    expect(summary(await watching.next())).toEqual([
      'rules-failed',
      expect.stringMatching(/^loss rules 1 \d+$/),
    ]);
    programs?.script(`echo '${RULES}'\n`);
    expect(summary(await watching.next())).toEqual([]);
  });
});

test.for([['1.30-nftables-00-rules', 145] as const, ['1.36-nftables-00-rules', 63] as const])(
  'on the real kernel the rules of %s are read back as they were',
  async ([name, chains], { skip }) => {
    const missing = missingForKernelTests(['nft']);
    skip(missing !== undefined, missing);
    const plain = recorded(`decode/rules/data/${name}.plain.txt.gz`).toString();
    const namespace = new Namespace();
    try {
      const watching = watchOf({ prefix: ['ip', 'netns', 'exec', namespace.name] });
      expect(summary(await watching.reading())).toEqual([]);
      namespace.run('nft', ['-f', '-'], plain);
      const events = await watching.next();
      expect(summary(events)).toEqual(['rules 4 nft 44', 'rules 6 nft 4']);
      expect(events[0]).toMatchObject({ rules: { version: expect.any(String) } });
      const [four] = events;
      const rules = four?.type === 'rules' ? four.rules : undefined;
      expect(rules?.kind === 'nftables' && rules.chains.size).toBe(chains);
      namespace.run('nft', ['add', 'table', 'ip', 'other']);
      expect(summary(await watching.next())).toEqual([]);
      const key = '{ 10.96.81.51 . tcp . 80 }';
      namespace.run('nft', ['delete', 'element', 'ip', 'kube-proxy', 'service-ips', key]);
      expect(summary(await watching.next())).toEqual(['rules 4 nft 43']);
      namespace.run('nft', ['delete', 'table', 'ip6', 'kube-proxy']);
      expect(summary(await watching.next())).toEqual(['rules 6 nft 0']);
      expect(summary(await watching.next())).toEqual([]);
    } finally {
      watched?.stop();
      await namespace.destroy();
    }
  },
);
