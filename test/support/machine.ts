import { Correlator } from '../../src/correlate/correlator.js';
import type { CorrelatorOptions } from '../../src/correlate/state.js';
import { parseAddress } from '../../src/model/address.js';
import type { Attribution, OutputEvent, Summary } from '../../src/model/attribution.js';
import type { PodRecord } from '../../src/model/cluster.js';
import * as ct from '../../src/model/conntrack.js';
import { ConntrackRows } from '../../src/model/conntrack-rows.js';
import type { InputEvent } from '../../src/model/event.js';
import { Interfaces } from '../../src/model/interfaces.js';
import * as p from '../../src/model/packet.js';
import { PacketRows } from '../../src/model/packet-rows.js';
import type { ServiceEntry } from '../../src/model/services.js';
import { nanosOf } from '../../src/model/time.js';

/** All times of these tests count from here, in ns. */
export const BASE_SECONDS = 1_800_000_000;

export interface PacketSpec {
  /** ns since the base second. */
  readonly at: number;
  readonly from: string;
  readonly to: string;
  readonly protocol?: number;
  readonly flags?: number;
  readonly seq?: number;
  readonly ack?: number;
  readonly print?: number;
  readonly ipid?: number;
  readonly on?: string;
  readonly direction?: number;
  readonly resolution?: number;
  readonly lateness?: number;
  /** An ICMP error: type and code, and who sent it. */
  readonly icmp?: readonly [type: number, code: number];
}

const split = (text: string): [string, number] => {
  const at = text.lastIndexOf(':');
  return [text.slice(0, at).replace(/^\[|\]$/g, ''), Number(text.slice(at + 1))];
};

/** A machine under test with short words for what happens to it. */
export class Bench {
  readonly interfaces = new Interfaces();
  readonly machine: Correlator;
  readonly events: OutputEvent[] = [];
  private node: string | undefined;

  constructor(options: Partial<CorrelatorOptions> = {}) {
    this.machine = new Correlator({
      interfaces: this.interfaces,
      baseSeconds: BASE_SECONDS,
      ...options,
    });
  }

  /** The node of the events that follow. */
  on(node: string): this {
    this.node = node;
    return this;
  }

  private marked(event: InputEvent): InputEvent {
    const { node } = this;
    if (node === undefined) return event;
    switch (event.type) {
      case 'packets':
      case 'conntrack':
      case 'rules':
      case 'addresses':
        return { ...event, node };
      default:
        return event;
    }
  }

  push(event: InputEvent): this {
    this.machine.push(this.marked(event));
    this.events.push(...this.machine.take());
    return this;
  }

  packet(spec: PacketSpec): this {
    return this.push({ type: 'packets', rows: this.packetRows([spec]) });
  }

  packetRows(specs: readonly PacketSpec[]): PacketRows {
    const rows = new PacketRows(specs.length);
    for (const spec of specs) {
      const at = rows.add();
      const w = rows.words;
      const [src, sport] = split(spec.from);
      const [dst, dport] = split(spec.to);
      w[at + p.P_SEC] = BASE_SECONDS + Math.floor(spec.at / 1e9);
      w[at + p.P_NSEC] = spec.at % 1e9;
      w[at + p.P_RESOLUTION] = spec.resolution ?? 1;
      w[at + p.P_LATENESS] = spec.lateness ?? 0;
      w[at + p.P_INTERFACE] =
        spec.on === undefined
          ? 0
          : this.interfaces.id({ name: spec.on, ...(this.node && { node: this.node }) });
      w[at + p.P_DIRECTION] = spec.direction ?? 0;
      w[at + p.P_FAMILY] = parseAddress(src, w, at + p.P_SRC);
      parseAddress(dst, w, at + p.P_DST);
      w[at + p.P_SPORT] = sport;
      w[at + p.P_DPORT] = dport;
      w[at + p.P_PROTOCOL] = spec.protocol ?? p.TCP;
      w[at + p.P_FLAGS] = spec.flags ?? p.TCP_SYN;
      w[at + p.P_SEQ] = spec.seq ?? 0;
      w[at + p.P_ACK] = spec.ack ?? 0;
      w[at + p.P_PRINT] = spec.print ?? 77;
      w[at + p.P_IPID] = spec.ipid ?? 5;
      if (spec.icmp !== undefined) {
        w[at + p.P_CLASS] = p.CLASS_ICMP_ERROR;
        w[at + p.P_FLAGS] = (spec.icmp[0] << 8) | spec.icmp[1];
      }
    }
    return rows;
  }

  /** An event: original `from -> to`, reply `endpoint -> peer`. */
  conntrack(spec: {
    readonly at?: number;
    readonly event: number;
    readonly from: string;
    readonly to: string;
    readonly endpoint: string;
    readonly peer?: string;
    readonly protocol?: number;
    readonly id?: number;
    readonly state?: string;
    readonly zone?: number;
    readonly assured?: boolean;
    readonly unreplied?: boolean;
    readonly resolution?: number;
    readonly lateness?: number;
  }): this {
    const rows = new ConntrackRows(1);
    const at = rows.add();
    const w = rows.words;
    let bits = ct.HAS_REPLY | ct.HAS_STATUS;
    if (spec.at !== undefined) {
      bits |= ct.HAS_TIME;
      w[at + ct.C_SEC] = BASE_SECONDS + Math.floor(spec.at / 1e9);
      w[at + ct.C_NSEC] = spec.at % 1e9;
    }
    w[at + ct.C_RESOLUTION] = spec.resolution ?? 1_000;
    w[at + ct.C_LATENESS] = spec.lateness ?? 1_000_000_000;
    w[at + ct.C_EVENT] = spec.event;
    const [src, sport] = split(spec.from);
    const [dst, dport] = split(spec.to);
    const [endpoint, eport] = split(spec.endpoint);
    const [peer, pport] = split(spec.peer ?? spec.from);
    w[at + ct.C_FAMILY] = parseAddress(src, w, at + ct.C_OSRC);
    parseAddress(dst, w, at + ct.C_ODST);
    parseAddress(endpoint, w, at + ct.C_RSRC);
    parseAddress(peer, w, at + ct.C_RDST);
    w[at + ct.C_OSPORT] = sport;
    w[at + ct.C_ODPORT] = dport;
    w[at + ct.C_RSPORT] = eport;
    w[at + ct.C_RDPORT] = pport;
    w[at + ct.C_PROTOCOL] = spec.protocol ?? p.TCP;
    if (spec.id !== undefined) {
      bits |= ct.HAS_ID;
      w[at + ct.C_ID] = spec.id;
    }
    if (spec.state !== undefined) {
      bits |= ct.HAS_STATE;
      w[at + ct.C_STATE] = (ct.TCP_STATES as readonly string[]).indexOf(spec.state);
    }
    if (spec.zone !== undefined) w[at + ct.C_ZONE] = spec.zone;
    if (spec.assured === true) bits |= ct.IS_ASSURED;
    if (spec.unreplied === true) bits |= ct.IS_UNREPLIED;
    w[at + ct.C_BITS] = bits;
    return this.push({ type: 'conntrack', rows });
  }

  services(entries: readonly ServiceEntry[], at?: number): this {
    const time = at === undefined ? {} : { time: when(at) };
    const rules = { kind: 'iptables', family: 4, backend: 'nft', tables: new Map() } as const;
    return this.push({ type: 'rules', ...time, rules, services: entries });
  }

  pods(pods: readonly PodRecord[], at?: number): this {
    const time = at === undefined ? {} : { time: when(at) };
    return this.push({
      type: 'cluster',
      ...time,
      change: { op: 'list', kind: 'pod', items: pods },
    });
  }

  tick(at: number): this {
    return this.push({ type: 'tick', time: when(at) });
  }

  finish(): this {
    this.events.push(...this.machine.finish());
    return this;
  }

  /** Last word on each connection, in the order of closing. */
  get closed(): Attribution[] {
    return this.events.flatMap((e) => (e.type === 'close' ? [e.attribution] : []));
  }

  get said(): Attribution[] {
    return this.events.flatMap((e) => (e.type === 'attribution' ? [e.attribution] : []));
  }

  get notices(): string[] {
    return this.events.flatMap((e) => (e.type === 'notice' ? [e.notice.code] : []));
  }

  get summary(): Summary {
    for (const e of this.events) if (e.type === 'summary') return e.summary;
    throw new Error('the machine has not been finished');
  }
}

export const when = (at: number): bigint => nanosOf(BASE_SECONDS, 0) + BigInt(at);

export const pod = (name: string, ip: string, node = 'node1'): PodRecord => ({
  kind: 'pod',
  uid: `uid-${name}`,
  namespace: 'default',
  name,
  ips: [ip],
  node,
  hostNetwork: false,
  phase: 'Running',
  ready: true,
});

/** A ClusterIP with endpoints `ip:port`, as kube-proxy's rules reach them. */
export const serviceEntry = (
  name: string,
  address: string,
  endpoints: readonly string[],
  more: Partial<ServiceEntry> = {},
): ServiceEntry => {
  const [ip, port] = split(address);
  return {
    protocol: p.TCP,
    address: ip,
    port,
    via: 'clusterIP',
    service: { namespace: 'default', name },
    action: 'dnat',
    routes: endpoints.map((endpoint) => {
      const [endpointIp, endpointPort] = split(endpoint);
      return {
        ip: endpointIp,
        port: endpointPort,
        rule: {
          mode: 'iptables',
          backend: 'nft',
          path: ['KUBE-SERVICES', 'KUBE-SVC-X', `KUBE-SEP-${endpointIp}`],
          probability: 1 / endpoints.length,
          affinity: false,
        },
      };
    }),
    ...more,
  };
};
