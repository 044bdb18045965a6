import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { CaptureFile, type CaptureFormat } from './capture-file.js';
import { endpointSlices, listText, pods, services } from './objects.js';
import { iptablesSave } from './rules.js';
import { writeTextFile } from './text-file.js';
import { OPEN_AND_CLOSE, type TrafficShape, writeTraffic } from './traffic.js';
import { type Family, START_SECONDS, type World } from './world.js';

export interface RecordingShape extends World, TrafficShape {
  readonly format: CaptureFormat;
}

/** 10 packets a connection, 172 bytes a packet. */
export const STANDARD: RecordingShape = {
  packets: 5_000_000,
  connections: 500_000,
  format: 'pcap',
  link: 'ethernet',
  vlan: false,
  ipv6Share: 0,
  retransmitShare: 0.01,
  reuseShare: 0.01,
  live: 1000,
  payload: 430,
  services: 100,
  endpointsEach: 10,
  clients: 1000,
  seed: 1,
};

export interface Recording {
  readonly folder: string;
  readonly capture: string;
  readonly captureBytes: number;
  readonly shape: RecordingShape;
}

/** What an MTU of 1,500 leaves with options and IPv6. */
const MAX_PAYLOAD = 1_428;

/** What is wrong with a shape; `undefined` if nothing is. */
export function faultOf(shape: RecordingShape): string | undefined {
  if (shape.packets < shape.connections * OPEN_AND_CLOSE) {
    return `a connection has at least ${OPEN_AND_CLOSE} packets, so ${shape.connections} need ${shape.connections * OPEN_AND_CLOSE}`;
  }
  if (!(shape.connections >= 1 && shape.live >= 1)) return 'there is at least one connection';
  if (shape.payload > MAX_PAYLOAD) return `a segment carries at most ${MAX_PAYLOAD} bytes`;
  if (shape.vlan && shape.link === 'sll2') return 'SLL2 has no VLAN tag';
  return undefined;
}

/**
 * Writes a capture with the rules and the objects of its time into a folder, all of it in constant memory:
 * the same bytes for the same shape. Every connection of it can be attributed.
 */
export function writeRecording(folder: string, shape: RecordingShape): Recording {
  mkdirSync(folder, { recursive: true });
  const families: Family[] = shape.ipv6Share > 0 ? [4, 6] : [4];
  const capture = join(folder, shape.format === 'pcapng' ? 'capture.pcapng' : 'capture.pcap');
  const file = new CaptureFile(capture, shape.format, shape.link, START_SECONDS);
  writeTraffic(file, shape, shape);
  const captureBytes = file.close();
  for (const family of families) {
    const name = family === 4 ? 'iptables-save.txt' : 'ip6tables-save.txt';
    writeTextFile(join(folder, name), iptablesSave(shape, family));
  }
  writeTextFile(join(folder, 'pods.json'), listText('Pod', pods(shape, families)));
  writeTextFile(join(folder, 'services.json'), listText('Service', services(shape, families)));
  writeTextFile(
    join(folder, 'endpointslices.json'),
    listText('EndpointSlice', endpointSlices(shape, families)),
  );
  return { folder, capture, captureBytes, shape };
}
