import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { endpointChainHash, serviceChainHash } from '../../src/decode/rules/chain-names.js';

/** What a generated recording looks like. Everything follows from these numbers: no clock, no chance. */
export interface Shape {
  readonly packets: number;
  /** Packets of one connection, both sides of the translation together: 8 open and close it, the rest carry data. */
  readonly packetsEach: number;
  readonly services: number;
  readonly endpointsEach: number;
}

export interface Generated {
  readonly folder: string;
  readonly capture: string;
  readonly bytes: number;
  readonly packets: number;
  readonly connections: number;
}

const FRAME = 128;
const START_SECONDS = 1_795_377_300;
const CHUNK_PACKETS = 16_384;
/** Packets follow each other by this much, so a million packets take four seconds of event time. */
const GAP_US = 4;

const vip = (service: number): number => 0x0a600000 + service + 1; // 10.96.0.0/16
const podIp = (service: number, endpoint: number, each: number): number =>
  0x0af40000 + service * each + endpoint + 1; // 10.244.0.0/16
const clientIp = (i: number): number => 0x0af50000 + (i % 50_000) + 1; // 10.245.0.0/16
const dotted = (ip: number): string =>
  `${ip >>> 24}.${(ip >>> 16) & 255}.${(ip >>> 8) & 255}.${ip & 255}`;

/** Writes capture.pcap, iptables-save.txt and the objects into a folder. */
export function generate(folder: string, shape: Shape): Generated {
  mkdirSync(folder, { recursive: true });
  const capture = join(folder, 'capture.pcap');
  const connections = Math.floor(shape.packets / shape.packetsEach);
  const packets = connections * shape.packetsEach;
  const bytes = writeCapture(capture, shape, connections);
  writeFileSync(join(folder, 'iptables-save.txt'), rules(shape));
  writeFileSync(join(folder, 'pods.json'), pods(shape));
  return { folder, capture, bytes, packets, connections };
}

function writeCapture(path: string, shape: Shape, connections: number): number {
  const file = openSync(path, 'w');
  const head = Buffer.alloc(24);
  head.writeUInt32LE(0xa1b2c3d4, 0);
  head.writeUInt16LE(2, 4);
  head.writeUInt16LE(4, 6);
  head.writeUInt32LE(262_144, 16);
  head.writeUInt32LE(1, 20);
  let written = writeSync(file, head);
  const chunk = Buffer.alloc(CHUNK_PACKETS * (FRAME + 16));
  let at = 0;
  let number = 0;
  const flush = (): void => {
    written += writeSync(file, chunk, 0, at);
    at = 0;
  };
  const frame = (
    src: number,
    sport: number,
    dst: number,
    dport: number,
    flags: number,
    seq: number,
    ack: number,
  ): void => {
    if (at + FRAME + 16 > chunk.length) flush();
    const us = number++ * GAP_US;
    const options = (flags & 2) !== 0 ? 20 : 12;
    const payload = (flags & 8) !== 0 ? 48 : 0;
    const length = 14 + 20 + 20 + options + payload;
    chunk.writeUInt32LE(START_SECONDS + Math.floor(us / 1_000_000), at);
    chunk.writeUInt32LE(us % 1_000_000, at + 4);
    chunk.writeUInt32LE(length, at + 8);
    chunk.writeUInt32LE(length, at + 12);
    let p = at + 16;
    chunk.fill(0, p, p + length);
    chunk.writeUInt16BE(0x0800, p + 12);
    p += 14;
    chunk[p] = 0x45;
    chunk.writeUInt16BE(length - 14, p + 2);
    chunk.writeUInt16BE(seq & 0xffff, p + 4);
    chunk[p + 6] = 0x40;
    chunk[p + 8] = 64;
    chunk[p + 9] = 6;
    chunk.writeUInt32BE(src, p + 12);
    chunk.writeUInt32BE(dst, p + 16);
    p += 20;
    chunk.writeUInt16BE(sport, p);
    chunk.writeUInt16BE(dport, p + 2);
    chunk.writeUInt32BE(seq, p + 4);
    chunk.writeUInt32BE(ack, p + 8);
    chunk[p + 12] = (20 + options) << 2;
    chunk[p + 13] = flags;
    chunk.writeUInt16BE(64_240, p + 14);
    if (options === 20) {
      chunk.set([2, 4, 5, 0xb4, 4, 2, 8, 10], p + 20);
      chunk.writeUInt32BE(seq >>> 3, p + 28);
      chunk.set([1, 3, 3, 7], p + 36);
    } else {
      chunk.set([1, 1, 8, 10], p + 20);
    }
    at += 16 + length;
  };
  const [SYN, ACK, FIN, PSH] = [2, 16, 1, 8];
  for (let i = 0; i < connections; i++) {
    const service = i % shape.services;
    const endpoint = Math.floor(i / shape.services) % shape.endpointsEach;
    const c = clientIp(i);
    const cp = 1024 + Math.floor(i / 50_000);
    const v = vip(service);
    const e = podIp(service, endpoint, shape.endpointsEach);
    const isn = Math.imul(i + 1, 0x9e3779b1) >>> 0;
    const back = Math.imul(i + 7, 0x85ebca6b) >>> 0;
    frame(c, cp, v, 80, SYN, isn, 0);
    frame(c, cp, e, 8080, SYN, isn, 0);
    frame(e, 8080, c, cp, SYN | ACK, back, isn + 1);
    frame(v, 80, c, cp, SYN | ACK, back, isn + 1);
    for (let n = 8; n < shape.packetsEach; n++) {
      const far = n % 2 === 0;
      if (n % 4 < 2) frame(c, cp, far ? e : v, far ? 8080 : 80, ACK | PSH, isn + 1, back + 1);
      else frame(far ? e : v, far ? 8080 : 80, c, cp, ACK | PSH, back + 1, isn + 1);
    }
    frame(c, cp, v, 80, FIN | ACK, isn + 1, back + 1);
    frame(c, cp, e, 8080, FIN | ACK, isn + 1, back + 1);
    frame(e, 8080, c, cp, FIN | ACK, back + 1, isn + 2);
    frame(v, 80, c, cp, FIN | ACK, back + 1, isn + 2);
  }
  flush();
  closeSync(file);
  return written;
}

/** Rules in the shape that kube-proxy 1.30 writes. */
function rules(shape: Shape): string {
  const chains: string[] = [];
  const dispatch: string[] = [];
  const balance: string[] = [];
  const endpoints: string[] = [];
  for (let s = 0; s < shape.services; s++) {
    const name = `bench/svc-${s}:http`;
    const address = dotted(vip(s));
    const chain = `KUBE-SVC-${serviceChainHash(name, 'tcp')}`;
    chains.push(chain);
    dispatch.push(
      `-A KUBE-SERVICES -d ${address}/32 -p tcp -m comment --comment "${name} cluster IP" -m tcp --dport 80 -j ${chain}`,
    );
    for (let e = 0; e < shape.endpointsEach; e++) {
      const endpoint = `${dotted(podIp(s, e, shape.endpointsEach))}:8080`;
      const sep = `KUBE-SEP-${endpointChainHash(name, 'tcp', endpoint)}`;
      chains.push(sep);
      const left = shape.endpointsEach - e;
      const chance =
        left === 1
          ? ''
          : ` -m statistic --mode random --probability ${(Math.round(2 ** 31 / left) / 2 ** 31).toFixed(11)}`;
      balance.push(`-A ${chain} -m comment --comment "${name} -> ${endpoint}"${chance} -j ${sep}`);
      endpoints.push(
        `-A ${sep} -p tcp -m comment --comment "${name}" -m tcp -j DNAT --to-destination ${endpoint}`,
      );
    }
  }
  return [
    '# Generated by iptables-save v1.8.9 (nf_tables) on Sun Nov 22 19:54:59 2026',
    '*nat',
    ':PREROUTING ACCEPT [0:0]',
    ':OUTPUT ACCEPT [0:0]',
    ':KUBE-SERVICES - [0:0]',
    ...chains.map((chain) => `:${chain} - [0:0]`),
    ...[
      '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      ...dispatch,
      ...balance,
      ...endpoints,
    ].map((rule) => `[0:0] ${rule}`),
    'COMMIT',
    '# Completed on Sun Nov 22 19:54:59 2026',
    '',
  ].join('\n');
}

function pods(shape: Shape): string {
  const items = [];
  for (let s = 0; s < shape.services; s++) {
    for (let e = 0; e < shape.endpointsEach; e++) {
      const ip = dotted(podIp(s, e, shape.endpointsEach));
      items.push({
        metadata: { name: `svc-${s}-${e}`, namespace: 'bench', uid: `uid-${s}-${e}` },
        spec: { nodeName: 'node1' },
        status: { phase: 'Running', podIPs: [{ ip }] },
      });
    }
  }
  return JSON.stringify({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items });
}
