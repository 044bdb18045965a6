import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { clockFacts } from '../../../src/sources/node/clock.js';
import { conntrackFacts } from '../../../src/sources/node/conntrack.js';
import { interfaceFacts } from '../../../src/sources/node/interfaces.js';
import { namespaceFacts } from '../../../src/sources/node/namespace.js';
import { processFacts } from '../../../src/sources/node/process.js';

/** A folder in place of /, with what a kernel shows below it. */
let root: string;
beforeEach(() => {
  root = `${mkdtempSync(join(tmpdir(), 'whichpod-root-'))}/`;
});
afterEach(() => rmSync(root, { recursive: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(`${root}${path}`), { recursive: true });
  writeFileSync(`${root}${path}`, text);
}
function link(path: string, target: string): void {
  mkdirSync(dirname(`${root}${path}`), { recursive: true });
  symlinkSync(target, `${root}${path}`);
}
const limits = () => ({ timeoutMs: 10_000, signal: new AbortController().signal });

describe('conntrack', () => {
  it('is known by its settings, as far as they are there', async () => {
    put('proc/sys/net/netfilter/nf_conntrack_events', '2\n');
    put('proc/sys/net/netfilter/nf_conntrack_max', '262144\n');
    put('proc/sys/net/netfilter/nf_conntrack_acct', 'x\n');
    put('proc/sys/net/bridge/bridge-nf-call-iptables', '0\n');
    expect(await conntrackFacts(root)).toEqual({
      settings: { events: 2, max: 262_144 },
      counters: {},
      bridgeCalls: 0,
    });
  });

  const OLD =
    'entries searched found new invalid ignore delete insert insert_failed drop early_drop';
  const NEW = 'entries  clashres found new invalid insert insert_failed drop early_drop icmp_error';
  test.each([
    [
      'a processor',
      `${OLD}\n1 0 0 0 0 0 0 0 0000000a 1 0\n`,
      { insert_failed: 10, drop: 1, early_drop: 0 },
    ],
    [
      'two processors, and a newer kernel',
      `${NEW}\n1 0 0 0 0 0 00000001 0 0 2\n1 0 0 0 0 0 000000ff 0 3 0\n`,
      { insert_failed: 256, drop: 0, early_drop: 3, icmp_error: 2 },
    ],
    ['no processor', `${OLD}\n`, { insert_failed: 0, drop: 0, early_drop: 0 }],
    [
      'a line that is cut',
      `${OLD}\n1 0 0 0 0 0 0 0 2\n`,
      { insert_failed: 2, drop: 0, early_drop: 0 },
    ],
    ['other columns', 'a b\n1 2\n', {}],
    ['nothing', '', {}],
  ])('counts over %s', async (_, text, counters) => {
    put('proc/net/stat/nf_conntrack', text);
    expect((await conntrackFacts(root)).counters).toEqual(counters);
  });
});

describe('the network namespace', () => {
  it("is the machine's own where the kernel has what only that one has", async () => {
    link('proc/self/ns/net', 'net:[4026531840]');
    link('proc/1/ns/net', 'net:[4026531840]');
    link('proc/self/ns/pid', 'pid:[4026531836]');
    put('proc/sys/net/core/netdev_max_backlog', '1000\n');
    expect(await namespaceFacts(root, false)).toEqual({
      own: 'net:[4026531840]',
      first: 'net:[4026531840]',
      initial: true,
      firstProcessIsTheMachines: true,
      inPod: false,
    });
  });

  it('is another one elsewhere, also where nothing may be seen', async () => {
    link('proc/self/ns/pid', 'pid:[4026532000]');
    expect(await namespaceFacts(root, true)).toEqual({
      initial: false,
      firstProcessIsTheMachines: false,
      inPod: true,
    });
  });
});

describe('the process', () => {
  const without = () => ({ ok: false, reason: 'not built' }) as const;
  const facts = (load = without) => processFacts({ root, uid: 1000, timeoutMs: 10_000, load });

  test.each([
    ['all', '000001ffffffffff', ['NET_ADMIN', 'NET_RAW', 'SYS_PTRACE', 'SYS_ADMIN']],
    ['two', '0000000000003000', ['NET_ADMIN', 'NET_RAW']],
    ['one', '0000000000002000', ['NET_RAW']],
    ['none', '0000000000000000', []],
  ])('has %s of the capabilities', async (_, mask, names) => {
    put('proc/self/status', `Name:\tnode\nCapInh:\t0\nCapEff:\t${mask}\nCapAmb:\t${mask}\n`);
    expect(await facts()).toMatchObject({ effective: names, ambient: names, uid: 1000 });
  });

  it.each(['', 'Name:\tnode\n', 'CapEff:\n', 'CapEff:\tzz\n'])(
    'does not know them by %j',
    async (text) => {
      put('proc/self/status', text);
      expect(await facts()).not.toHaveProperty('effective');
    },
  );

  it('opened nothing without the addon, and knows why', async () => {
    const told = await facts();
    expect(told.addon).toEqual({ ok: false, reason: 'not built' });
    expect(told).not.toHaveProperty('ring');
    expect(told).not.toHaveProperty('netlink');
  });

  test.each([
    ['user:[4026531837]', true],
    ['user:[4026532000]', false],
  ])('%s is the first user namespace: %s', async (name, expected) => {
    link('proc/self/ns/user', name);
    expect((await facts()).firstUserNamespace).toBe(expected);
  });
});

describe('interfaces', () => {
  it('are known, and what programs of eBPF keep', async () => {
    put('sys/fs/bpf/tc/globals/cilium_lb4_services_v2', '');
    put('sys/fs/bpf/ip/x', '');
    const { list, bpf } = await interfaceFacts(root, limits());
    expect(bpf).toEqual(['cilium_lb4_services_v2', 'globals', 'ip', 'tc']);
    // By ip where it is installed, else by this machine's /proc, which is elsewhere.
    for (const { name, up } of list)
      expect([name, up]).toEqual([expect.any(String), expect.any(Boolean)]);
  });
});

describe('the clock', () => {
  it('is synchronised where systemd-timesyncd says so', async () => {
    put('sys/devices/system/clocksource/clocksource0/current_clocksource', 'kvm-clock\n');
    put('run/systemd/timesync/synchronized', '');
    expect(await clockFacts(root, limits())).toMatchObject({
      source: 'kvm-clock',
      synchronised: true,
      synchronisedHow: '/run/systemd/timesync/synchronized',
    });
  });
});
