import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { filesOf, replay } from './scenario.js';

const text = (path: string): string => gunzipSync(readFileSync(path)).toString('utf8');

/** Endpoint to what its rule counted, read from a dump without the decoder's help. */
function countersOf(path: string | undefined): Map<string, number> {
  const rule = /^\[(\d+):\d+\] -A (KUBE-SEP-\S+) .*-j DNAT --to-destination (\S+):\d+$/gm;
  const counted = new Map<string, number>();
  for (const [, packets, , ip = ''] of text(path ?? '').matchAll(rule)) {
    counted.set(ip, (counted.get(ip) ?? 0) + Number(packets));
  }
  return counted;
}

it.each([
  '1.30-iptables-nft/01-seed',
  '1.30-iptables-nft-ptp/01-seed',
  '1.30-iptables-legacy/01-seed',
])('what the rules of %s counted is what was told, Pod by Pod', async (scenario) => {
  const [beforePath] = filesOf(scenario, [/^iptables-save\.before/]);
  const [afterPath] = filesOf(scenario, [/^iptables-save\.txt/]);
  const { stdout } = await replay(filesOf(scenario, [/./]));
  const events = stdout.split('\n').filter((line) => line !== '');
  const closed = events.map((line) => JSON.parse(line)).filter(({ type }) => type === 'close');
  const told = new Map<string, number>();
  const pods = new Map<string, number>();
  for (const { backend } of closed) {
    told.set(backend.ip, (told.get(backend.ip) ?? 0) + 1);
    const name = `${backend.pod.namespace}/${backend.pod.name}`;
    pods.set(name, (pods.get(name) ?? 0) + 1);
  }
  const before = countersOf(beforePath);
  const moved = [...countersOf(afterPath)].flatMap(([ip, now]): [string, number][] => {
    const by = now - (before.get(ip) ?? 0);
    return by === 0 ? [] : [[ip, by]];
  });
  expect(Object.fromEntries(moved)).toEqual(Object.fromEntries(told));
  const said = events
    .map((line) => JSON.parse(line))
    .filter(({ code }) => code === 'rule-counters');
  const list = [...pods].sort().map(([name, count]) => `${name} ${count}`);
  expect(said).toEqual([
    expect.objectContaining({
      type: 'notice',
      detail: expect.stringMatching(/counted 400 connections .* as many as were told/),
    }),
  ]);
  expect(said[0].detail).toContain(`Pod by Pod: ${list.join(', ')}`);
  expect(JSON.parse(events.at(-1) ?? '').type).toBe('summary');
});

it('a person reads it beside the table', async () => {
  const { stderr } = await replay(filesOf('1.30-iptables-nft/01-seed', [/./]), ['-o', 'table']);
  expect(stderr).toMatch(/rule-counters: the rules \(iptables-nft, IPv4\) counted 400 connections/);
});

it.each([
  ['only one dump is given', '1.30-iptables-nft/01-seed', [/events\.txt/, /^iptables-save\.txt/]],
  ['the rules are of the mode nftables', '1.36-nftables/05-no-endpoints', [/./]],
])('nothing is said of counters where %s', async (_, scenario, patterns) => {
  const { lines } = await replay(filesOf(scenario, patterns));
  expect(lines.filter(({ code }) => code === 'rule-counters')).toEqual([]);
});
