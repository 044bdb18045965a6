import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';

/** Why no namespace with connection tracking can be made here; `undefined` if one can. */
export function namespaceUnavailable(): string | undefined {
  if (process.platform !== 'linux') return 'not Linux';
  if (process.geteuid?.() !== 0) return 'not root';
  for (const program of ['ip', 'iptables', 'ip6tables', 'conntrack']) {
    if (spawnSync(program, ['--version']).error !== undefined) return `not installed: ${program}`;
  }
  return undefined;
}

let made = 0;

/** A network namespace of its own with loopback, in which connections are tracked; `remove` it in the end. */
export class TrackedNamespace {
  readonly name = `wp-ct-${process.pid}-${++made}`;
  readonly enter: readonly string[] = ['ip', 'netns', 'exec', this.name];
  readonly conntrack: readonly string[] = [...this.enter, 'conntrack'];

  constructor() {
    execFileSync('ip', ['netns', 'add', this.name]);
    try {
      execFileSync('ip', ['-n', this.name, 'link', 'set', 'lo', 'up']);
      // The kernel tracks only where a rule asks for it.
      for (const iptables of ['iptables', 'ip6tables']) {
        const rule = ['-A', 'INPUT', '-m', 'conntrack', '--ctstate', 'NEW', '-j', 'ACCEPT'];
        this.run([iptables, ...rule]);
      }
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  run(command: readonly string[]): string {
    const [program = '', ...args] = [...this.enter, ...command];
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Opens and closes so many TCP connections over loopback; the clients' ports. */
  connect(count: number, host = '127.0.0.1'): number[] {
    const script = `
      const net = require('node:net');
      const ports = [];
      const server = net.createServer((peer) => peer.end()).listen(0, '${host}', () => next());
      function next() {
        if (ports.length === ${count}) { console.log(JSON.stringify(ports)); server.close(); return; }
        const client = net.connect(server.address().port, '${host}', () => ports.push(client.localPort));
        client.resume().on('close', next);
      }`;
    return JSON.parse(this.run([process.execPath, '-e', script])) as number[];
  }

  /** One UDP datagram to each of so many ports, nobody answers. */
  datagrams(count: number): void {
    const script = `
      const socket = require('node:dgram').createSocket('udp4').on('error', () => {});
      let sent = 0;
      for (let port = 20000; port < 20000 + ${count}; port++)
        socket.send('x', port, '127.0.0.1', () => { if (++sent === ${count}) socket.close(); });`;
    this.run([process.execPath, '-e', script]);
  }

  /** Process ids of our children that run `conntrack -E` in here. */
  listeners(): number[] {
    const ours = readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1');
    const inode = this.run(['readlink', '/proc/self/ns/net']).trim();
    return ours
      .split(' ')
      .filter((pid) => pid.trim() !== '')
      .map(Number)
      .filter((pid) => {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
        return command.includes('-E') && readlinkSync(`/proc/${pid}/ns/net`) === inode;
      });
  }

  remove(): void {
    execFileSync('ip', ['netns', 'del', this.name]);
  }
}
