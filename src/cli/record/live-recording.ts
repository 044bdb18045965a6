import { randomBytes } from 'node:crypto';
import type { OutputEvent } from '../../model/attribution.js';
import type { InputEvent } from '../../model/event.js';
import type { Interfaces } from '../../model/interfaces.js';
import { UsageError } from '../../model/problem.js';
import type { Nanos } from '../../model/time.js';
import { widen } from '../../native/widen.js';
import { FileSeries } from '../../sinks/pcapng/file-series.js';
import { StreamTarget } from '../../sinks/pcapng/stream-target.js';
import type { TappedFrame } from '../../sources/capture/frame-tap.js';
import type { LiveRequest, RecordRequest } from '../commands.js';
import type { Io } from '../io.js';
import { version } from '../version.js';
import { Recorder, type RecorderOptions } from './recorder.js';
import { RedactedRecorder } from './redacted-recorder.js';

/** Of HMAC-SHA256: as long as its output (RFC 2104, section 3). */
const KEY_BYTES = 32;

interface Surroundings {
  readonly io: Io;
  readonly interfaces: Interfaces;
  readonly request: LiveRequest;
  readonly baseSeconds: number;
  readonly sources: string;
  /** Is told the first failure. */
  readonly failed: (error: unknown) => void;
}

/**
 * The recording of a live run. The file is there from the beginning: where it cannot be, the constructor throws. What
 * fails later ends the run, once, and nothing more is written.
 */
export class LiveRecording {
  /** Whose abortion means that nobody reads the recording any more. */
  readonly closed: readonly AbortSignal[];
  private readonly recorder: Recorder | RedactedRecorder;
  private readonly failed: (error: unknown) => void;
  private over = false;

  constructor(record: RecordRequest, around: Surroundings) {
    const { io, interfaces, request, baseSeconds, sources } = around;
    const { path, redact, snaplen, maxBytes, maxNs, maxFiles } = record;
    this.failed = around.failed;
    let target: FileSeries | StreamTarget;
    if (path === '-') {
      const into = io.recording;
      if (into === undefined) {
        throw new UsageError(
          '-w -: live writes its events to standard output; record -w - writes the recording alone',
        );
      }
      widen(into);
      target = new StreamTarget(into);
      this.closed = [target.closed];
    } else {
      const isSeries = maxBytes !== undefined || maxNs !== undefined;
      const keep = maxFiles ?? Number.POSITIVE_INFINITY;
      target = new FileSeries(path, isSeries ? { keep } : undefined);
      this.closed = [];
    }
    const options: RecorderOptions = {
      target,
      interfaces,
      sources,
      head: {
        version: version(),
        baseSeconds,
        firstListingIsOld: true,
        ...(request.nodeName !== undefined && { node: request.nodeName }),
        ...(request.udpIdleNs !== undefined && { udpIdleNs: request.udpIdleNs }),
      },
      ...(snaplen !== undefined && { snaplen }),
      ...(maxBytes !== undefined && { maxBytes }),
      ...(maxNs !== undefined && { maxNs }),
    };
    this.recorder = redact
      ? new RedactedRecorder(options, randomBytes(KEY_BYTES))
      : new Recorder(options);
  }

  take(event: InputEvent): void {
    this.attempt(() => this.recorder.take(event));
  }

  concluded(): void {
    this.attempt(() => this.recorder.concluded());
  }

  frame(frame: TappedFrame): void {
    this.attempt(() => this.recorder.frame(frame));
  }

  said(events: readonly OutputEvent[]): void {
    const { recorder } = this;
    // A redacted one says it in its own words.
    if (recorder instanceof Recorder) this.attempt(() => recorder.said(events));
  }

  /** Throws what goes wrong: there is no run left to end. */
  end(time: Nanos): void {
    if (this.over) return;
    this.over = true;
    this.recorder.end(time);
  }

  /** Frames are told by the addon, where what is thrown would end the process. */
  private attempt(write: () => void): void {
    if (this.over) return;
    try {
      write();
    } catch (error) {
      this.over = true;
      this.failed(error);
    }
  }
}
