import { createSocket } from 'node:dgram';
import { Agent, request } from 'node:http';
import { connect, isIPv6, type Socket } from 'node:net';
import type { ServerAnswer } from './pod-server.js';

/**
 * Sends a bounded number of requests from the network namespace in which it was started and writes what
 * really happened, one JSON object a line, in the order in which the requests ended.
 *
 * This file is a program of its own, started as `node traffic-client.js '<TrafficJob as JSON>'`.
 */
export interface TrafficJob {
  /** http: a request; line: the cheapest connection that is answered; udp: a datagram that is answered. */
  readonly mode: 'http' | 'line' | 'udp';
  readonly from: string;
  readonly service: string;
  readonly host: string;
  readonly port: number;
  readonly count: number;
  readonly concurrency: number;
  /** At most so many begin in a second; absent: as fast as it goes. */
  readonly perSecond?: number;
  /** http: connections are used again; udp: one socket for all queries, one after the other. */
  readonly keepAlive: boolean;
  readonly timeoutMs: number;
  /** Source ports are taken in turn from `first` on, `size` of them; absent: the kernel chooses. */
  readonly sourcePorts?: { readonly first: number; readonly size: number };
}

/** The truth about one request. Times are seconds since 1970 by this machine's clock. */
export interface TruthRow {
  /** Ordinal of the request, from 0. */
  readonly i: number;
  /** Ordinal of the connection (TCP) or socket (UDP), from 0. */
  readonly conn: number;
  /** Name of the Pod that asked, `node`, or `outside`. */
  readonly from: string;
  readonly proto: 'tcp' | 'udp';
  /** `namespace/name:portName`, or empty when no Service was addressed. */
  readonly svc: string;
  /** As the client used them; absent if the connection failed before its port was known. */
  readonly src?: string;
  readonly sport?: number;
  readonly dst: string;
  readonly dport: number;
  readonly t0: number;
  /** When the TCP connection was established. */
  readonly tc?: number;
  readonly t1: number;
  readonly ok: boolean;
  readonly err?: string;
  /** Who answered, by its own word, and its end of the connection (TCP). */
  readonly pod?: string;
  readonly podIP?: string;
  readonly podPort?: number;
  /** The peer that the Pod saw. */
  readonly seenSrc?: string;
  readonly seenSport?: number;
  readonly keepalive: boolean;
}

/** What one request comes to know on its way; a row is made of it at the end. */
interface Trip {
  readonly i: number;
  readonly t0: number;
  conn: number;
  src?: string | undefined;
  sport?: number | undefined;
  tc?: number;
  answer?: Partial<Pick<TruthRow, 'pod' | 'podIP' | 'podPort' | 'seenSrc' | 'seenSport'>>;
  over: boolean;
}

/** Pacing: starts that are due are made so often. */
const PACE_MS = 4;
/** Rows are written in pieces of about this many characters: one write a row would cost more than the row. */
const WRITE_CHARACTERS = 16_384;

/** How often connections are looked at that may have waited too long. */
const LATE_MS = 100;
/** Longer than any answer. */
const LINE_BUFFER = Buffer.alloc(1024);

// The parent wrote it.
const job = JSON.parse(process.argv[2] ?? '') as TrafficJob;
const agent = new Agent({ keepAlive: true, maxSockets: job.concurrency });
const connections = new WeakMap<Socket, number>();

const underWay = new Map<Socket, Trip>();

let started = 0;
let finished = 0;
let made = 0;
let text = '';

const firstStart = now();
process.stdin.on('end', () => process.exit(1)).on('error', () => process.exit(1));
process.stdin.resume();
if (job.mode === 'line') setInterval(giveUpLate, LATE_MS);
if (job.mode === 'udp' && job.keepAlive) askOverOneSocket();
else fill();

/** Wall clock in seconds, with the microseconds that Date does not have. */
function now(): number {
  return (performance.timeOrigin + performance.now()) / 1000;
}

function fill(): void {
  while (started < job.count && started - finished < job.concurrency) {
    if (job.perSecond !== undefined && started >= (now() - firstStart) * job.perSecond) {
      setTimeout(fill, PACE_MS);
      return;
    }
    const trip: Trip = { i: started, t0: now(), conn: started, over: false };
    started++;
    if (job.mode === 'line') askLine(trip);
    else if (job.mode === 'http') askHttp(trip);
    else askDatagram(trip);
  }
}

function sourcePort(i: number): number | undefined {
  return job.sourcePorts === undefined
    ? undefined
    : job.sourcePorts.first + (i % job.sourcePorts.size);
}

/** Writes the row, once, and starts what may start now. */
function finish(trip: Trip, err?: string): void {
  if (trip.over) return;
  trip.over = true;
  const row: TruthRow = {
    i: trip.i,
    conn: trip.conn,
    from: job.from,
    proto: job.mode === 'udp' ? 'udp' : 'tcp',
    svc: job.service,
    ...(trip.src === undefined ? {} : { src: trip.src }),
    ...(trip.sport === undefined ? {} : { sport: trip.sport }),
    dst: job.host,
    dport: job.port,
    t0: trip.t0,
    ...(trip.tc === undefined ? {} : { tc: trip.tc }),
    t1: now(),
    ok: err === undefined,
    ...(err === undefined ? {} : { err }),
    ...trip.answer,
    keepalive: job.keepAlive,
  };
  text += `${JSON.stringify(row)}\n`;
  finished++;
  if (finished === job.count) {
    process.stdout.write(text, () => process.exit(0));
    return;
  }
  // When paced or slow, each row is wanted at once; under load they travel together.
  if (text.length >= WRITE_CHARACTERS || job.mode !== 'line') {
    process.stdout.write(text);
    text = '';
  }
  if (!(job.mode === 'udp' && job.keepAlive)) fill();
}

function connected(trip: Trip, socket: Socket): void {
  trip.src = socket.localAddress;
  trip.sport = socket.localPort;
  trip.tc = now();
}

/**
 * Written for many connections a second: the answer goes into one buffer for all (it is taken out at
 * once), and one timer looks after all that are under way.
 */
function askLine(trip: Trip): void {
  const localPort = sourcePort(trip.i);
  trip.sport = localPort;
  let line = '';
  const socket = connect({
    host: job.host,
    port: job.port,
    ...(localPort === undefined ? {} : { localPort }),
    onread: {
      buffer: LINE_BUFFER,
      callback: (length, buffer) => {
        line += Buffer.from(buffer.buffer, buffer.byteOffset, length).toString('latin1');
        return true;
      },
    },
  });
  underWay.set(socket, trip);
  socket.once('connect', () => connected(trip, socket));
  socket.on('error', (error) => finish(trip, codeOf(error)));
  socket.on('close', () => {
    underWay.delete(socket);
    const [pod, podIP, podPort, seenSrc, seenSport] = line.trimEnd().split(' ');
    if (pod === undefined || podIP === undefined || seenSrc === undefined) {
      finish(trip, 'no answer');
      return;
    }
    trip.answer = {
      pod,
      podIP,
      podPort: Number(podPort),
      seenSrc,
      seenSport: Number(seenSport),
    };
    finish(trip);
  });
  socket.write('\n');
}

function giveUpLate(): void {
  const oldest = now() - job.timeoutMs / 1000;
  for (const [socket, trip] of underWay) {
    if (trip.t0 > oldest) return; // in the order of their starts
    finish(trip, 'timeout');
    socket.destroy();
  }
}

function askHttp(trip: Trip): void {
  const localPort = sourcePort(trip.i);
  trip.sport = localPort;
  const call = request({
    host: job.host,
    port: job.port,
    path: '/',
    agent: job.keepAlive ? agent : false,
    timeout: job.timeoutMs,
    ...(localPort === undefined ? {} : { localPort }),
  });
  call.on('socket', (socket) => {
    const known = connections.get(socket);
    trip.conn = known ?? made++;
    connections.set(socket, trip.conn);
    if (socket.connecting) socket.once('connect', () => connected(trip, socket));
    else connected(trip, socket);
  });
  call.on('response', (response) => {
    const pieces: Buffer[] = [];
    response.on('data', (piece: Buffer) => pieces.push(piece));
    response.on('error', (error) => finish(trip, codeOf(error)));
    response.on('end', () => {
      const answer = JSON.parse(Buffer.concat(pieces).toString()) as ServerAnswer;
      trip.answer = {
        pod: answer.pod,
        podIP: answer.ip,
        podPort: answer.port,
        seenSrc: answer.peer.ip,
        seenSport: answer.peer.port,
      };
      finish(trip);
    });
  });
  call.on('timeout', () => {
    finish(trip, 'timeout');
    call.destroy();
  });
  call.on('error', (error) => finish(trip, codeOf(error)));
  call.end();
}

function askDatagram(trip: Trip): void {
  const socket = createSocket(isIPv6(job.host) ? 'udp6' : 'udp4');
  const timer = setTimeout(() => over('timeout'), job.timeoutMs);
  const over = (err?: string): void => {
    clearTimeout(timer);
    socket.close();
    finish(trip, err);
  };
  socket.on('error', (error) => over(codeOf(error)));
  socket.on('message', (message) => {
    trip.answer = datagramAnswer(message);
    over();
  });
  socket.bind(sourcePort(trip.i) ?? 0, () => {
    socket.connect(job.port, job.host, () => {
      ({ address: trip.src, port: trip.sport } = socket.address());
      socket.send(String(trip.i));
    });
  });
}

/** One after the other, so that an answer belongs to the query before it; a late one is told by its number. */
function askOverOneSocket(): void {
  const socket = createSocket(isIPv6(job.host) ? 'udp6' : 'udp4');
  let trip: Trip | undefined;
  let timer: NodeJS.Timeout | undefined;
  const over = (err?: string): void => {
    clearTimeout(timer);
    if (trip !== undefined) finish(trip, err);
    if (started < job.count) next();
  };
  const next = (): void => {
    const { address: src, port: sport } = socket.address();
    trip = { i: started, t0: now(), conn: 0, src, sport, over: false };
    started++;
    timer = setTimeout(() => over('timeout'), job.timeoutMs);
    socket.send(String(trip.i));
  };
  socket.on('error', (error) => over(codeOf(error)));
  socket.on('message', (message) => {
    const [, , , i] = message.toString('latin1').split(' ');
    if (trip === undefined || trip.over || Number(i) !== trip.i) return;
    trip.answer = datagramAnswer(message);
    over();
  });
  socket.bind(sourcePort(0) ?? 0, () => socket.connect(job.port, job.host, next));
}

function datagramAnswer(message: Buffer): NonNullable<Trip['answer']> {
  const [pod = '', seenSrc = '', seenSport] = message.toString('latin1').split(' ');
  return { pod, seenSrc, seenSport: Number(seenSport) };
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}
