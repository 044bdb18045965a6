import type { Writable } from 'node:stream';
import type { OutputEvent } from '../../model/attribution.js';
import type { InputEvent } from '../../model/event.js';
import { UsageError } from '../../model/problem.js';
import { PacketComments } from '../../pipeline/packet-comments.js';
import { escapeText } from '../../sinks/escape.js';
import { CaptureCopy } from '../../sinks/pcapng/capture-copy.js';
import { commentOf } from '../../sinks/pcapng/comment.js';
import { NameTimeline } from '../../sinks/pcapng/name-timeline.js';
import { isOneOf, WholeFile } from '../../sinks/pcapng/whole-file.js';
import type { ReplayInputs } from '../../sources/files/open.js';
import { tapCapture } from '../../sources/files/tap.js';
import type { Io } from '../io.js';
import { Progress } from '../progress.js';
import { version } from '../version.js';
import { CaptureAnnotator } from './capture-annotator.js';

/** What waits to be written: large enough that a write costs little. */
const WRITE_BYTES = 1024 * 1024;

type Inputs = Pick<ReplayInputs, 'captures' | 'files' | 'nodes'>;

/**
 * `replay -w`: what a run's captures have, once more, with what the run found out. Two readings, since what is
 * known of a packet is often said after it.
 */
export class Annotation {
  private readonly path: string;
  private readonly io: Io;
  /** Of addresses that do not say whose they are. */
  private readonly node: string | undefined;
  private readonly comments = new PacketComments(commentOf);
  private readonly names = new NameTimeline();

  /** Throws UsageError where these inputs cannot be written there. */
  static into(path: string, { captures, files, nodes }: Inputs, io: Io): Annotation {
    if (captures.length === 0) {
      throw new UsageError('-w: no capture among the inputs, so there is nothing to annotate');
    }
    const once = captures.find(({ file }) => file.form !== 'file');
    if (once !== undefined) {
      throw new UsageError(
        `-w: captures are read twice, and ${once.file.name} can be read only once; save it into a file first`,
      );
    }
    const same =
      path === '-'
        ? undefined
        : isOneOf(
            path,
            files.map(({ key }) => key),
          );
    if (same !== undefined) {
      throw new UsageError(`-w ${path}: this is an input (${same}); write into another file`);
    }
    return new Annotation(path, io, nodes.length === 1 ? nodes[0] : undefined);
  }

  private constructor(path: string, io: Io, node: string | undefined) {
    this.path = path;
    this.io = io;
    this.node = node === '' ? undefined : node;
  }

  learn(event: InputEvent): void {
    this.names.learn(event, this.node);
  }

  hear(events: readonly OutputEvent[]): void {
    this.comments.hear(events);
  }

  /** Writes it all. When the signal is given meanwhile, or was before, no file is left. */
  async write({ captures }: Inputs): Promise<void> {
    const { io, path } = this;
    if (io.signal.aborted) return this.tell('interrupted: nothing was written');
    const progress = new Progress(io);
    const total = captures.reduce((sum, { file }) => sum + file.size, 0);
    const copy = new CaptureCopy(`whichpod ${version()}`);
    const annotator = new CaptureAnnotator(copy, this.comments, this.names);
    const into = path === '-' ? new Standard(io.stdout) : new Whole(path, io);
    let done = 0;
    const put = async (least: number): Promise<boolean> => {
      if (copy.waiting >= least) for (const bytes of copy.take()) await into.write(bytes);
      return !io.signal.aborted && !into.closed;
    };
    try {
      const seen = new Set<string>();
      for (const source of captures) {
        if (seen.has(source.file.key)) continue;
        seen.add(source.file.key);
        await tapCapture(source, annotator, (read) => {
          done += read;
          progress.packets = annotator.packets;
          progress.show(done, total);
          return put(WRITE_BYTES);
        });
      }
      await put(0);
      progress.end();
      if (io.signal.aborted) return this.tell('interrupted: nothing was written');
      into.finish();
    } finally {
      progress.end();
      into.discard();
    }
    const { blocks, options } = copy.leftOut;
    if (blocks + options > 0) {
      this.tell(
        `${blocks} blocks and ${options} options that contradict themselves were left out: other programs read no further than these`,
      );
    }
    this.tell(
      `${annotator.packets} packets, ${annotator.commented} with a comment; in Wireshark: frame.comment contains "connection=ID"`,
    );
  }

  private tell(text: string): void {
    const name = this.path === '-' ? 'standard output' : this.path;
    this.io.stderr.write(`${escapeText(`${name}: ${text}`)}\n`);
  }
}

/** Where an annotated capture goes. */
interface Target {
  /** Nobody reads it any more. */
  readonly closed: boolean;
  write(bytes: Uint8Array): Promise<void>;
  finish(): void;
  discard(): void;
}

class Whole implements Target {
  readonly closed = false;
  private readonly file: WholeFile;

  constructor(path: string, io: Io) {
    this.file = new WholeFile(path);
    io.onExit(() => this.file.discard());
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.file.write(bytes);
  }

  finish(): void {
    this.file.finish();
  }

  discard(): void {
    this.file.discard();
  }
}

class Standard implements Target {
  closed = false;
  private readonly stream: Writable;

  constructor(stream: Writable) {
    this.stream = stream;
    const gone = (): void => {
      this.closed = true;
    };
    stream.on('error', gone);
    stream.on('close', gone);
  }

  write(bytes: Uint8Array): Promise<void> {
    // The memory is used again once this was written.
    return new Promise((done) => {
      if (this.closed) done();
      else this.stream.write(bytes, () => done());
    });
  }

  finish(): void {
    // It is the process's own.
  }

  discard(): void {
    // What was written is with its reader.
  }
}
