import {
  CLUSTER_KINDS,
  type ClusterChange,
  type ClusterKind,
  type ClusterRecord,
} from '../../model/cluster.js';

/**
 * Several lists without a time, as one state of the cluster: of each kind one list of all objects; of
 * two states of one object the later (by its resourceVersion) counts. Where only single objects are
 * known of a kind, they are set one by one: nothing follows for those that are not there.
 */
export function mergeLists(changes: readonly ClusterChange[]): ClusterChange[] {
  const merged: ClusterChange[] = [];
  for (const kind of CLUSTER_KINDS) {
    const objects = new Map<string, ClusterRecord>();
    let listed = false;
    let version: string | undefined;
    for (const change of changes) {
      if (kindOf(change) !== kind) continue;
      if (change.op !== 'list') {
        if (change.op === 'set') keepLater(objects, change.item);
        continue;
      }
      listed = true;
      for (const item of change.items) keepLater(objects, item);
      if (compareVersions(change.resourceVersion, version) > 0) version = change.resourceVersion;
    }
    const items = [...objects.values()].sort(compareNames);
    if (!listed) merged.push(...items.map((item): ClusterChange => ({ op: 'set', item })));
    else
      merged.push({
        op: 'list',
        kind,
        items,
        ...(version === undefined ? {} : { resourceVersion: version }),
      });
  }
  return merged;
}

function kindOf(change: ClusterChange): ClusterKind {
  return change.op === 'list' ? change.kind : change.item.kind;
}

function keepLater(objects: Map<string, ClusterRecord>, item: ClusterRecord): void {
  // Objects written by hand may lack a uid.
  const key = item.uid === '' ? `${item.namespace}/${item.name}` : item.uid;
  const known = objects.get(key);
  if (known !== undefined && compareVersions(item.resourceVersion, known.resourceVersion) <= 0)
    return;
  objects.set(key, item);
}

/**
 * Resource versions are etcd's revision, which only grows, printed as a number: the longer is the larger.
 */
function compareVersions(a: string | undefined, b: string | undefined): number {
  const x = a ?? '';
  const y = b ?? '';
  if (x.length !== y.length) return x.length - y.length;
  return x < y ? -1 : x > y ? 1 : 0;
}

function compareNames(a: ClusterRecord, b: ClusterRecord): number {
  const x = `${a.namespace}/${a.name}/${a.uid}`;
  const y = `${b.namespace}/${b.name}/${b.uid}`;
  return x < y ? -1 : x > y ? 1 : 0;
}
