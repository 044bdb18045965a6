import type {
  ClusterChange,
  ClusterRecord,
  EndpointRecord,
  EndpointSliceRecord,
  NodeRecord,
  PodRecord,
  ServiceRecord,
} from '../model/cluster.js';
import type { ServicePortName } from '../model/services.js';
import type { Nanos } from '../model/time.js';

/** An endpoint as the slices list it now. */
export interface ListedEndpoint {
  readonly ip: string;
  /** Absent where the slice names none. */
  readonly port?: number;
  readonly record: EndpointRecord;
  /** Since when it is listed so; absent where that was not seen. */
  readonly since?: Nanos;
}

interface Since {
  readonly state: string;
  readonly time: Nanos | undefined;
}

/** What the cluster is like now, as far as was told, and since when. Changes are applied in order of time. */
export class ClusterBook {
  private readonly services = new Map<string, ServiceRecord>();
  private readonly slices = new Map<string, EndpointSliceRecord>();
  private readonly slicesOf = new Map<string, Set<string>>();
  private readonly pods = new Map<string, PodRecord>();
  private readonly nodes = new Map<string, NodeRecord>();
  private readonly podOf = new Map<string, PodRecord>();
  private readonly known = new Set<ClusterRecord['kind']>();
  /** When a Service came, went or changed; of an endpoint (`namespace/service ip`) its state. */
  private readonly sinceService = new Map<string, Nanos | undefined>();
  private readonly sinceEndpoint = new Map<string, Since>();

  /** Whether Services and endpoints were told of at all. */
  get isKnown(): boolean {
    return this.known.has('service') && this.known.has('endpointslice');
  }

  get allServices(): Iterable<ServiceRecord> {
    return this.services.values();
  }

  apply(change: ClusterChange, time: Nanos | undefined): void {
    if (change.op !== 'list') {
      this.known.add(change.item.kind);
      if (change.op === 'set') this.set(change.item, time);
      else this.remove(change.item, time);
      return;
    }
    const first = !this.known.has(change.kind);
    this.known.add(change.kind);
    const listed = new Set(change.items.map(keyOf));
    for (const item of [...this.all(change.kind)]) {
      if (!listed.has(keyOf(item))) this.remove(item, time);
    }
    // Since when what is listed first is so, the list does not tell.
    for (const item of change.items) this.set(item, first ? undefined : time);
  }

  service(name: ServicePortName): ServiceRecord | undefined {
    return this.services.get(`${name.namespace}/${name.name}`);
  }

  /** Since when the Service is as it is, or is gone. */
  serviceSince(name: ServicePortName): Nanos | undefined {
    return this.sinceService.get(`${name.namespace}/${name.name}`);
  }

  /** Since when an address is no endpoint of the Service any more, or as it is. */
  endpointSince(name: ServicePortName, ip: string): Nanos | undefined {
    return this.sinceEndpoint.get(`${name.namespace}/${name.name} ${ip}`)?.time;
  }

  /** The endpoints behind a Service's port, of one family: each address once, the readiest entry of it. */
  endpoints(name: ServicePortName, protocol: string, family: 4 | 6): readonly ListedEndpoint[] {
    const found = new Map<string, ListedEndpoint>();
    for (const key of this.slicesOf.get(`${name.namespace}/${name.name}`) ?? []) {
      const slice = this.slices.get(key);
      for (const port of slice?.ports ?? []) {
        if (port.protocol !== protocol || (port.name ?? '') !== (name.portName ?? '')) continue;
        for (const record of slice?.endpoints ?? []) {
          // kube-proxy takes the first (pkg/proxy/endpointslicecache.go).
          const [ip] = record.addresses;
          if (ip === undefined || ip.includes(':') !== (family === 6)) continue;
          const at = `${ip} ${port.port}`;
          const other = found.get(at);
          if (other !== undefined && rank(other.record) >= rank(record)) continue;
          const since = this.endpointSince(name, ip);
          found.set(at, {
            ip,
            ...(port.port !== undefined && { port: port.port }),
            record,
            ...(since !== undefined && { since }),
          });
        }
      }
    }
    return [...found.values()];
  }

  /** The Pod that has an address of its own. */
  podAt(ip: string): PodRecord | undefined {
    return this.podOf.get(ip);
  }

  node(name: string): NodeRecord | undefined {
    return this.nodes.get(name);
  }

  /** The node of which these are the addresses; `undefined` if that does not tell one. */
  nodeWith(addresses: ReadonlySet<string>): string | undefined {
    const found = [...this.nodes.values()].filter((node) =>
      node.addresses.some((ip) => addresses.has(ip)),
    );
    return found.length === 1 ? found[0]?.name : undefined;
  }

  private all(kind: ClusterRecord['kind']): Iterable<ClusterRecord> {
    switch (kind) {
      case 'service':
        return this.services.values();
      case 'endpointslice':
        return this.slices.values();
      case 'pod':
        return this.pods.values();
      case 'node':
        return this.nodes.values();
    }
  }

  private set(item: ClusterRecord, time: Nanos | undefined): void {
    const key = keyOf(item);
    switch (item.kind) {
      case 'service': {
        const before = this.services.get(key);
        if (isOlder(item, before)) return;
        if (before?.resourceVersion !== item.resourceVersion || before === undefined) {
          this.sinceService.set(key, time);
        }
        this.services.set(key, item);
        return;
      }
      case 'endpointslice':
        if (isOlder(item, this.slices.get(key))) return;
        this.setSlice(key, item, time);
        return;
      case 'pod': {
        const before = this.pods.get(key);
        if (isOlder(item, before)) return;
        if (before !== undefined) this.removePod(before);
        this.pods.set(key, item);
        if (item.hostNetwork || item.phase === 'Succeeded' || item.phase === 'Failed') return;
        for (const ip of item.ips) this.podOf.set(ip, item);
        return;
      }
      case 'node':
        this.nodes.set(key, item);
    }
  }

  private setSlice(
    key: string,
    slice: EndpointSliceRecord | undefined,
    time: Nanos | undefined,
  ): void {
    const before = this.slices.get(key);
    if (slice === undefined) this.slices.delete(key);
    else this.slices.set(key, slice);
    const service = serviceOf(slice) ?? serviceOf(before);
    if (service === undefined) return;
    const keys = this.slicesOf.get(service) ?? new Set();
    this.slicesOf.set(service, keys);
    if (slice === undefined) keys.delete(key);
    else keys.add(key);
    const addresses = [before, slice].flatMap((it) => it?.endpoints ?? []);
    for (const ip of new Set(addresses.flatMap((it) => it.addresses[0] ?? []))) {
      const state = this.stateOf(keys, ip);
      const at = `${service} ${ip}`;
      if (this.sinceEndpoint.get(at)?.state !== state) this.sinceEndpoint.set(at, { state, time });
    }
  }

  private stateOf(slices: ReadonlySet<string>, ip: string): string {
    const states = [...slices].flatMap((key) =>
      (this.slices.get(key)?.endpoints ?? [])
        .filter(({ addresses }) => addresses[0] === ip)
        .map(rank),
    );
    return states.length === 0 ? 'gone' : `${Math.max(...states)}`;
  }

  private remove(item: ClusterRecord, time: Nanos | undefined): void {
    const key = keyOf(item);
    switch (item.kind) {
      case 'service':
        this.services.delete(key);
        this.sinceService.set(key, time);
        return;
      case 'endpointslice':
        this.setSlice(key, undefined, time);
        return;
      case 'pod': {
        const before = this.pods.get(key);
        // A Pod of the same name may have come since.
        if (before === undefined || before.uid !== item.uid) return;
        this.removePod(before);
        this.pods.delete(key);
        return;
      }
      case 'node':
        this.nodes.delete(key);
    }
  }

  private removePod(pod: PodRecord): void {
    for (const ip of pod.ips) if (this.podOf.get(ip) === pod) this.podOf.delete(ip);
  }
}

/** Ready before serving, before the rest: as kube-proxy prefers them. */
function rank({ ready, serving, terminating }: EndpointRecord): number {
  return ready ? 3 : serving && terminating ? 2 : terminating ? 0 : 1;
}

function keyOf(item: ClusterRecord): string {
  return item.kind === 'node' ? item.name : `${item.namespace}/${item.name}`;
}

function serviceOf(slice: EndpointSliceRecord | undefined): string | undefined {
  return slice?.service === undefined ? undefined : `${slice.namespace}/${slice.service}`;
}

/** Of one object a state that was told before: lists and watches overlap. Versions are numbers that grow. */
function isOlder(item: ClusterRecord, known: ClusterRecord | undefined): boolean {
  const [a, b] = [item.resourceVersion ?? '', known?.resourceVersion ?? ''];
  if (known === undefined || known.uid !== item.uid || a === '' || b === '') return false;
  return a.length !== b.length ? a.length < b.length : a < b;
}
