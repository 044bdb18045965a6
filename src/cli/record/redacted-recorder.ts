import { Correlator } from '../../correlate/correlator.js';
import { Redactor, type RulesEvent } from '../../decode/record/redact/redactor.js';
import type { Steps } from '../../decode/rules/steps.js';
import { ConntrackRows } from '../../model/conntrack-rows.js';
import type { InputEvent } from '../../model/event.js';
import { PACKET_WORDS } from '../../model/packet.js';
import { PacketRows } from '../../model/packet-rows.js';
import type { Nanos } from '../../model/time.js';
import { RuleSurvey } from '../../pipeline/rule-survey.js';
import type { TappedFrame } from '../../sources/capture/frame-tap.js';
import { Recorder, type RecorderOptions } from './recorder.js';
import { WorkInOrder } from './work-in-order.js';

const SAID =
  'names and addresses are pseudonyms, details of notices and losses are left out, and packets have no payload (--redact)';
/** What an object is counted as while it waits, beside its words or bytes. */
const OBJECT_BYTES = 200;
const WORD_BYTES = Uint32Array.BYTES_PER_ELEMENT;

/**
 * A recorder that is told what happened and writes it with pseudonyms. What comments say is found out by a machine of
 * its own out of the pseudonyms, as a replay will: so they agree, and nothing of the run's own words gets
 * into the file. Rules are worked on in slices of the event loop's time, and what is told meanwhile waits behind them.
 */
export class RedactedRecorder {
  private readonly recorder: Recorder;
  private readonly redactor: Redactor;
  private readonly machine: Correlator;
  private readonly survey = new RuleSurvey();
  private readonly row = new Uint32Array(PACKET_WORDS);
  private readonly work = new WorkInOrder();
  private rulesLeftOut = 0;
  private framesLeftOut = 0;

  /** `key`: 32 random bytes, not kept elsewhere. */
  constructor(options: RecorderOptions, key: Uint8Array) {
    this.redactor = new Redactor(key, options.interfaces);
    const { redactor } = this;
    const { node, ...head } = options.head;
    const of = node === undefined ? {} : { node: redactor.node(node) };
    const { interfaces } = redactor;
    this.recorder = new Recorder({
      ...options,
      interfaces,
      systemName: (id) => redactor.systemName(id),
      // It names the cluster.
      sources: 'redacted',
      head: { ...head, ...of },
    });
    const { baseSeconds, firstListingIsOld, udpIdleNs } = options.head;
    this.machine = new Correlator({
      interfaces,
      baseSeconds,
      firstListingIsOld,
      ...of,
      ...(udpIdleNs !== undefined && { udpIdleNs }),
    });
    this.notice(SAID);
  }

  take(event: InputEvent): void {
    switch (event.type) {
      case 'rules':
        this.work.add(() => this.rules(event));
        return;
      case 'packets':
      case 'conntrack':
        this.rows(event);
        return;
      default:
        // Nothing fills these again, and what is in them is called by what was learnt before.
        this.work.add(() => this.other(event), OBJECT_BYTES);
    }
  }

  concluded(): void {
    this.work.add(() => {
      this.recorder.concluded();
      for (const event of this.survey.conclude()) this.machine.push(event);
      return undefined;
    });
  }

  frame(frame: TappedFrame): void {
    const { redactor, row } = this;
    // What the machine does not understand may hold anything.
    if (frame.row < 0) return;
    const { linkType, from, captured } = frame;
    const bytes = redactor.frames.headers(linkType, frame.bytes, from, captured);
    if (bytes.length === 0) {
      this.framesLeftOut++;
      return;
    }
    row.set(frame.words.subarray(frame.row, frame.row + PACKET_WORDS));
    redactor.row(row, 0);
    const redacted: TappedFrame = {
      ...frame,
      interface: redactor.interface(frame.interface),
      bytes,
      from: 0,
      captured: bytes.length,
      words: row,
      row: 0,
    };
    if (this.work.isIdle) this.recorder.frame(redacted);
    else {
      const words = row.slice();
      this.work.add(
        () => {
          this.recorder.frame({ ...redacted, words });
          return undefined;
        },
        OBJECT_BYTES + bytes.length + words.byteLength,
      );
    }
  }

  end(time: Nanos): void {
    this.work.finish();
    const count = this.framesLeftOut;
    if (count > 0) this.notice(`${count} packets could not be redacted and are left out`);
    this.recorder.end(time);
  }

  private rows(event: Extract<InputEvent, { type: 'packets' | 'conntrack' }>): void {
    const redacted = this.redactor.event(event);
    if (redacted === undefined) return;
    if (this.work.isIdle) {
      this.pass(redacted);
      return;
    }
    const kept = copied(redacted);
    const words = event.rows.length * event.rows.stride;
    this.work.add(() => this.pass(kept), OBJECT_BYTES + words * WORD_BYTES);
  }

  private *rules(event: RulesEvent): Steps<void> {
    const redacted = yield* this.redactor.rules(event);
    if (redacted === undefined) {
      const detail = 'a rule set could not be redacted and is left out';
      this.recorder.take({ type: 'loss', loss: { source: 'rules', count: 1, detail } });
      return;
    }
    this.recorder.take(redacted);
    yield;
    for (const one of this.survey.take(redacted)) {
      this.machine.push(one);
      yield;
    }
    this.recorder.said(this.machine.take());
    const count = this.redactor.rulesLeftOut;
    if (count > this.rulesLeftOut) {
      this.notice(`${count - this.rulesLeftOut} rules could not be redacted and do nothing here`);
    }
    this.rulesLeftOut = count;
  }

  private other(event: InputEvent): undefined {
    const redacted = this.redactor.event(event);
    if (redacted !== undefined) this.pass(redacted);
  }

  private notice(detail: string): void {
    this.pass({ type: 'notice', notice: { code: 'redacted', detail } });
  }

  private pass(event: InputEvent): undefined {
    this.recorder.take(event);
    for (const one of this.survey.take(event)) this.machine.push(one);
    this.recorder.said(this.machine.take());
  }
}

/** Rows of its own for an event whose are filled again. */
function copied(event: InputEvent): InputEvent {
  if (event.type === 'packets') {
    const rows = new PacketRows(event.rows.length);
    return { ...event, rows: filled(rows, event.rows) };
  }
  if (event.type === 'conntrack') {
    const rows = new ConntrackRows(event.rows.length);
    return { ...event, rows: filled(rows, event.rows) };
  }
  return event;
}

function filled<R extends PacketRows | ConntrackRows>(rows: R, from: R): R {
  rows.words.set(from.words.subarray(0, from.length * from.stride));
  rows.length = from.length;
  return rows;
}
