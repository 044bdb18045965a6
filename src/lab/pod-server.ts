import { createSocket } from 'node:dgram';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Socket } from 'node:net';

/**
 * The program in a lab's Pod. It answers with its Pod's name and the peer that it saw: HTTP (JSON) to
 * what begins like a request, one line to a bare newline, one line to each datagram, which it repeats
 * after the answer. It writes `ready` once all ports listen, and ends when stdin closes, so nothing is
 * left when its parent is killed.
 *
 * This file is a program of its own, started as `node pod-server.js '<ServerJob as JSON>'`.
 */
export interface ServerJob {
  readonly pod: string;
  readonly namespace: string;
  readonly tcp: readonly number[];
  readonly udp: readonly number[];
  readonly ip6: boolean;
}

/** What HTTP answers; addresses and ports as this end of the connection sees them. */
export interface ServerAnswer {
  readonly pod: string;
  readonly namespace: string;
  readonly ip: string;
  readonly port: number;
  readonly peer: { readonly ip: string; readonly port: number };
}

/** Answers to as many unaccepted connections as the kernel allows (net.core.somaxconn cuts it). */
const BACKLOG = 4096;
const NEWLINE = 10;

// The parent wrote it.
const job = JSON.parse(process.argv[2] ?? '') as ServerJob;

const http = createHttpServer((request, response) => {
  request.resume();
  response.setHeader('content-type', 'application/json');
  response.setHeader('x-pod', job.pod);
  response.end(`${JSON.stringify(describe(request.socket))}\n`);
});

const hosts = job.ip6 ? ['0.0.0.0', '::'] : ['0.0.0.0'];
const ready: Promise<void>[] = [];
for (const host of hosts) {
  for (const port of job.tcp) ready.push(listenTcp(host, port));
  for (const port of job.udp) ready.push(listenUdp(host, port));
}
process.stdin.on('end', () => process.exit(0)).on('error', () => process.exit(0));
process.stdin.resume();
await Promise.all(ready);
process.stdout.write('ready\n');

function listenTcp(host: string, port: number): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', (first) => {
      if (first[0] === NEWLINE) {
        const { pod, ip, port: own, peer } = describe(socket);
        socket.end(`${pod} ${ip} ${own} ${peer.ip} ${peer.port}\n`);
        return;
      }
      // The documented way to hand a connection to an HTTP server.
      socket.pause();
      socket.unshift(first);
      http.emit('connection', socket);
      socket.resume();
    });
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen({ host, port, backlog: BACKLOG, ipv6Only: host === '::' }, resolve);
  });
}

function listenUdp(host: string, port: number): Promise<void> {
  const socket = createSocket({ type: host === '::' ? 'udp6' : 'udp4', ipv6Only: host === '::' });
  socket.on('message', (query, peer) => {
    const answer = `${job.pod} ${peer.address} ${peer.port} ${query.toString('latin1')}`;
    socket.send(answer, peer.port, peer.address);
  });
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.bind(port, host, resolve);
  });
}

function describe(socket: Socket): ServerAnswer {
  return {
    pod: job.pod,
    namespace: job.namespace,
    ip: socket.localAddress ?? '',
    port: socket.localPort ?? 0,
    peer: { ip: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 },
  };
}
