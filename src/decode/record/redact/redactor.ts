import {
  C_ODST,
  C_OSRC,
  C_RBYTES,
  C_RDST,
  C_RSRC,
  CONNTRACK_WORDS,
} from '../../../model/conntrack.js';
import { ConntrackRows } from '../../../model/conntrack-rows.js';
import type { InputEvent } from '../../../model/event.js';
import { Interfaces } from '../../../model/interfaces.js';
import {
  P_BYTES,
  P_DST,
  P_INTERFACE,
  P_PRINT,
  P_SENDER,
  P_SRC,
  PACKET_WORDS,
} from '../../../model/packet.js';
import { PacketRows } from '../../../model/packet-rows.js';
import type { RuleSet } from '../../../model/ruleset.js';
import { iptablesServiceSteps } from '../../rules/iptables-services.js';
import { nftServiceSteps } from '../../rules/nft-services.js';
import { drain, type Steps } from '../../rules/steps.js';
import { ClusterRedactor } from './cluster.js';
import { FrameRedactor } from './frame.js';
import { IptablesRedactor } from './iptables.js';
import { RuleNames } from './names.js';
import { NftablesRedactor } from './nftables.js';
import { Pseudonyms } from './pseudonyms.js';
import { redactedReadings } from './readings.js';

export type RulesEvent = Extract<InputEvent, { type: 'rules' }>;
type PacketsEvent = Extract<InputEvent, { type: 'packets' }>;
type ConntrackEvent = Extract<InputEvent, { type: 'conntrack' }>;

/** Put in the place of words in which a name or an address may stand. */
const LEFT_OUT = 'left out by --redact';
/** Words of rows that have a meaning; what comes to stand behind them has to be looked at here first. */
const PACKET_MEANINGS = P_BYTES + 1;
const CONNTRACK_MEANINGS = C_RBYTES + 2;

/**
 * What the machine is fed, with pseudonyms in the place of names and addresses. Of text that may quote one nothing
 * is kept. The rows of an event may be read until the next call. What is not known here does not compile, or does
 * not come out.
 */
export class Redactor {
  /** The interfaces that rows and frames name afterwards. */
  readonly interfaces = new Interfaces();
  readonly frames: FrameRedactor;
  private readonly known: Interfaces;
  private readonly pseudonyms: Pseudonyms;
  private readonly names: RuleNames;
  private readonly cluster: ClusterRedactor;
  private readonly iptables: IptablesRedactor;
  private readonly nftables: NftablesRedactor;
  private readonly ids: number[] = [0];
  private readonly originals: number[] = [0];
  private readonly packetRows = new PacketRows();
  private readonly entryRows = new ConntrackRows();

  /** `key`: 32 random bytes, of which nothing is written. `interfaces`: those that the events name. */
  constructor(key: Uint8Array, interfaces: Interfaces) {
    this.known = interfaces;
    this.pseudonyms = new Pseudonyms(key);
    this.names = new RuleNames(this.pseudonyms);
    this.cluster = new ClusterRedactor(this.pseudonyms, this.names);
    this.iptables = new IptablesRedactor(this.pseudonyms, this.names);
    this.nftables = new NftablesRedactor(this.pseudonyms, this.names);
    this.frames = new FrameRedactor(this.pseudonyms);
  }

  /** Rules and elements that could not be redacted, so far. */
  get rulesLeftOut(): number {
    return this.iptables.leftOut + this.nftables.leftOut;
  }

  node(name: string): string {
    return this.pseudonyms.name('node', name);
  }

  interface(id: number): number {
    const known = this.ids[id];
    if (known !== undefined) return known;
    const { name, index, node } = this.known.get(id);
    const renamed = this.interfaces.id({
      ...(name !== undefined && { name: this.pseudonyms.interfaceName(name) }),
      ...(index !== undefined && { index }),
      ...(node !== undefined && { node: this.node(node) }),
    });
    this.ids[id] = renamed;
    this.originals[renamed] ??= id;
    return renamed;
  }

  /** What the system calls an interface that has a pseudonym: to ask it, not to write it. */
  systemName(renamed: number): string | undefined {
    return this.known.name(this.originals[renamed] ?? 0);
  }

  /** `undefined` for rules of which nothing can be kept; they can be had step by step. */
  event(event: InputEvent): InputEvent | undefined {
    switch (event.type) {
      case 'packets':
        return { type: 'packets', ...this.of(event.node), rows: this.packets(event) };
      case 'conntrack':
        return { type: 'conntrack', ...this.of(event.node), rows: this.entries(event) };
      case 'rules':
        return drain(this.rules(event));
      case 'cluster': {
        const { time, change } = event;
        const at = time === undefined ? {} : { time };
        return { type: 'cluster', ...at, change: this.cluster.change(change) };
      }
      case 'addresses': {
        const { time, node, addresses } = event;
        const at = time === undefined ? {} : { time };
        const moved = addresses.flatMap((one) => this.pseudonyms.addressText(one) ?? []);
        return { type: 'addresses', ...at, ...this.of(node), addresses: moved };
      }
      case 'readings':
        return {
          type: 'readings',
          time: event.time,
          ...this.of(event.node),
          readings: redactedReadings(event.readings, this.pseudonyms, this.names),
        };
      case 'loss': {
        const { source, count, from, to } = event.loss;
        const span = { ...(from !== undefined && { from }), ...(to !== undefined && { to }) };
        return { type: 'loss', loss: { source, count, ...span, detail: LEFT_OUT } };
      }
      case 'notice': {
        const { code, time } = event.notice;
        const at = time === undefined ? {} : { time };
        return { type: 'notice', notice: { code, ...at, detail: LEFT_OUT } };
      }
      case 'tick':
        return { type: 'tick', time: event.time };
    }
  }

  /**
   * The same of rules, some ms a step: a node can have 400,000. No rules, readings or objects of the cluster may be
   * told meanwhile: what they are called by is learnt from all of these.
   */
  *rules(event: RulesEvent): Steps<RulesEvent | undefined> {
    const { rules, time, node, again } = event;
    const redacted =
      rules.kind === 'nftables'
        ? yield* this.nftables.rules(rules)
        : yield* this.iptables.rules(rules);
    if (redacted === undefined) return undefined;
    return {
      type: 'rules',
      ...(time !== undefined && { time }),
      ...this.of(node),
      rules: redacted,
      services: yield* servicesOf(redacted),
      ...(again === true && { again }),
    };
  }

  /** A packet's row in place. */
  row(words: Uint32Array, at: number): void {
    for (const field of [P_SRC, P_DST, P_SENDER]) this.pseudonyms.address(words, at + field);
    words[at + P_INTERFACE] = this.interface(words[at + P_INTERFACE] ?? 0);
    // Made of options or of what was sent, of either of which the one who knows the rest could try all.
    words[at + P_PRINT] = this.pseudonyms.print(words[at + P_PRINT] ?? 0);
    words.fill(0, at + PACKET_MEANINGS, at + PACKET_WORDS);
  }

  private of(node: string | undefined): { readonly node?: string } {
    return node === undefined ? {} : { node: this.node(node) };
  }

  private packets({ rows, from = 0, to = rows.length }: PacketsEvent): PacketRows {
    const out = this.packetRows;
    out.clear();
    for (let i = from; i < to; i++) {
      const at = out.addUnset();
      const { words } = out;
      words.set(rows.words.subarray(i * PACKET_WORDS, (i + 1) * PACKET_WORDS), at);
      this.row(words, at);
    }
    return out;
  }

  private entries({ rows, from = 0, to = rows.length }: ConntrackEvent): ConntrackRows {
    const out = this.entryRows;
    out.clear();
    for (let i = from; i < to; i++) {
      const at = out.addUnset();
      const { words } = out;
      words.set(rows.words.subarray(i * CONNTRACK_WORDS, (i + 1) * CONNTRACK_WORDS), at);
      for (const field of [C_OSRC, C_ODST, C_RSRC, C_RDST]) {
        this.pseudonyms.address(words, at + field);
      }
      words.fill(0, at + CONNTRACK_MEANINGS, at + CONNTRACK_WORDS);
    }
    return out;
  }
}

function servicesOf(rules: RuleSet) {
  return rules.kind === 'iptables' ? iptablesServiceSteps(rules, []) : nftServiceSteps(rules, []);
}
