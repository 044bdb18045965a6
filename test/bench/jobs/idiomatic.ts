/**
 * A capture reader as one writes it without thinking of speed: a view of each packet, objects, strings as
 * keys, a Map. Microseconds, little endian, Ethernet, IPv4 only. Counts packets that open or close.
 */
export function idiomaticRead(file: Buffer): number {
  const connections = new Map<string, { packets: number; first: number }>();
  let found = 0;
  let at = 24;
  while (at + 16 <= file.length) {
    const record = readRecord(file, at);
    at += 16 + record.data.length;
    const segment = readSegment(record.data);
    if (segment === undefined || (segment.flags & 7) === 0) continue;
    found++;
    const key = `${segment.src}:${segment.sport}>${segment.dst}:${segment.dport}`;
    const known = connections.get(key);
    if (known === undefined) connections.set(key, { packets: 1, first: record.time });
    else known.packets++;
  }
  return found;
}

function readRecord(file: Buffer, at: number): { time: number; data: Buffer } {
  const length = file.readUInt32LE(at + 8);
  return {
    time: file.readUInt32LE(at) + file.readUInt32LE(at + 4) / 1e6,
    data: file.subarray(at + 16, at + 16 + length),
  };
}

interface Segment {
  readonly src: string;
  readonly dst: string;
  readonly sport: number;
  readonly dport: number;
  readonly flags: number;
}

function readSegment(frame: Buffer): Segment | undefined {
  if (frame.readUInt16BE(12) !== 0x0800) return undefined;
  const ip = frame.subarray(14);
  if (ip.readUInt8(9) !== 6) return undefined;
  const tcp = ip.subarray((ip.readUInt8(0) & 15) * 4);
  return {
    src: [...ip.subarray(12, 16)].join('.'),
    dst: [...ip.subarray(16, 20)].join('.'),
    sport: tcp.readUInt16BE(0),
    dport: tcp.readUInt16BE(2),
    flags: tcp.readUInt8(13),
  };
}
