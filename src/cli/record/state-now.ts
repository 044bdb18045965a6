import { rulesKey } from '../../decode/record/shapes.js';
import {
  CLUSTER_KINDS,
  type ClusterChange,
  type ClusterKind,
  type ClusterRecord,
} from '../../model/cluster.js';
import type { InputEvent } from '../../model/event.js';
import type { Nanos } from '../../model/time.js';
import { OpenEntries } from './open-entries.js';

type ReadingsEvent = Extract<InputEvent, { type: 'readings' }>;

/** What holds at a moment, out of what was told before it: for a file that begins in the middle of a run. */
export class StateNow {
  private readonly rules = new Map<string, InputEvent>();
  private readonly addresses = new Map<string, InputEvent>();
  /** The last event that told each thing that is read of a node. */
  private readonly readings = new Map<string, ReadingsEvent>();
  private readonly cluster = new Map<ClusterKind, Map<string, ClusterRecord>>();
  private readonly entries = new OpenEntries();
  private readonly changed = new Map<ClusterKind, Nanos | undefined>();

  take(event: InputEvent): void {
    switch (event.type) {
      case 'rules':
        this.rules.set(rulesKey(event.node, event.rules), event);
        break;
      case 'addresses':
        this.addresses.set(event.node ?? '', event);
        break;
      case 'readings': {
        const { node, time, readings } = event;
        const of = node === undefined ? {} : { node };
        for (const [member, value] of Object.entries(readings)) {
          const alone = { type: 'readings', time, ...of, readings: { [member]: value } } as const;
          this.readings.set(`${node ?? ''} ${member}`, alone);
        }
        break;
      }
      case 'cluster':
        this.apply(event.change, event.time);
        break;
      case 'conntrack':
        this.entries.take(event.rows, event.from ?? 0, event.to ?? event.rows.length);
        break;
      case 'loss':
        // Ends may be among what was not told; the sources list the table again.
        if (event.loss.source === 'netlink' || event.loss.source === 'conntrack') {
          this.entries.clear();
        }
        break;
      default:
        break;
    }
  }

  /** What to tell someone who knows nothing. */
  events(): readonly InputEvent[] {
    const lists = CLUSTER_KINDS.flatMap((kind): InputEvent[] => {
      const known = this.cluster.get(kind);
      if (known === undefined) return [];
      const time = this.changed.get(kind);
      const change = { op: 'list', kind, items: [...known.values()] } as const;
      return [{ type: 'cluster', ...(time !== undefined && { time }), change }];
    });
    const readings = [...this.readings.values()].sort((a, b) => (a.time < b.time ? -1 : 1));
    return [...this.addresses.values(), ...this.rules.values(), ...lists, ...readings];
  }

  /** The connections that are open as conntrack knows them; rows may be read until the next event is asked for. */
  *connections(time: Nanos): Generator<InputEvent> {
    for (const rows of this.entries.listed(time)) yield { type: 'conntrack', rows };
    const { leftOut } = this.entries;
    if (leftOut === 0) return;
    const detail = `at the beginning of this file conntrack had ${leftOut} more entries than a later file of a recording lists`;
    yield { type: 'loss', loss: { source: 'file', count: leftOut, to: time, detail } };
  }

  private apply(change: ClusterChange, time: Nanos | undefined): void {
    const kind = change.op === 'list' ? change.kind : change.item.kind;
    const known = this.cluster.get(kind) ?? new Map<string, ClusterRecord>();
    this.cluster.set(kind, known);
    this.changed.set(kind, time);
    if (change.op === 'list') {
      known.clear();
      for (const item of change.items) known.set(keyOf(item), item);
    } else if (change.op === 'set') known.set(keyOf(change.item), change.item);
    else known.delete(keyOf(change.item));
  }
}

function keyOf({ namespace, name }: ClusterRecord): string {
  return `${namespace}/${name}`;
}
