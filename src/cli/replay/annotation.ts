import { basename } from 'node:path';
import type { Writable } from 'node:stream';
import type { OutputEvent } from '../../model/attribution.js';
import type { InputEvent } from '../../model/event.js';
import { UsageError } from '../../model/problem.js';
import { widen } from '../../native/widen.js';
import { PacketComments } from '../../pipeline/packet-comments.js';
import { escapeText } from '../../sinks/escape.js';
import { CaptureSurvey } from '../../sinks/pcapng/capture-survey.js';
import { commentOf } from '../../sinks/pcapng/comment.js';
import { CopiedCapture } from '../../sinks/pcapng/copied-capture.js';
import { NameTimeline } from '../../sinks/pcapng/name-timeline.js';
import { OneSection } from '../../sinks/pcapng/one-section.js';
import { isOneOf, WholeFile } from '../../sinks/pcapng/whole-file.js';
import type { InputBytes } from '../../sources/files/chunks.js';
import type { ReplayInputs } from '../../sources/files/open.js';
import { tapCapture } from '../../sources/files/tap.js';
import type { Io } from '../io.js';
import { Progress } from '../progress.js';
import { version } from '../version.js';
import { CaptureAnnotator } from './capture-annotator.js';
import { CaptureCursor, firstTwo } from './capture-cursor.js';
import type { Pipes } from './pipes.js';

/** What waits to be written: large enough that a write costs little. */
const WRITE_BYTES = 1024 * 1024;

type Inputs = Pick<ReplayInputs, 'captures' | 'files' | 'nodes'>;

/** A capture that can be read as often as wanted. */
interface Again {
  /** Of the file alone. */
  readonly name: string;
  readonly size: number;
  chunks(): AsyncIterable<Uint8Array>;
}

/**
 * `replay -w`: what a run's captures have, once more, with what the run found out. Their packets are read again,
 * since what is known of one is often said after it. To be closed, whatever happens.
 */
export class Annotation {
  private readonly path: string;
  private readonly io: Io;
  /** Of addresses that do not say whose they are. */
  private readonly node: string | undefined;
  private readonly comments = new PacketComments(commentOf);
  private readonly names = new NameTimeline();
  private readonly into: Target;
  private readonly captures: readonly Again[];
  private readonly progress: Progress;
  private readonly total: number;
  private done = 0;

  /**
   * Begins to write there. `pipes`: what keeps those captures that can be read only once. Throws UsageError or
   * PermissionError where these inputs cannot be written there.
   */
  static into(path: string, inputs: Inputs, pipes: Pipes, io: Io): Annotation {
    if (inputs.captures.length === 0) {
      throw new UsageError('-w: no capture among the inputs, so there is nothing to annotate');
    }
    const keys = inputs.files.map(({ key }) => key);
    const same = path === '-' ? undefined : isOneOf(path, keys);
    if (same !== undefined) {
      throw new UsageError(`-w ${path}: this is an input (${same}); write into another file`);
    }
    return new Annotation(path, inputs, pipes, io);
  }

  private constructor(path: string, { captures, nodes }: Inputs, pipes: Pipes, io: Io) {
    this.path = path;
    this.io = io;
    const [node = ''] = nodes;
    this.node = nodes.length === 1 && node !== '' ? node : undefined;
    this.into = path === '-' ? new Standard(io.stdout) : new Whole(path, io);
    const distinct = new Map(captures.map((it) => [it.file.key, it]));
    this.captures = [...distinct.values()].map(({ file, bytes }): Again => {
      const name = basename(file.name);
      const kept = pipes.get(file.key);
      if (kept !== undefined) return { name, size: 0, chunks: () => kept.chunks() };
      return { name, size: file.size, chunks: () => this.counted(bytes) };
    });
    // Read for what they begin with, and for their packets.
    this.total = 2 * this.captures.reduce((sum, { size }) => sum + size, 0);
    this.progress = new Progress(io);
  }

  learn(event: InputEvent): void {
    this.names.learn(event, this.node);
  }

  hear(events: readonly OutputEvent[]): void {
    this.comments.hear(events);
  }

  /** Writes it all. When the signal is given meanwhile, or was before, no file is left. */
  async write(): Promise<void> {
    const survey = await this.survey();
    const section = new OneSection(`whichpod ${version()}`, survey);
    const keepsState = this.captures.length === 1;
    const annotator = new CaptureAnnotator(section, this.comments, this.names, keepsState);
    const cursors = this.captures.map(
      ({ name, chunks }, position) =>
        new CaptureCursor(chunks(), this.comments, new CopiedCapture(section, name), position),
    );
    try {
      await this.merge(cursors, annotator, section);
    } finally {
      for (const cursor of cursors) await cursor.close();
      this.progress.end();
    }
    if (this.io.signal.aborted) return this.tell('interrupted: nothing was written');
    await this.into.write(section.take());
    this.into.finish();
    this.report(section, annotator);
  }

  /** Takes away what is not finished. */
  close(): void {
    this.into.discard();
  }

  private async survey(): Promise<CaptureSurvey> {
    const survey = new CaptureSurvey();
    for (const { name, chunks } of this.captures) {
      survey.input(name);
      for await (const _ of tapCapture(chunks(), survey)) if (!this.goesOn) break;
    }
    return survey;
  }

  /** The bytes of a file, of which it is shown how many were read. */
  private async *counted(bytes: InputBytes): AsyncGenerator<Uint8Array> {
    let before = 0;
    for await (const chunk of bytes.chunks(() => undefined)) {
      this.done += bytes.readBytes - before;
      before = bytes.readBytes;
      this.progress.show(this.done, this.total);
      yield chunk;
    }
  }

  /** Whether anybody wants the rest. */
  private get goesOn(): boolean {
    return !this.io.signal.aborted && !this.into.closed;
  }

  /** In the order of their times, each in its own. */
  private async merge(
    cursors: readonly CaptureCursor[],
    annotator: CaptureAnnotator,
    section: OneSection,
  ): Promise<void> {
    const open: CaptureCursor[] = [];
    for (const cursor of cursors) {
      if (!this.goesOn) return;
      if (await cursor.read()) open.push(cursor);
    }
    for (;;) {
      const [first, next] = firstTwo(open);
      if (first === undefined) return;
      let { head } = first;
      while (head !== undefined) {
        annotator.take(head, first.copied);
        first.advance();
        head = first.head;
        if (next?.isBefore(first) === true) break;
      }
      if (head !== undefined) continue;
      // Only now, since the memory of what was read before is used again.
      if (!(await first.read())) open.splice(open.indexOf(first), 1);
      this.progress.packets = annotator.packets;
      if (!this.goesOn) return;
      if (section.waiting >= WRITE_BYTES) await this.into.write(section.take());
    }
  }

  private report(section: OneSection, { packets, commented, stateless }: CaptureAnnotator): void {
    const { blocks, options } = section.leftOut;
    if (blocks + options > 0) {
      this.tell(
        `${blocks} blocks and ${options} options that contradict themselves were left out: other programs read no further than these`,
      );
    }
    if (stateless > 0) {
      this.tell(
        'the state of whichpod recordings was left out: what is written is a capture; to have it in the file, annotate a recording alone',
      );
    }
    if (section.unturned > 0) {
      this.tell(
        `${section.unturned} blocks that only their own program knows were copied as they are, though their section had the other byte order`,
      );
    }
    this.tell(
      `${packets} packets, ${commented} with a comment; in Wireshark: frame.comment contains "connection=ID"`,
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
    widen(stream);
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
