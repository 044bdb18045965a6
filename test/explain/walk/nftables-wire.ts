import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { readNftJson } from '../../../src/decode/rules/nft-json.js';
import { deleteNamespaces, newLabPrefix } from '../../../src/lab/namespaces.js';
import type { NftablesRules } from '../../../src/model/ruleset.js';

const PEER = fileURLToPath(new URL('./scripts/nftables-peer.mjs', import.meta.url));

/** Where datagrams go that show that all before them have arrived; rules let them pass without a word. */
export const END_PORT = 9999;
export const CLIENT = '10.9.0.2';
export const NODE = '10.9.0.1';
export const BACKENDS = ['10.9.1.10', '10.9.1.11', '10.9.1.12', '10.9.1.13'] as const;
export const SERVICES = ['10.96.0.10', '10.96.0.11'] as const;
export const PORTS = [80, 81, 8080] as const;
export const FROM_CLIENT = 'p0';
export const TO_BACKENDS = 's0';

/** nft names ten errors at a time. */
const MAX_TRIES = 20;

export interface Datagram {
  readonly port: number;
  readonly to: string;
  readonly toPort: number;
}

/** Where a datagram arrived, and whose it seemed to be. */
export interface Arrival {
  readonly at: string;
  readonly from: string;
}

/** A client, a node and the backends behind it, each in a network namespace; the node's rules are the test's. */
export class Wire {
  private readonly names: readonly string[];
  private readonly peers: readonly Peer[];
  private orders = 0;

  private constructor(names: readonly string[], peers: readonly Peer[]) {
    this.names = names;
    this.peers = peers;
  }

  static async open(): Promise<Wire> {
    const prefix = newLabPrefix();
    const [client, node, backends] = ['c', 'n', 'b'].map((which) => prefix + which);
    if (client === undefined || node === undefined || backends === undefined) throw new Error();
    const names = [client, node, backends];
    try {
      ip(names.map((name) => `netns add ${name}`));
      ip([
        `link add name p0 netns ${node} type veth peer name eth0 netns ${client}`,
        `link add name s0 netns ${node} type veth peer name eth0 netns ${backends}`,
      ]);
      inside(client, [
        'link set lo up',
        `addr add ${CLIENT}/24 dev eth0`,
        'link set eth0 up',
        `route add default via ${NODE}`,
      ]);
      inside(node, [
        'link set lo up',
        `addr add ${NODE}/24 dev p0`,
        'addr add 10.9.1.1/24 dev s0',
        'link set p0 up',
        'link set s0 up',
        'route add default via 10.9.1.10',
      ]);
      inside(backends, [
        'link set lo up',
        ...BACKENDS.map((address) => `addr add ${address}/24 dev eth0`),
        ...SERVICES.map((address) => `addr add ${address}/32 dev lo`),
        'link set eth0 up',
        'route add default via 10.9.1.1',
      ]);
      execFileSync('ip', ['netns', 'exec', node, 'sysctl', '-qw', 'net.ipv4.ip_forward=1']);
      const bound = [...BACKENDS, ...SERVICES].flatMap((to) =>
        PORTS.map((port) => `${to}:${port}`),
      );
      const peers = [
        new Peer(client, []),
        new Peer(backends, [...bound, `${BACKENDS[0]}:${END_PORT}`]),
        new Peer(
          node,
          PORTS.map((port) => `${NODE}:${port}`),
        ),
      ];
      await Promise.all(peers.map((peer) => peer.ready));
      return new Wire(names, peers);
    } catch (error) {
      deleteNamespaces(names);
      throw error;
    }
  }

  /** Loads rules without the lines that nft refuses (conditions that contradict each other); how many it took. */
  load(rules: string): number {
    const lines = ['flush ruleset', ...rules.split('\n')];
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      try {
        this.nft(['-f', '-'], lines.join('\n'));
        return lines.filter((line) => line.startsWith('counter')).length;
      } catch (error) {
        const said = String((error as { stderr?: unknown }).stderr);
        const refused = [...said.matchAll(/stdin:(\d+):/g)].map(([, line]) => Number(line) - 1);
        const rule = refused.find((at) => lines[at]?.startsWith('counter'));
        if (rule === undefined) throw error;
        for (const at of refused) if (lines[at]?.startsWith('counter')) lines[at] = '';
      }
    }
    throw new Error(`nft takes nothing of\n${rules}`);
  }

  list(): { readonly json: string; readonly rules: NftablesRules } {
    const json = this.nft(['-j', 'list', 'ruleset']);
    const { rules, problems } = readNftJson(Buffer.from(json));
    const [table] = rules;
    if (!table || problems.length > 0) throw new Error(`not read: ${JSON.stringify(problems)}`);
    return { json, rules: table };
  }

  /** What nft prints for people, without counters' values, by handle. */
  printed(): ReadonlyMap<number, string> {
    const lines = this.nft(['-s', '-a', 'list', 'ruleset']).split('\n');
    const rules = lines.map((line) => /^\t\t(.*) # handle (\d+)$/.exec(line));
    return new Map(rules.flatMap((rule) => (rule ? [[Number(rule[2]), rule[1] ?? '']] : [])));
  }

  /** Sends one and waits until it has gone its way: where it came out, if it did. */
  async send({ port, to, toPort }: Datagram): Promise<Arrival | undefined> {
    const id = await this.order(port, to, toPort, toPort);
    await this.flush();
    return this.arrived().find((one) => one.id === id);
  }

  /** One datagram to each of the ports from `first` to `last`: as many flows. */
  async sendMany(port: number, to: string, first: number, last: number): Promise<void> {
    await this.order(port, to, first, last);
    await this.flush();
  }

  close(): void {
    for (const peer of this.peers) peer.close();
    deleteNamespaces(this.names);
  }

  private arrived(): readonly (Arrival & { readonly id: number })[] {
    return this.peers.flatMap(({ seen }) => seen);
  }

  private async flush(): Promise<void> {
    const id = await this.order(END_PORT, BACKENDS[0], END_PORT, END_PORT);
    await this.peers[1]?.arrival(id);
    // The node's own sockets have no part in that: what they have got is asked for by their own turn.
    await this.peers[2]?.turn(++this.orders);
  }

  private async order(port: number, to: string, first: number, last: number): Promise<number> {
    const id = ++this.orders;
    await this.peers[0]?.tell({ from: CLIENT, port, to, first, last, id }, id);
    return id;
  }

  private nft(args: readonly string[], input = ''): string {
    return this.exec(['nft', ...args], input);
  }

  /** Runs a program on the node: what it says. */
  exec(argv: readonly string[], input = ''): string {
    return execFileSync('ip', ['netns', 'exec', this.names[1] ?? '', ...argv], {
      input,
      encoding: 'utf8',
      maxBuffer: 64 << 20,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  }
}

type Said = { readonly sent?: number; readonly ready?: boolean } & Arrival & {
    readonly id?: number;
  };

class Peer {
  readonly ready: Promise<void>;
  readonly seen: (Arrival & { readonly id: number })[] = [];
  private readonly child: ChildProcess;
  private readonly waiting: { readonly is: (said: Said) => boolean; readonly go: () => void }[] =
    [];

  constructor(namespace: string, listening: readonly string[]) {
    const argv = ['netns', 'exec', namespace, process.execPath, PEER, ...listening];
    this.child = spawn('ip', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.ready = this.until((said) => said.ready === true);
    const { stdout } = this.child;
    if (!stdout) throw new Error('no pipe');
    createInterface({ input: stdout }).on('line', (line) => {
      const said = JSON.parse(line) as Said;
      const { id } = said;
      if (id !== undefined) this.seen.push({ ...said, id });
      for (const one of [...this.waiting]) {
        if (!one.is(said)) continue;
        this.waiting.splice(this.waiting.indexOf(one), 1);
        one.go();
      }
    });
  }

  tell(order: object, id: number): Promise<void> {
    const done = this.until(({ sent }) => sent === id);
    this.child.stdin?.write(`${JSON.stringify(order)}\n`);
    return done;
  }

  arrival(id: number): Promise<void> {
    return this.seen.some((one) => one.id === id)
      ? Promise.resolve()
      : this.until((said) => said.id === id);
  }

  /** Comes back when everything that had arrived before is told. */
  turn(id: number): Promise<void> {
    return this.tell({ from: '127.0.0.1', port: 0, to: '127.0.0.1', first: 1, last: 0, id }, id);
  }

  close(): void {
    this.child.stdin?.end();
  }

  private until(is: (said: Said) => boolean): Promise<void> {
    return new Promise((go) => {
      this.waiting.push({ is, go });
    });
  }
}

function ip(lines: readonly string[], ...options: readonly string[]): void {
  execFileSync('ip', [...options, '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

function inside(namespace: string, lines: readonly string[]): void {
  ip(lines, '-n', namespace);
}
