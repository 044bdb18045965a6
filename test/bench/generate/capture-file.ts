import { closeSync, openSync, writeSync } from 'node:fs';

export const CAPTURE_FORMATS = ['pcap', 'pcap-ns', 'pcap-be', 'pcapng'] as const;
export type CaptureFormat = (typeof CAPTURE_FORMATS)[number];

/** LINKTYPE_ETHERNET and LINKTYPE_LINUX_SLL2. */
const LINK_TYPES = { ethernet: 1, sll2: 276 } as const;

const SNAPLEN = 262_144;
/** Written at once. */
const CHUNK = 1 << 20;
/** More than a frame with its header ever takes here. */
const ROOM = 4096;

/** pcapng: the packet is on one of these two, by its side of the translation. */
const INTERFACE_NAMES = ['vethclient', 'vethpod'] as const;

/**
 * A capture file that grows as packets are added, in constant memory. A packet is added by writing its
 * frame at `frame()` into `bytes` and telling its length to `add`. `close` flushes and closes.
 */
export class CaptureFile {
  readonly bytes = Buffer.alloc(CHUNK + ROOM);
  private readonly file: number;
  private readonly format: CaptureFormat;
  private readonly startSeconds: number;
  private at = 0;
  private written = 0;

  constructor(
    path: string,
    format: CaptureFormat,
    link: keyof typeof LINK_TYPES,
    startSeconds: number,
  ) {
    this.file = openSync(path, 'w');
    this.format = format;
    this.startSeconds = startSeconds;
    if (format === 'pcapng') this.pcapngHead(LINK_TYPES[link]);
    else this.pcapHead(LINK_TYPES[link]);
  }

  /** Where the next frame begins. */
  frame(): number {
    return this.at + (this.format === 'pcapng' ? 28 : 16);
  }

  /** `us` after the file's beginning; `side` 0 before the translation, 1 after it. */
  add(length: number, us: number, side: 0 | 1): void {
    if (this.format === 'pcapng') this.pcapngPacket(length, us, side);
    else this.pcapPacket(length, us);
    if (this.at > CHUNK) this.flush();
  }

  /** Bytes of the whole file. */
  close(): number {
    this.flush();
    closeSync(this.file);
    return this.written;
  }

  private flush(): void {
    this.written += writeSync(this.file, this.bytes, 0, this.at);
    this.at = 0;
  }

  private pcapHead(linkType: number): void {
    const magic = this.format === 'pcap-ns' ? 0xa1b23c4d : 0xa1b2c3d4;
    const words = [magic, undefined, 0, 0, SNAPLEN, linkType];
    for (const [i, word] of words.entries()) {
      if (word !== undefined) this.word(i * 4, word);
      else if (this.format === 'pcap-be') this.word(4, (2 << 16) | 4);
      else this.word(4, (4 << 16) | 2);
    }
    this.at = 24;
  }

  private pcapPacket(length: number, us: number): void {
    const fraction = us % 1_000_000;
    this.word(this.at, this.startSeconds + Math.floor(us / 1_000_000));
    this.word(this.at + 4, this.format === 'pcap-ns' ? fraction * 1000 + (us % 997) : fraction);
    this.word(this.at + 8, length);
    this.word(this.at + 12, length);
    this.at += 16 + length;
  }

  private word(at: number, value: number): void {
    if (this.format === 'pcap-be') this.bytes.writeUInt32BE(value >>> 0, at);
    else this.bytes.writeUInt32LE(value >>> 0, at);
  }

  private pcapngHead(linkType: number): void {
    // Section header: no options, length unknown.
    this.block(0x0a0d0d0a, 16, (p) => {
      this.word(p, 0x1a2b3c4d);
      this.word(p + 4, 1);
      this.word(p + 8, 0xffffffff);
      this.word(p + 12, 0xffffffff);
    });
    for (const name of INTERFACE_NAMES) {
      const padded = (name.length + 3) & ~3;
      this.block(1, 8 + 4 + padded + 4, (p) => {
        this.word(p, linkType);
        this.word(p + 4, SNAPLEN);
        this.word(p + 8, (name.length << 16) | 2); // if_name
        this.bytes.fill(0, p + 12, p + 12 + padded);
        this.bytes.write(name, p + 12, 'latin1');
        this.word(p + 12 + padded, 0); // opt_endofopt
      });
    }
  }

  private block(type: number, body: number, write: (at: number) => void): void {
    this.word(this.at, type);
    this.word(this.at + 4, body + 12);
    write(this.at + 8);
    this.word(this.at + 8 + body, body + 12);
    this.at += body + 12;
  }

  /** An enhanced packet block, its time in microseconds since 1970 in two halves. */
  private pcapngPacket(length: number, us: number, side: 0 | 1): void {
    const total = this.startSeconds * 1_000_000 + us;
    const padded = (length + 3) & ~3;
    const p = this.at;
    this.word(p, 6);
    this.word(p + 4, 32 + padded);
    this.word(p + 8, side);
    this.word(p + 12, Math.floor(total / 2 ** 32));
    this.word(p + 16, total % 2 ** 32);
    this.word(p + 20, length);
    this.word(p + 24, length);
    this.bytes.fill(0, p + 28 + length, p + 28 + padded);
    this.word(p + 28 + padded, 32 + padded);
    this.at += 32 + padded;
  }
}
