import type { ClusterChange, ClusterRecord } from '../../model/cluster.js';
import {
  C_ODST,
  C_OSRC,
  C_RDST,
  C_RSRC,
  CONNTRACK_WORDS,
  ConntrackRows,
} from '../../model/conntrack.js';
import type { InputEvent } from '../../model/event.js';
import { Interfaces } from '../../model/interfaces.js';
import {
  P_DST,
  P_INTERFACE,
  P_PRINT,
  P_PROTOCOL,
  P_SENDER,
  P_SRC,
  PACKET_WORDS,
  PacketRows,
  TCP,
} from '../../model/packet.js';
import { FrameRedactor } from './redact-frame.js';
import { IptablesRedactor } from './redact-iptables.js';
import { RuleNames } from './redact-names.js';
import { NftablesRedactor } from './redact-nftables.js';
import { Pseudonyms } from './redact-pseudonyms.js';
import { redactedReadings } from './redact-readings.js';
import { rulesOfText, servicesOf, textOfRules } from './rules-text.js';

type Rules = Extract<InputEvent, { type: 'rules' }>;

/** Put in the place of words in which a name or an address may stand. */
const LEFT_OUT = 'left out by --redact';
const POLICIES = new Set(['Cluster', 'Local']);
const TYPES = new Set(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']);
const PHASES = new Set(['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown']);

/**
 * What the machine is fed, with pseudonyms in the place of names and addresses. Of text that may quote one nothing
 * is kept. The rows of an event may be read until the next call.
 */
export class Redactor {
  /** The interfaces that rows and frames name afterwards. */
  readonly interfaces = new Interfaces();
  readonly frames: FrameRedactor;
  private readonly known: Interfaces;
  private readonly pseudonyms: Pseudonyms;
  private readonly names: RuleNames;
  private readonly iptables: IptablesRedactor;
  private readonly nftables: NftablesRedactor;
  private readonly ids: number[] = [0];
  private readonly packetRows = new PacketRows();
  private readonly entryRows = new ConntrackRows();

  /** `key`: 32 random bytes, of which nothing is written. `interfaces`: those that the events name. */
  constructor(key: Uint8Array, interfaces: Interfaces) {
    this.known = interfaces;
    this.pseudonyms = new Pseudonyms(key);
    this.names = new RuleNames(this.pseudonyms);
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
    return renamed;
  }

  /** `undefined` for rules of which nothing can be kept. */
  event(event: InputEvent): InputEvent | undefined {
    switch (event.type) {
      case 'packets':
        return { type: 'packets', ...this.of(event.node), rows: this.packets(event) };
      case 'conntrack':
        return { type: 'conntrack', ...this.of(event.node), rows: this.entries(event) };
      case 'rules':
        return this.rules(event);
      case 'cluster':
        return { ...event, change: this.change(event.change) };
      case 'addresses': {
        const { node, ...rest } = event;
        return { ...rest, ...this.of(node), addresses: this.addresses(event.addresses) };
      }
      case 'readings':
        return {
          type: 'readings',
          time: event.time,
          ...this.of(event.node),
          readings: redactedReadings(event.readings, this.pseudonyms, this.names),
        };
      case 'loss':
        return { type: 'loss', loss: { ...event.loss, detail: LEFT_OUT } };
      case 'notice': {
        const { code, time } = event.notice;
        const at = time === undefined ? {} : { time };
        return { type: 'notice', notice: { code, ...at, detail: LEFT_OUT } };
      }
      case 'tick':
        return event;
    }
  }

  private of(node: string | undefined): { readonly node?: string } {
    return node === undefined ? {} : { node: this.node(node) };
  }

  private packets({ rows, from = 0, to = rows.length }: Extract<InputEvent, { type: 'packets' }>) {
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

  /** A packet's row in place. */
  row(words: Uint32Array, at: number): void {
    for (const field of [P_SRC, P_DST, P_SENDER]) this.pseudonyms.address(words, at + field);
    words[at + P_INTERFACE] = this.interface(words[at + P_INTERFACE] ?? 0);
    // Of TCP it is made of options and window alone, of others of what was sent.
    if (words[at + P_PROTOCOL] !== TCP) {
      words[at + P_PRINT] = this.pseudonyms.print(words[at + P_PRINT] ?? 0);
    }
  }

  private entries({
    rows,
    from = 0,
    to = rows.length,
  }: Extract<InputEvent, { type: 'conntrack' }>) {
    const out = this.entryRows;
    out.clear();
    for (let i = from; i < to; i++) {
      const at = out.addUnset();
      const { words } = out;
      words.set(rows.words.subarray(i * CONNTRACK_WORDS, (i + 1) * CONNTRACK_WORDS), at);
      for (const field of [C_OSRC, C_ODST, C_RSRC, C_RDST]) {
        this.pseudonyms.address(words, at + field);
      }
    }
    return out;
  }

  private rules(event: Rules): Rules | undefined {
    const { rules, time, node } = event;
    const head = {
      kind: rules.kind,
      family: rules.family,
      backend: rules.backend,
      ...(rules.version !== undefined && { version: rules.version }),
      ...(rules.time !== undefined && { printed: String(rules.time) }),
    };
    const redacted =
      rules.kind === 'nftables'
        ? this.nftables.rules(rules)
        : rulesOfText(
            head,
            new TextEncoder().encode(this.iptables.text(whole(textOfRules(rules, true)))),
          );
    if (redacted === undefined) return undefined;
    return {
      type: 'rules',
      ...(time !== undefined && { time }),
      ...this.of(node),
      rules: redacted,
      services: servicesOf(redacted),
      ...(event.again === true && { again: true as const }),
    };
  }

  private change(change: ClusterChange): ClusterChange {
    if (change.op !== 'list') return { op: change.op, item: this.record(change.item) };
    return { op: 'list', kind: change.kind, items: change.items.map((item) => this.record(item)) };
  }

  private addresses(all: readonly string[]): string[] {
    return all.flatMap((one) => this.pseudonyms.addressText(one) ?? []);
  }

  private record(item: ClusterRecord): ClusterRecord {
    const { pseudonyms } = this;
    const uid = pseudonyms.name('uid', item.uid);
    const at = (name: string | undefined) =>
      name === undefined ? {} : { node: pseudonyms.name('node', name) };
    const zone = (name: string | undefined) =>
      name === undefined ? {} : { zone: pseudonyms.name('zone', name) };
    const port = (name: string | undefined) =>
      name === undefined ? {} : { name: pseudonyms.name('port', name) };
    const namespace = pseudonyms.name('ns', item.namespace);
    switch (item.kind) {
      case 'pod':
        return {
          kind: 'pod',
          uid,
          namespace,
          name: pseudonyms.name('pod', item.name),
          ips: this.addresses(item.ips),
          ...at(item.node),
          hostNetwork: item.hostNetwork,
          ...(item.phase !== undefined && {
            phase: PHASES.has(item.phase) ? item.phase : 'Unknown',
          }),
          ready: item.ready,
          ...(isMoment(item.deletedAt) && { deletedAt: item.deletedAt }),
          ...(isMoment(item.createdAt) && { createdAt: item.createdAt }),
          ...(item.hostPorts !== undefined && {
            hostPorts: item.hostPorts.map(({ protocol, hostPort, containerPort, hostIP }) => {
              const ip = hostIP === undefined ? undefined : pseudonyms.addressText(hostIP);
              const on = ip === undefined ? {} : { hostIP: ip };
              return { protocol, hostPort, containerPort, ...on };
            }),
          }),
        };
      case 'service': {
        for (const one of item.ports) {
          const named = `${item.namespace}/${item.name}`;
          this.names.learn(one.name === undefined ? named : `${named}:${one.name}`);
          if (one.name === undefined) this.names.learn(`${named}:`);
        }
        const { externalTrafficPolicy: outer, internalTrafficPolicy: inner } = item;
        return {
          kind: 'service',
          uid,
          namespace,
          name: pseudonyms.name('svc', item.name),
          type: TYPES.has(item.type) ? item.type : 'ClusterIP',
          clusterIPs: this.addresses(item.clusterIPs),
          externalIPs: this.addresses(item.externalIPs),
          loadBalancerIPs: this.addresses(item.loadBalancerIPs),
          loadBalancerSourceRanges: this.addresses(item.loadBalancerSourceRanges),
          ports: item.ports.map(({ name, protocol, port: number, nodePort }) => ({
            ...port(name),
            protocol,
            port: number,
            ...(nodePort !== undefined && { nodePort }),
          })),
          ...(item.affinitySeconds !== undefined && { affinitySeconds: item.affinitySeconds }),
          ...(outer !== undefined && POLICIES.has(outer) && { externalTrafficPolicy: outer }),
          ...(inner !== undefined && POLICIES.has(inner) && { internalTrafficPolicy: inner }),
          ...(item.healthCheckNodePort !== undefined && {
            healthCheckNodePort: item.healthCheckNodePort,
          }),
        };
      }
      case 'endpointslice':
        return {
          kind: 'endpointslice',
          uid,
          namespace,
          name: pseudonyms.name('slice', item.name),
          ...(item.service !== undefined && { service: pseudonyms.name('svc', item.service) }),
          ports: item.ports.map(({ name, protocol, port: number }) => ({
            ...port(name),
            protocol,
            ...(number !== undefined && { port: number }),
          })),
          endpoints: item.endpoints.map((one) => ({
            addresses: this.addresses(one.addresses),
            ready: one.ready,
            serving: one.serving,
            terminating: one.terminating,
            ...at(one.node),
            ...zone(one.zone),
            ...(one.hintZones !== undefined && {
              hintZones: one.hintZones.map((name) => pseudonyms.name('zone', name)),
            }),
            ...(one.hintNodes !== undefined && {
              hintNodes: one.hintNodes.map((name) => pseudonyms.name('node', name)),
            }),
            ...(one.pod !== undefined && {
              pod: {
                namespace: pseudonyms.name('ns', one.pod.namespace),
                name: pseudonyms.name('pod', one.pod.name),
                ...(one.pod.uid !== undefined && { uid: pseudonyms.name('uid', one.pod.uid) }),
              },
            }),
          })),
        };
      case 'node':
        return {
          kind: 'node',
          uid,
          namespace: '',
          name: pseudonyms.name('node', item.name),
          addresses: this.addresses(item.addresses),
          podCIDRs: this.addresses(item.podCIDRs),
          ...zone(item.zone),
        };
    }
  }
}

function isMoment(text: string | undefined): boolean {
  return text !== undefined && /^\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d\d:\d\d)$/.test(text);
}

function whole(parts: Iterable<Uint8Array>): string {
  const decoder = new TextDecoder();
  let text = '';
  for (const part of parts) text += decoder.decode(part, { stream: true });
  return text + decoder.decode();
}
