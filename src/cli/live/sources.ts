import { catchError, concat, EMPTY, filter, merge, type Observable, of, share, tap } from 'rxjs';
import type { InputEvent } from '../../model/event.js';
import type { Interfaces } from '../../model/interfaces.js';
import { UsageError } from '../../model/problem.js';
import { Backlog } from '../../sources/backlog.js';
import { chooseCapture } from '../../sources/capture/backend.js';
import type { CaptureOptions } from '../../sources/capture/ring.js';
import { clusterFromFiles } from '../../sources/cluster/files.js';
import { watchCluster } from '../../sources/cluster/watch.js';
import { chooseConntrack } from '../../sources/conntrack/choose.js';
import { chooseRules } from '../../sources/rules/choose.js';
import type { LiveRequest } from '../commands.js';

export interface LiveSources {
  /** Which backends were chosen, in one line for people. */
  readonly description: string;
  /** What names things: to be known before the first connection is judged. */
  readonly names: Observable<InputEvent>;
  /** What happens. */
  readonly traffic: Observable<InputEvent>;
  /** What of the traffic waits to be emitted. */
  readonly backlog: Backlog;
}

/**
 * The sources that a live run asks for. `unresolved` emits while connections wait for evidence: only
 * then is a table polled that tells nothing by itself. `opened` hears, at least once each, that the rules
 * were read as far as they can be, so were files of cluster objects, packets are captured, conntrack is
 * listened to.
 */
export function liveSources(
  request: LiveRequest,
  interfaces: Interfaces,
  unresolved: Observable<unknown>,
  opened: (what: 'rules' | 'cluster' | 'capture' | 'conntrack') => void,
  recording: Pick<CaptureOptions, 'tap' | 'snaplen' | 'everything'> = {},
): LiveSources {
  const node = request.nodeName === undefined ? {} : { node: request.nodeName };
  const backlog = new Backlog();
  const capture = chooseCapture(request.backend, {
    interfaces,
    backlog,
    ...node,
    ...recording,
    onOpen: () => opened('capture'),
  });
  const conntrack = chooseConntrack(
    request.conntrack,
    unresolved,
    () => opened('conntrack'),
    backlog,
    request.conntrackUpdates,
  );
  const cluster = clusterSource(request, () => opened('cluster')).pipe(share());
  const changes = cluster.pipe(filter((event) => event.type === 'cluster' && concernsRules(event)));
  const rules = chooseRules(request.rules, {
    ...node,
    clusterChanges: changes,
    onRead: () => opened('rules'),
  });
  const fallback: Observable<InputEvent> =
    capture.fallback === undefined
      ? EMPTY
      : of({ type: 'notice', notice: { code: 'capture-fallback', detail: capture.fallback } });
  return {
    description: `packets: ${capture.backend}, conntrack: ${conntrack.name}, rules: ${rules.name}, cluster: ${clusterName(request)}`,
    names: merge(rules.events, cluster),
    traffic: merge(concat(fallback, capture.events), conntrack.events),
    backlog,
  };
}

function concernsRules(event: InputEvent & { type: 'cluster' }): boolean {
  const { change } = event;
  const kind = change.op === 'list' ? change.kind : change.item.kind;
  return kind === 'service' || kind === 'endpointslice';
}

/** What a run is to know of the cluster; `onRead` is called when files of objects were read. */
export function clusterSource(
  request: Pick<LiveRequest, 'objects' | 'cluster'>,
  onRead: () => void,
): Observable<InputEvent> {
  if (request.objects !== undefined) {
    return clusterFromFiles(request.objects).pipe(tap({ complete: onRead }));
  }
  const { cluster } = request;
  if (cluster === undefined) return EMPTY;
  const watched = watchCluster(cluster);
  if (cluster.kubeconfig !== undefined || cluster.context !== undefined) return watched;
  // Nobody asked for a certain cluster, so having none is no error.
  return watched.pipe(
    catchError((error: unknown) => {
      if (!(error instanceof UsageError)) throw error;
      const detail = `no cluster to ask, so no Pod names: ${error.message}`;
      return of<InputEvent>({ type: 'notice', notice: { code: 'no-cluster', detail } });
    }),
  );
}

function clusterName(request: LiveRequest): string {
  if (request.objects !== undefined) return request.objects.join(' ');
  if (request.cluster === undefined) return 'none';
  return request.cluster.kubeconfig ?? request.cluster.context ?? 'default';
}
