/**
 * `npx tsx test/support/record-faults.ts` makes the faults that docs/diagnoses.md lists on a node in
 * network namespaces and writes `test/explain/data/` anew: captures, conntrack's events, rules, objects
 * and the watch, as a replay reads them. Takes Linux, root, tcpdump and conntrack.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { closeLabsSync, createLab, type Lab } from '../../src/lab/lab.js';
import type { LabOptions } from '../../src/lab/spec.js';
import { BYPASSED, FAULTY } from './faults-lab.js';

const DATA = fileURLToPath(new URL('../explain/data', import.meta.url));
const SNAPLEN = 128;
const NETLINK_NETFILTER = '12';
const RECENT_CAPACITY = 100;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const now = (): number => Date.now() / 1000;

async function must(lab: Lab, where: string, argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await lab.exec(where, argv, { timeoutMs: 20_000 });
  if (code !== 0) throw new Error(`${where}: ${argv.join(' ')}: ${stderr}`);
  return stdout;
}

class Recording {
  readonly lab: Lab;
  readonly folder: string;
  readonly children: ChildProcess[] = [];
  private readonly watch: string[] = [];

  constructor(lab: Lab, folder: string) {
    this.lab = lab;
    this.folder = folder;
  }

  async write(name: string, text: string | Buffer): Promise<void> {
    const path = join(this.folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.gz`, gzipSync(text));
  }

  async start(edit: (objects: Lists) => void = () => {}): Promise<void> {
    const { lab } = this;
    await rm(this.folder, { recursive: true, force: true });
    await mkdir(this.folder, { recursive: true });
    const objects = structuredClone(lab.objects) as unknown as Lists;
    edit(objects);
    for (const [name, list] of Object.entries(objects)) {
      await this.write(`api/${name}.json`, `${JSON.stringify(list)}\n`);
    }
    for (const what of ['addr', 'link', 'route']) {
      await this.write(`net/${what}.json`, await must(lab, 'node', ['ip', '-j', what]));
    }
    await this.rules();
    const capture = ['tcpdump', '-i', 'any', '-p', '-n', '-U', '-B', '8192', '-s', `${SNAPLEN}`];
    const pcap = join(this.folder, 'any.pcap');
    this.run([...capture, '-w', pcap, 'tcp or udp or icmp'], 'ignore');
    const events = openSync(join(this.folder, 'conntrack-events.txt'), 'w');
    this.run(['conntrack', '-E', '-o', 'timestamp,extended,id'], events);
    for (;;) {
      const sockets = await must(lab, 'node', ['cat', '/proc/net/netlink', '/proc/net/packet']);
      const listens = sockets.split('\n').some((line) => {
        const [, protocol, , groups] = line.trim().split(/\s+/);
        return protocol === NETLINK_NETFILTER && Number.parseInt(groups ?? '0', 16) !== 0;
      });
      // A packet socket for all protocols.
      if (listens && /\s0003\s/.test(sockets)) break;
      await sleep(20);
    }
    await sleep(200);
  }

  private run(argv: readonly string[], stdout: number | 'ignore'): void {
    const [command = '', ...words] = [...this.lab.enter('node'), ...argv];
    this.children.push(spawn(command, words, { stdio: ['ignore', stdout, 'ignore'] }));
  }

  /** A dump of the rules, with the time in its name. */
  async rules(): Promise<void> {
    const text = await this.lab.rules();
    await this.write(`iptables-save-${now().toFixed(3)}.txt`, text);
  }

  /** What a watch of the API tells: the Service's slice as `change` leaves it. */
  tell(service: string, change: (endpoints: Endpoint[]) => Endpoint[]): void {
    const lists = structuredClone(this.lab.objects) as unknown as Lists;
    const slice = lists.endpointslices.items.find(
      ({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === service,
    );
    if (slice === undefined) throw new Error(`no slice of ${service}`);
    slice.endpoints = change(slice.endpoints);
    slice.metadata.resourceVersion = `${2 + this.watch.length}`;
    const object = { kind: 'EndpointSlice', apiVersion: 'discovery.k8s.io/v1', ...slice };
    const event = { t: now(), resource: 'endpointslices', type: 'MODIFIED', object };
    this.watch.push(`${JSON.stringify(event)}\n`);
  }

  async stop(): Promise<void> {
    await sleep(700);
    for (const child of this.children) {
      const closed = once(child, 'close');
      child.kill('SIGINT');
      await closed;
    }
    if (this.watch.length > 0) await this.write('api/watch.jsonl', this.watch.join(''));
    for (const name of ['any.pcap', 'conntrack-events.txt']) {
      await this.write(name, await readFile(join(this.folder, name)));
      await rm(join(this.folder, name));
    }
  }
}

interface Endpoint {
  readonly addresses: readonly string[];
  readonly nodeName?: string;
  conditions: { ready: boolean; serving: boolean; terminating: boolean };
}

interface Lists {
  readonly services: { readonly items: { readonly metadata: { name: string }; spec: object }[] };
  readonly endpointslices: {
    readonly items: {
      readonly metadata: { labels?: Record<string, string>; resourceVersion?: string };
      endpoints: Endpoint[];
    }[];
  };
}

const SERVER = `
const [port, does] = process.argv.slice(1);
require('net').createServer((socket) => {
  socket.on('error', () => {});
  if (does === 'resets') socket.once('data', () => socket.resetAndDestroy());
  if (does === 'streams') { const t = setInterval(() => socket.write('tick\\n'), 100); socket.on('close', () => clearInterval(t)); }
}).listen(Number(port), '0.0.0.0');
`;
/** host, port, own port (0: any), milliseconds until its end, what it does. */
const CLIENT = `
const [host, port, own, ms, does] = process.argv.slice(1);
const s = require('net').connect({ host, port: Number(port), ...(own === '0' ? {} : { localPort: Number(own) }) });
s.on('error', () => {});
s.on('data', () => {});
s.on('connect', () => {
  if (does === 'resets') setTimeout(() => s.resetAndDestroy(), 50);
  if (does === 'asks') s.write('ask\\n');
  if (does === 'repeats') setInterval(() => s.write('ask\\n'), 100);
});
setTimeout(() => { s.end(); setTimeout(() => process.exit(0), 300); }, Number(ms));
`;
const UDP = `
const [host, port, own, count] = process.argv.slice(1);
const s = require('dgram').createSocket('udp4');
s.on('error', () => {}); s.on('message', () => {});
s.bind(Number(own), () => s.connect(Number(port), host, () => {
  let i = 0;
  const t = setInterval(() => { s.send(String(i)); if (++i >= Number(count)) { clearInterval(t); setTimeout(() => process.exit(0), 200); } }, 100);
}));
`;

function serve(lab: Lab, pod: string, port: number, does: string): Promise<unknown> {
  return lab.exec(pod, [process.execPath, '-e', SERVER, `${port}`, does]).catch(() => undefined);
}

function call(lab: Lab, name: string, ms: number, does: string, own = 0): Promise<string> {
  const at = name.includes(':') ? name : `${vip(lab, name)}:80`;
  const [host = '', port = ''] = at.split(':');
  return must(lab, 'client', [process.execPath, '-e', CLIENT, host, port, `${own}`, `${ms}`, does]);
}

function vip(lab: Lab, name: string): string {
  const found = lab.options.services.find((service) => service.name === name);
  if (found === undefined) throw new Error(`no Service ${name}`);
  return found.clusterIP;
}

/** Until conntrack has so many entries to a Service: its clients' programs take their time to start. */
async function begun(lab: Lab, name: string, count = 1): Promise<void> {
  const protocol = name === 'dns' ? 'udp' : 'tcp';
  const list = ['conntrack', '-L', '-p', protocol, '--orig-dst', vip(lab, name)];
  for (let i = 0; i < 200; i++) {
    const { stdout } = await lab.exec('node', list);
    if (stdout.split('\n').filter((line) => line !== '').length >= count) return;
    await sleep(20);
  }
  throw new Error(`${name}: no connection`);
}

const rule = (lab: Lab, where: string, ...words: string[]): Promise<string> =>
  must(lab, where, ['iptables-nft', '-w', ...words]);

async function withLab(options: LabOptions, work: (lab: Lab) => Promise<void>): Promise<void> {
  const lab = await createLab(options);
  try {
    await work(lab);
  } finally {
    await lab.close();
  }
}

process.once('SIGINT', () => {
  closeLabsSync();
  process.exit(130);
});

await withLab(FAULTY, async (lab) => {
  const recording = new Recording(lab, join(DATA, 'faults'));
  const forward = ['FORWARD', '-p', 'tcp'];
  const asked = (port: number, ...then: string[]): Promise<string> =>
    rule(lab, 'node', '-I', ...forward, '--dport', `${port}`, ...then);
  await rule(lab, 'web-2', '-A', 'INPUT', '-p', 'tcp', '--dport', '2020', '-j', 'DROP');
  await rule(lab, 'node', '-I', ...forward, '--sport', '3030', '-j', 'DROP');
  await asked(4040, '-j', 'DROP');
  await asked(6060, '-j', 'REJECT');
  // As kube-proxy writes it where a Service with externalTrafficPolicy Local has endpoints elsewhere only.
  const external = [
    'KUBE-EXTERNAL-SERVICES',
    '-d',
    '198.51.100.7/32',
    '-p',
    'tcp',
    '-m',
    'comment',
    '--comment',
  ];
  const web = ['-m', 'tcp', '--dport', '80', '-j'];
  await rule(
    lab,
    'node',
    '-D',
    ...external,
    'shop/local has no endpoints',
    ...web,
    'REJECT',
    '--reject-with',
    'icmp-port-unreachable',
  );
  await rule(lab, 'node', '-A', ...external, 'shop/local has no local endpoints', ...web, 'DROP');
  await must(lab, 'outside', ['ip', 'route', 'add', '198.51.100.7', 'via', FAULTY.nodeAddress]);
  void serve(lab, 'web-1', 7070, 'resets');
  void serve(lab, 'web-1', 7171, 'streams');
  void serve(lab, 'web-3', 9090, 'holds');
  for (const pod of ['web-1', 'web-2']) void serve(lab, pod, 7272, 'holds');
  await sleep(500);
  // The API differs from the rules from the beginning: one endpoint more and one less; one is not ready.
  await recording.start((lists) => {
    for (const { metadata, spec } of lists.services.items) {
      if (metadata.name === 'local') Object.assign(spec, { externalTrafficPolicy: 'Local' });
    }
    for (const { metadata, endpoints } of lists.endpointslices.items) {
      const name = metadata.labels?.['kubernetes.io/service-name'];
      if (name === 'drifts') {
        const [first] = endpoints;
        if (first !== undefined) endpoints.splice(0, 1, { ...first, addresses: ['10.244.1.4'] });
      }
      if (name === 'local') {
        const conditions = { ready: true, serving: true, terminating: false };
        endpoints.push({ addresses: ['10.244.2.2'], nodeName: 'node2', conditions });
      }
      if (name === 'unready') {
        for (const endpoint of endpoints)
          endpoint.conditions = { ready: false, serving: false, terminating: false };
      }
    }
  });
  try {
    const get = (to: string, count = 1, from = 'client', timeoutMs = 600): Promise<unknown> =>
      lab.request({ from, to, count, timeoutMs });
    await get('shop/web', 4);
    await get(`${FAULTY.nodeAddress}:30080`, 1, 'outside');
    await get('198.51.100.7:80', 1, 'outside', 1300);
    await get('shop/refuses');
    await Promise.all(
      ['mute', 'answer-lost', 'syn-lost'].map((name) => get(`shop/${name}`, 1, 'client', 1300)),
    );
    await get('shop/rejected');
    await call(lab, 'pod-resets', 400, 'asks');
    await call(lab, 'client-resets', 400, 'resets');
    const held = call(lab, 'node-resets', 2000, 'repeats');
    await begun(lab, 'node-resets');
    await sleep(300);
    await asked(9090, '-j', 'REJECT', '--reject-with', 'tcp-reset');
    await held;
    const rolled = call(lab, 'rerolled', 1800, 'asks');
    await begun(lab, 'rerolled');
    await must(lab, 'node', ['conntrack', '-D', '-p', 'tcp', '--orig-dst', vip(lab, 'rerolled')]);
    void serve(lab, 'web-1', 2020, 'holds');
    await lab.setEndpoints('shop/rerolled', ['web-1']);
    await recording.rules();
    recording.tell('rerolled', (all) => all);
    await rolled;
    const straight = call(lab, '10.244.1.2:8080', 3000, 'holds', 50_001);
    await sleep(1200);
    await call(lab, 'solo', 300, 'asks', 50_001);
    await straight;
    await get('shop/solo', 1, 'client');
    await get('shop/solo', 1, 'web-1');
    // Affinity: kept; and, with the list of its endpoint filled by others, forgotten.
    await get('shop/sticky', 2, 'other');
    await get('shop/sticky', 1, 'client');
    for (let i = 0; i < 30; i++) {
      const lists = await must(lab, 'node', [
        'sh',
        '-c',
        'grep -l src=10.244.1.5 /proc/net/xt_recent/KUBE-SEP-*',
      ]);
      const [list = ''] = lists.trim().split('\n');
      const others = Array.from(
        { length: RECENT_CAPACITY },
        (_, n) => `echo +10.9.${i}.${n} >${list}`,
      );
      await must(lab, 'node', ['sh', '-c', others.join('\n')]);
      await must(lab, 'node', ['sh', '-c', `! grep -q src=10.244.1.5 ${list}`]);
      await recording.write(
        'recent.txt',
        `${list.split('/').at(-1)}\n${await must(lab, 'node', ['cat', list])}`,
      );
      await get('shop/sticky', 1, 'client');
      const after = await must(lab, 'node', [
        'sh',
        '-c',
        'grep -l src=10.244.1.5 /proc/net/xt_recent/KUBE-SEP-*',
      ]);
      if (after !== lists) break;
    }
    const stream = call(lab, 'flushed', 1500, 'holds');
    await begun(lab, 'flushed');
    await sleep(250);
    await must(lab, 'node', ['conntrack', '-D', '-p', 'tcp', '--orig-dst', vip(lab, 'flushed')]);
    await stream;
    // An endpoint that leaves while a connection to it is open: in the API and in the rules.
    const open = Array.from({ length: 6 }, () => call(lab, 'leaves', 3500, 'holds'));
    await begun(lab, 'leaves', 6);
    await sleep(200);
    recording.tell('leaves', (all) => all.slice(1));
    await lab.setEndpoints('shop/leaves', ['web-2']);
    await recording.rules();
    await Promise.all(open);
    // The API drops an endpoint, and the rules follow later.
    await get('shop/late', 2);
    recording.tell('late', (all) => all.slice(1));
    await sleep(200);
    await get('shop/late', 8);
    await lab.setEndpoints('shop/late', ['web-2']);
    await recording.rules();
    await get('shop/late', 2);
    await get('shop/drifts', 6);
    await get('shop/unready', 1);
    // UDP flows that outlive their endpoint: the API drops it, and nobody clears conntrack's entry.
    const flows = Array.from({ length: 6 }, (_, i) =>
      must(lab, 'client', [
        process.execPath,
        '-e',
        UDP,
        vip(lab, 'dns'),
        '53',
        `${51_000 + i}`,
        '35',
      ]),
    );
    await begun(lab, 'dns', 6);
    await sleep(500);
    recording.tell('dns', (all) => all.slice(1));
    await Promise.all(flows);
  } finally {
    await recording.stop();
  }
});

await withLab(BYPASSED, async (lab) => {
  const recording = new Recording(lab, join(DATA, 'bypassed'));
  if (lab.fallback !== undefined) throw new Error(lab.fallback);
  await recording.start();
  try {
    await lab.request({ from: 'client', to: 'shop/web', count: 2, timeoutMs: 600 });
    await must(lab, 'node', ['sh', '-c', 'echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables']);
    await lab.request({ from: 'other', to: 'shop/web', count: 2, timeoutMs: 600 });
  } finally {
    await recording.stop();
  }
});
