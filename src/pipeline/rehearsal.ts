import { Correlator } from '../correlate/correlator.js';
import { FrameDecoder } from '../decode/capture/frame.js';
import { LINK_ETHERNET } from '../decode/capture/link.js';
import { parseAddress } from '../model/address.js';
import type { OutputEvent } from '../model/attribution.js';
import type { PodRecord } from '../model/cluster.js';
import {
  C_BITS,
  C_EVENT,
  C_FAMILY,
  C_NSEC,
  C_ODPORT,
  C_ODST,
  C_OSPORT,
  C_OSRC,
  C_PROTOCOL,
  C_RDPORT,
  C_RDST,
  C_RESOLUTION,
  C_RSPORT,
  C_RSRC,
  C_SEC,
  ConntrackRows,
  EVENT_DESTROY,
  EVENT_NEW,
  HAS_REPLY,
  HAS_STATUS,
  HAS_TIME,
  IS_UNREPLIED,
} from '../model/conntrack.js';
import { Interfaces } from '../model/interfaces.js';
import {
  DIRECTION_IN,
  DIRECTION_OUT,
  P_DIRECTION,
  P_INTERFACE,
  P_NSEC,
  P_RESOLUTION,
  P_SEC,
  PacketRows,
  TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_SYN,
} from '../model/packet.js';
import type { ServiceEntry } from '../model/services.js';

/** Any second will do, nobody reads the times. */
const SECOND = 1_800_000_000;
/** Between two connections; many are open at the same time. */
const GAP_NS = 5_000_000;
const CLIENT = '10.244.0.2';
const SERVICE = { ip: '10.96.0.10', port: 80 } as const;
const PODS = ['10.244.0.3', '10.244.0.4'];
const TARGET_PORT = 8080;
const FIRST_PORT = 20_000;
/** No port is used again before it is forgotten. */
const PORTS = 40_000;

const ETHERNET_BYTES = 14;
const IPV4_BYTES = 20;
const TCP_BYTES = 20;
const FRAME_BYTES = ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES;

interface End {
  readonly ip: string;
  readonly port: number;
}

/**
 * Connections that nobody made, played to a machine of their own. V8 interprets what it has not seen run a
 * few hundred times, which is ten to fifty times slower: without a rehearsal the first second of traffic on a
 * busy node is told a second late.
 */
export class Rehearsal {
  private readonly interfaces = new Interfaces();
  private readonly machine: Correlator;
  private readonly packets = new PacketRows(16);
  private readonly conntrack = new ConntrackRows(4);
  private readonly decoder = new FrameDecoder(this.packets);
  private readonly frame = new Uint8Array(FRAME_BYTES);
  private readonly view = new DataView(this.frame.buffer);
  private readonly inside: number;
  private readonly outside: number;
  private readonly words = new Uint32Array(4);
  private played = 0;

  /** `describes` as the machine that is to be quick. */
  constructor(describes: boolean) {
    this.machine = new Correlator({ interfaces: this.interfaces, baseSeconds: SECOND, describes });
    this.inside = this.interfaces.id({ name: 'client' });
    this.outside = this.interfaces.id({ name: 'pod' });
    this.machine.push({
      type: 'rules',
      rules: { kind: 'iptables', family: 4, backend: 'nft', tables: new Map() },
      services: [entry()],
    });
    const items = [CLIENT, ...PODS].map(pod);
    this.machine.push({ type: 'cluster', change: { op: 'list', kind: 'pod', items } });
  }

  /** One connection from its SYN to its end; what the machine says meanwhile. */
  play(): readonly OutputEvent[] {
    const i = this.played++;
    const at = i * GAP_NS;
    const client = { ip: CLIENT, port: FIRST_PORT + (i % PORTS) };
    const pod = { ip: PODS[i % PODS.length] ?? '', port: TARGET_PORT };
    const isn = (i * 7919) >>> 0;
    this.copies(at, client, SERVICE, pod, TCP_SYN, isn, 0);
    this.entry(at + 15_000, EVENT_NEW, client, pod);
    this.copies(at + 30_000, pod, client, SERVICE, TCP_SYN | TCP_ACK, isn + 9, isn + 1);
    this.copies(at + 90_000, client, SERVICE, pod, TCP_FIN | TCP_ACK, isn + 5, isn + 10);
    this.copies(at + 95_000, pod, client, SERVICE, TCP_FIN | TCP_ACK, isn + 10, isn + 6);
    this.entry(at + 200_000, EVENT_DESTROY, client, pod);
    return this.machine.take();
  }

  /** A packet before and after its translation; `other` is what its far or near end becomes. */
  private copies(
    at: number,
    from: End,
    to: End,
    other: End,
    flags: number,
    sequence: number,
    acknowledgement: number,
  ): void {
    const { packets, machine } = this;
    packets.clear();
    const forward = from.ip === CLIENT;
    const numbers = [flags, sequence >>> 0, acknowledgement >>> 0] as const;
    this.packet(at, from, to, forward ? this.inside : this.outside, DIRECTION_IN, ...numbers);
    const [source, target] = forward ? [from, other] : [other, to];
    this.packet(
      at + 5_000,
      source,
      target,
      forward ? this.outside : this.inside,
      DIRECTION_OUT,
      ...numbers,
    );
    machine.push({ type: 'packets', rows: packets });
  }

  private packet(
    at: number,
    from: End,
    to: End,
    seenOn: number,
    direction: number,
    flags: number,
    sequence: number,
    acknowledgement: number,
  ): void {
    const { view, frame, packets } = this;
    const ip = ETHERNET_BYTES;
    view.setUint16(12, 0x0800);
    view.setUint8(ip, 0x45);
    view.setUint16(ip + 2, IPV4_BYTES + TCP_BYTES);
    view.setUint8(ip + 8, 64);
    view.setUint8(ip + 9, TCP);
    view.setUint32(ip + 12, this.address(from.ip));
    view.setUint32(ip + 16, this.address(to.ip));
    const tcp = ip + IPV4_BYTES;
    view.setUint16(tcp, from.port);
    view.setUint16(tcp + 2, to.port);
    view.setUint32(tcp + 4, sequence);
    view.setUint32(tcp + 8, acknowledgement);
    view.setUint8(tcp + 12, (TCP_BYTES / 4) << 4);
    view.setUint8(tcp + 13, flags);
    const row = this.decoder.decode(LINK_ETHERNET, frame, 0, FRAME_BYTES, FRAME_BYTES);
    const { words } = packets;
    words[row + P_SEC] = SECOND + Math.floor(at / 1e9);
    words[row + P_NSEC] = at % 1e9;
    words[row + P_RESOLUTION] = 1;
    words[row + P_INTERFACE] = seenOn;
    words[row + P_DIRECTION] = direction;
  }

  private entry(at: number, event: number, client: End, pod: End): void {
    const { conntrack, machine } = this;
    conntrack.clear();
    const row = conntrack.add();
    const { words } = conntrack;
    words[row + C_SEC] = SECOND + Math.floor(at / 1e9);
    words[row + C_NSEC] = at % 1e9;
    words[row + C_RESOLUTION] = 1;
    words[row + C_EVENT] = event;
    words[row + C_FAMILY] = 4;
    words[row + C_PROTOCOL] = TCP;
    const unreplied = event === EVENT_NEW ? IS_UNREPLIED : 0;
    words[row + C_BITS] = HAS_REPLY | HAS_TIME | HAS_STATUS | unreplied;
    parseAddress(client.ip, words, row + C_OSRC);
    parseAddress(SERVICE.ip, words, row + C_ODST);
    words[row + C_OSPORT] = client.port;
    words[row + C_ODPORT] = SERVICE.port;
    parseAddress(pod.ip, words, row + C_RSRC);
    parseAddress(client.ip, words, row + C_RDST);
    words[row + C_RSPORT] = pod.port;
    words[row + C_RDPORT] = client.port;
    machine.push({ type: 'conntrack', rows: conntrack });
  }

  private address(ip: string): number {
    parseAddress(ip, this.words, 0);
    return this.words[3] ?? 0;
  }
}

function entry(): ServiceEntry {
  const path = ['KUBE-SERVICES', 'KUBE-SVC-REHEARSAL', 'KUBE-SEP-REHEARSAL'];
  const rule = {
    mode: 'iptables',
    backend: 'nft',
    path,
    probability: 0.5,
    affinity: false,
  } as const;
  return {
    protocol: TCP,
    address: SERVICE.ip,
    port: SERVICE.port,
    via: 'clusterIP',
    service: { namespace: 'rehearsal', name: 'service', portName: 'http' },
    action: 'dnat',
    routes: PODS.map((ip) => ({ ip, port: TARGET_PORT, rule })),
  };
}

function pod(ip: string, i: number): PodRecord {
  return {
    kind: 'pod',
    uid: `00000000-0000-0000-0000-00000000000${i}`,
    namespace: 'rehearsal',
    name: `pod-${i}`,
    ips: [ip],
    node: 'node',
    hostNetwork: false,
    ready: true,
  };
}
