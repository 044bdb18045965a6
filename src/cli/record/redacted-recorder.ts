import { Correlator } from '../../correlate/correlator.js';
import { Redactor } from '../../decode/record/redactor.js';
import type { InputEvent } from '../../model/event.js';
import { PACKET_WORDS } from '../../model/packet.js';
import type { Nanos } from '../../model/time.js';
import { RuleSurvey } from '../../pipeline/rule-survey.js';
import type { TappedFrame } from '../../sources/capture/frame-tap.js';
import { Recorder, type RecorderOptions } from './recorder.js';

const SAID =
  'names and addresses are pseudonyms, details of notices and losses are left out, packets have no payload, and ICMP other than errors, tunnels and extension headers are not kept (--redact)';

/**
 * A recorder that is told what happened and writes it with pseudonyms. What comments say is found out by a machine of
 * its own out of the pseudonyms, as a replay will: so they agree, and nothing of the run's own words gets
 * into the file.
 */
export class RedactedRecorder {
  private readonly recorder: Recorder;
  private readonly redactor: Redactor;
  private readonly machine: Correlator;
  private readonly survey = new RuleSurvey();
  private readonly row = new Uint32Array(PACKET_WORDS);
  private rulesLeftOut = 0;

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
    const redacted = this.redactor.event(event);
    if (redacted === undefined) {
      const detail = 'a rule set could not be redacted and is left out';
      this.recorder.take({ type: 'loss', loss: { source: 'rules', count: 1, detail } });
      return;
    }
    this.pass(redacted);
    const count = this.redactor.rulesLeftOut;
    if (count > this.rulesLeftOut) {
      this.notice(`${count - this.rulesLeftOut} rules could not be redacted and do nothing here`);
    }
    this.rulesLeftOut = count;
  }

  concluded(): void {
    this.recorder.concluded();
    for (const event of this.survey.conclude()) this.machine.push(event);
  }

  frame(frame: TappedFrame): void {
    const { redactor, row } = this;
    const { linkType, from, captured } = frame;
    // What the machine does not understand may hold anything.
    if (frame.row < 0) return;
    const bytes = redactor.frames.headers(linkType, frame.bytes, from, captured);
    if (bytes === undefined) return;
    row.set(frame.words.subarray(frame.row, frame.row + PACKET_WORDS));
    redactor.row(row, 0);
    this.recorder.frame({
      ...frame,
      interface: redactor.interface(frame.interface),
      bytes,
      from: 0,
      captured: bytes.length,
      words: row,
      row: 0,
    });
  }

  end(time: Nanos): void {
    const count = this.redactor.frames.leftOut;
    if (count > 0) this.notice(`${count} packets could not be redacted and are left out`);
    this.recorder.end(time);
  }

  private notice(detail: string): void {
    this.pass({ type: 'notice', notice: { code: 'redacted', detail } });
  }

  private pass(event: InputEvent): void {
    this.recorder.take(event);
    for (const one of this.survey.take(event)) this.machine.push(one);
    this.recorder.said(this.machine.take());
  }
}
