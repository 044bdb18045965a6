import type {
  ClusterChange,
  ClusterKind,
  ClusterRecord,
  EndpointRecord,
  EndpointSliceRecord,
  NodeRecord,
  PodRecord,
  ServiceRecord,
} from '../model/cluster.js';
import type { ServiceEntry } from '../model/services.js';
import type { Nanos } from '../model/time.js';
import { AddressOwners, BEGINNING } from './address-owners.js';
import { entriesOfService, sameEntries } from './cluster-services.js';
import { ObjectHistory } from './object-history.js';

/** A Service, by name. */
interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

interface HeldPod {
  readonly record: PodRecord;
  /** Its key among the owners of addresses. */
  readonly owner: string;
}

/**
 * What the cluster looked like, at any time: who had an address, which Services there were, which
 * endpoints they listed. Changes are applied in order of time, those without a time first: they hold
 * from the beginning. A change that comes with an earlier time than the one before it of the same kind
 * counts from that one's time.
 */
export class ClusterState {
  /** Changes whenever `services` may say something else than before. */
  serviceVersion = 0;
  /** Changes with every change. */
  changes = 0;
  /** From when on nothing is known to have changed. */
  latestChange: Nanos = BEGINNING;

  /** Pods that exist, by namespace/name. */
  private readonly pods = new Map<string, HeldPod>();
  private readonly podOwners = new AddressOwners<PodRecord>();
  private readonly nodeOwners = new AddressOwners<NodeRecord>();
  private readonly serviceHistory = new ObjectHistory<ServiceRecord>();
  private readonly sliceHistory = new ObjectHistory<EndpointSliceRecord>();
  private readonly nodeHistory = new ObjectHistory<NodeRecord>();
  /** Slices that ever belonged to a Service, by namespace/name of the Service. */
  private readonly slicesOf = new Map<string, Set<string>>();
  private readonly endpointIndex = new WeakMap<
    EndpointSliceRecord,
    ReadonlyMap<string, EndpointRecord>
  >();
  /** When each kind last changed. */
  private readonly latest = new Map<ClusterKind, Nanos>();
  private answer:
    | {
        entries: readonly ServiceEntry[];
        version: number;
        asked: boolean;
        from?: Nanos;
        to?: Nanos;
      }
    | undefined;

  apply(change: ClusterChange, time: Nanos | undefined): void {
    const kind = change.op === 'list' ? change.kind : change.item.kind;
    const before = this.latest.get(kind);
    const told = time ?? BEGINNING;
    const at = before !== undefined && told < before ? before : told;
    this.latest.set(kind, at);
    this.changes++;
    if (at > this.latestChange) this.latestChange = at;
    switch (change.op) {
      case 'list':
        // Nobody told of an earlier state, so the first list is the best that is known of it. A Pod
        // says itself since when it exists.
        this.list(kind, change.items, before === undefined && kind !== 'pod' ? BEGINNING : at);
        return;
      case 'set':
        if (!this.isStale(change.item)) this.set(change.item, at);
        return;
      case 'delete':
        this.delete(change.item, at);
        return;
    }
  }

  /**
   * The Pod that had this address then; host-network Pods have none of their own. Without a time: the
   * Pod, if only one ever had it.
   */
  podAt(ip: string, time: Nanos | undefined): PodRecord | undefined {
    return this.podOwners.at(ip, time);
  }

  /** The node whose own address this is. */
  nodeOfAddress(ip: string, time?: Nanos): string | undefined {
    return this.nodeOwners.at(ip, time)?.name;
  }

  /** Addresses of one node, or of all, as last known. */
  nodeAddresses(name?: string): readonly string[] {
    if (name !== undefined) return this.nodeHistory.current(name)?.addresses ?? [];
    return [...this.nodeHistory.all(undefined)].flatMap((node) => node.addresses);
  }

  /** Where Services could be reached then, or as last known; sorted by namespace and name. */
  services(time: Nanos | undefined): readonly ServiceEntry[] {
    const known = this.answer;
    if (
      known?.version === this.serviceVersion &&
      (time === undefined
        ? !known.asked
        : known.asked &&
          (known.from === undefined || known.from <= time) &&
          (known.to === undefined || time < known.to))
    ) {
      return known.entries;
    }
    const records = [...this.serviceHistory.all(time)].sort(
      (a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name),
    );
    const entries = records.flatMap(entriesOfService);
    const span = time === undefined ? {} : this.serviceHistory.steadyAround(time);
    this.answer = { entries, version: this.serviceVersion, asked: time !== undefined, ...span };
    return entries;
  }

  /** Whether any Service, as last known, can be reached at some address. */
  get hasServices(): boolean {
    for (const record of this.serviceHistory.all(undefined)) {
      if (entriesOfService(record).length > 0) return true;
    }
    return false;
  }

  /** Whether a Service of this name was there. */
  hasService(service: ServiceName, time: Nanos | undefined): boolean {
    const key = keyOf(service);
    return time === undefined
      ? this.serviceHistory.states(key).length > 0
      : this.serviceHistory.stateAt(key, time) !== undefined;
  }

  /** Whether any EndpointSlice of the Service is or was known. */
  hasSlices(service: ServiceName): boolean {
    return this.slicesOf.has(keyOf(service));
  }

  /**
   * What an EndpointSlice of the Service said then of this address, if it listed it with this target
   * port under this port name (absent: the unnamed port). Without a time: what was said last. For
   * host-network endpoints its `pod` is the only name of the Pod.
   */
  endpointOf(
    service: ServiceName,
    portName: string | undefined,
    protocol: string,
    ip: string,
    port: number,
    time: Nanos | undefined,
  ): EndpointRecord | undefined {
    const name = keyOf(service);
    let best: EndpointRecord | undefined;
    for (const key of this.slicesOf.get(name) ?? []) {
      let endpoint: EndpointRecord | undefined;
      if (time !== undefined) {
        const slice = this.sliceHistory.stateAt(key, time);
        if (slice !== undefined) endpoint = this.listed(slice, name, portName, protocol, ip, port);
      } else {
        for (const slice of this.sliceHistory.states(key)) {
          endpoint ??= this.listed(slice, name, portName, protocol, ip, port);
        }
      }
      // While an endpoint moves from one slice to another both may list it.
      if (endpoint !== undefined && (best === undefined || rank(endpoint) > rank(best))) {
        best = endpoint;
      }
    }
    return best;
  }

  /**
   * The Services of which an EndpointSlice listed this address and port then, sorted. Looks through all
   * slices: for the few connections of which somebody asks.
   */
  servicesListing(
    protocol: string,
    ip: string,
    port: number,
    time: Nanos | undefined,
  ): { namespace: string; name: string }[] {
    const found = new Map<string, { namespace: string; name: string }>();
    for (const [service, keys] of this.slicesOf) {
      for (const key of keys) {
        const slice =
          time === undefined
            ? this.sliceHistory.current(key)
            : this.sliceHistory.stateAt(key, time);
        if (slice?.service === undefined || serviceKeyOf(slice) !== service) continue;
        if (!slice.ports.some((p) => p.port === port && p.protocol === protocol)) continue;
        if (!this.endpointsOf(slice).has(ip)) continue;
        found.set(service, { namespace: slice.namespace, name: slice.service });
      }
    }
    return [...found.values()].sort(
      (a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name),
    );
  }

  /** The Service of this name then; without a time as last known. */
  serviceAt(service: ServiceName, time: Nanos | undefined): ServiceRecord | undefined {
    const key = keyOf(service);
    return time === undefined
      ? this.serviceHistory.states(key)[0]
      : this.serviceHistory.stateAt(key, time);
  }

  /** The EndpointSlices of a Service then, by name; without a time those that there are. */
  slicesAt(service: ServiceName, time: Nanos | undefined): readonly EndpointSliceRecord[] {
    const name = keyOf(service);
    const slices: EndpointSliceRecord[] = [];
    for (const key of [...(this.slicesOf.get(name) ?? [])].sort(compare)) {
      const slice =
        time === undefined ? this.sliceHistory.current(key) : this.sliceHistory.stateAt(key, time);
      if (slice !== undefined && serviceKeyOf(slice) === name) slices.push(slice);
    }
    return slices;
  }

  /** When EndpointSlices of a Service changed, after `from` and not after `to`; sorted. */
  sliceChanges(service: ServiceName, from: Nanos, to: Nanos): readonly Nanos[] {
    const moments = new Set<Nanos>();
    for (const key of this.slicesOf.get(keyOf(service)) ?? []) {
      for (const moment of this.sliceHistory.moments(key)) {
        if (moment > from && moment <= to) moments.add(moment);
      }
    }
    return [...moments].sort((a, b) => (a < b ? -1 : 1));
  }

  /** The nodes then; without a time those that there are. */
  nodesAt(time: Nanos | undefined): readonly NodeRecord[] {
    return [...this.nodeHistory.all(time)].sort((a, b) => compare(a.name, b.name));
  }

  /** The Pod of this name, as last known. */
  podNamed(namespace: string, name: string): PodRecord | undefined {
    return this.pods.get(keyOf({ namespace, name }))?.record;
  }

  /** Forgets what ended at or before `before`; answers for later times stay as they are. */
  prune(before: Nanos): void {
    this.podOwners.prune(before);
    this.nodeOwners.prune(before);
    this.nodeHistory.prune(before);
    this.serviceHistory.prune(before);
    const gone = new Set(this.sliceHistory.prune(before));
    if (gone.size === 0) return;
    for (const [service, keys] of this.slicesOf) {
      for (const key of keys) if (gone.has(key)) keys.delete(key);
      if (keys.size === 0) this.slicesOf.delete(service);
    }
  }

  private list(kind: ClusterKind, items: readonly ClusterRecord[], at: Nanos): void {
    const known = [...this.keysOf(kind)];
    if (known.length > 0) {
      const listed = new Set(items.filter((item) => item.kind === kind).map(keyOf));
      for (const key of known) if (!listed.has(key)) this.end(kind, key, at);
    }
    for (const item of items) {
      if (item.kind === kind && (known.length === 0 || !this.isKnown(item))) this.set(item, at);
    }
  }

  private keysOf(kind: ClusterKind): Iterable<string> {
    switch (kind) {
      case 'pod':
        return this.pods.keys();
      case 'service':
        return this.serviceHistory.currentKeys();
      case 'endpointslice':
        return this.sliceHistory.currentKeys();
      case 'node':
        return this.nodeHistory.currentKeys();
    }
  }

  private current(item: ClusterRecord): ClusterRecord | undefined {
    const key = keyOf(item);
    switch (item.kind) {
      case 'pod':
        return this.pods.get(key)?.record;
      case 'service':
        return this.serviceHistory.current(key);
      case 'endpointslice':
        return this.sliceHistory.current(key);
      case 'node':
        return this.nodeHistory.current(key);
    }
  }

  /**
   * Whether the object is known in this state or a later one: a list without time may have been taken
   * after the events, and the same watch may come from two recorders.
   */
  private isStale(item: ClusterRecord): boolean {
    const known = this.current(item);
    if (known === undefined || !sameObject(item, known)) return false;
    const order = compareVersions(item.resourceVersion, known.resourceVersion);
    return order !== undefined && order <= 0;
  }

  /** Whether exactly this state is known, as of most objects when a list is taken again. */
  private isKnown(item: ClusterRecord): boolean {
    const known = this.current(item);
    return (
      known !== undefined &&
      known.uid === item.uid &&
      known.resourceVersion !== undefined &&
      known.resourceVersion === item.resourceVersion
    );
  }

  private set(item: ClusterRecord, at: Nanos): void {
    const key = keyOf(item);
    switch (item.kind) {
      case 'pod':
        this.setPod(key, item, at);
        return;
      case 'service': {
        const before = this.serviceHistory.current(key);
        this.serviceHistory.set(key, item, at);
        // In the turn of the list, not in that of the first packet, which has all addresses to index.
        entriesOfService(item);
        if (before === undefined || !sameEntries(before, item)) this.serviceVersion++;
        return;
      }
      case 'endpointslice': {
        this.sliceHistory.set(key, item, at);
        const service = serviceKeyOf(item);
        if (service === undefined) return;
        const keys = this.slicesOf.get(service);
        if (keys === undefined) this.slicesOf.set(service, new Set([key]));
        else keys.add(key);
        return;
      }
      case 'node': {
        const before = this.nodeHistory.current(key);
        for (const ip of before?.addresses ?? []) {
          if (!item.addresses.includes(ip)) this.nodeOwners.giveUp(ip, key, at);
        }
        for (const ip of item.addresses) {
          if (before?.addresses.includes(ip)) this.nodeOwners.renew(ip, key, item, false, at);
          else this.nodeOwners.claim(ip, key, item, false, at, undefined);
        }
        this.nodeHistory.set(key, item, at);
      }
    }
  }

  private setPod(key: string, pod: PodRecord, at: Nanos): void {
    const known = this.pods.get(key);
    const before = known !== undefined && sameObject(pod, known.record) ? known : undefined;
    // Names are unique at one time: another uid means that the one before is gone.
    if (known !== undefined && before === undefined) this.end('pod', key, at);
    const uid = pod.uid === '' ? (before?.record.uid ?? '') : pod.uid;
    const record = uid === pod.uid ? pod : { ...pod, uid };
    const owner = before?.owner ?? `${key}/${uid}`;
    const held = before === undefined ? [] : ownAddresses(before.record);
    const owned = ownAddresses(record);
    const leaving = pod.deletedAt !== undefined;
    for (const ip of held) if (!owned.includes(ip)) this.podOwners.giveUp(ip, owner, at);
    for (const ip of owned) {
      if (held.includes(ip)) this.podOwners.renew(ip, owner, record, leaving, at);
      else this.podOwners.claim(ip, owner, record, leaving, at, pod.createdAt);
    }
    this.pods.set(key, { record, owner });
  }

  private delete(item: ClusterRecord, at: Nanos): void {
    const known = this.current(item);
    if (known === undefined) {
      // The end of a Pod is the first that is seen of it: it had its addresses until now.
      if (item.kind === 'pod') {
        this.setPod(keyOf(item), item, at);
        this.end('pod', keyOf(item), at);
      }
      return;
    }
    if (!sameObject(item, known)) return;
    const order = compareVersions(item.resourceVersion, known.resourceVersion);
    if (order === undefined || order >= 0) this.end(item.kind, keyOf(item), at);
  }

  private end(kind: ClusterKind, key: string, at: Nanos): void {
    switch (kind) {
      case 'pod': {
        const pod = this.pods.get(key);
        if (pod === undefined) return;
        for (const ip of ownAddresses(pod.record)) this.podOwners.giveUp(ip, pod.owner, at);
        this.pods.delete(key);
        return;
      }
      case 'service':
        this.serviceHistory.end(key, at);
        this.serviceVersion++;
        return;
      case 'endpointslice':
        this.sliceHistory.end(key, at);
        return;
      case 'node':
        for (const ip of this.nodeHistory.current(key)?.addresses ?? []) {
          this.nodeOwners.giveUp(ip, key, at);
        }
        this.nodeHistory.end(key, at);
    }
  }

  /** What one state of a slice says of an address, if it lists it for this Service and port. */
  private listed(
    slice: EndpointSliceRecord,
    service: string,
    portName: string | undefined,
    protocol: string,
    ip: string,
    port: number,
  ): EndpointRecord | undefined {
    const endpoint = this.endpointsOf(slice).get(ip);
    if (endpoint === undefined || serviceKeyOf(slice) !== service) return undefined;
    const fits = slice.ports.some(
      (p) => p.port === port && p.name === portName && p.protocol === protocol,
    );
    return fits ? endpoint : undefined;
  }

  /** Endpoints of one state of a slice by address, made when first asked for. */
  private endpointsOf(slice: EndpointSliceRecord): ReadonlyMap<string, EndpointRecord> {
    const known = this.endpointIndex.get(slice);
    if (known !== undefined) return known;
    const index = new Map<string, EndpointRecord>();
    for (const endpoint of slice.endpoints) {
      for (const ip of endpoint.addresses) {
        const other = index.get(ip);
        if (other === undefined || rank(endpoint) > rank(other)) index.set(ip, endpoint);
      }
    }
    this.endpointIndex.set(slice, index);
    return index;
  }
}

function keyOf(item: ServiceName): string {
  return item.namespace === '' ? item.name : `${item.namespace}/${item.name}`;
}

function serviceKeyOf(slice: EndpointSliceRecord): string | undefined {
  if (slice.service === undefined) return undefined;
  return keyOf({ namespace: slice.namespace, name: slice.service });
}

/** Addresses that are the Pod's alone: not the node's, and not those of a Pod that has run its course. */
function ownAddresses(pod: PodRecord): readonly string[] {
  return pod.hostNetwork || pod.phase === 'Succeeded' || pod.phase === 'Failed' ? [] : pod.ips;
}

/** Two states of one object; a hand-made one may have no uid. */
function sameObject(a: ClusterRecord, b: ClusterRecord): boolean {
  return a.uid === b.uid || a.uid === '' || b.uid === '';
}

/** Versions of one object grow (a number, by KEP-5504); `undefined` where they cannot be compared. */
function compareVersions(a: string | undefined, b: string | undefined): number | undefined {
  if (a === undefined || b === undefined || !/^\d+$/.test(a) || !/^\d+$/.test(b)) return undefined;
  const difference = BigInt(a) - BigInt(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

function rank(endpoint: EndpointRecord): number {
  return (endpoint.ready ? 4 : 0) + (endpoint.serving ? 2 : 0) + (endpoint.terminating ? 0 : 1);
}

/** By code units: the same everywhere, whatever the locale. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
