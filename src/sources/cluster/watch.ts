import { Observable } from 'rxjs';
import { CLUSTER_KINDS, type ClusterKind } from '../../model/cluster.js';
import type { InputEvent } from '../../model/event.js';
import { Turns } from '../slices.js';
import { type KubeConfigOptions, loadClusterAccess } from './kube-config.js';
import { reflect } from './reflector.js';
import { serverVersion } from './server-version.js';
import { systemTiming, type Timing } from './timing.js';

export interface WatchClusterOptions extends KubeConfigOptions {
  readonly timing?: Timing;
}

/**
 * The cluster's Pods, Services, EndpointSlices and Nodes, as long as one subscribes: a list of each
 * kind without a time, then every change as it arrives. Only lists and watches these four kinds. When
 * all have been listed once, the notice `cluster-listed` says so, and the server is asked for its version. What the network does shows as
 * notices and losses; the stream itself ends only with an error, a UsageError, when the configuration
 * cannot be used. Nothing is read before the subscription; unsubscribing closes all connections.
 */
export function watchCluster(options: WatchClusterOptions = {}): Observable<InputEvent> {
  return new Observable<InputEvent>((subscriber) => {
    const ended = new AbortController();
    const timing = options.timing ?? systemTiming;
    const emit = oncePerTrouble((event) => subscriber.next(event));
    const turns = new Turns();
    const missing = new Set<ClusterKind>(CLUSTER_KINDS);
    const run = async (): Promise<void> => {
      const access = await loadClusterAccess(options);
      const tellVersion = async (): Promise<void> => {
        const apiServer = await serverVersion(access, timing, ended.signal);
        if (apiServer === undefined || ended.signal.aborted) return;
        emit({ type: 'readings', time: timing.now(), readings: { apiServer } });
      };
      const all = CLUSTER_KINDS.map((kind) =>
        reflect({
          kind,
          access,
          timing,
          signal: ended.signal,
          emit,
          turns,
          listed: () => {
            missing.delete(kind);
            if (missing.size > 0) return;
            const detail = `Pods, Services, EndpointSlices and Nodes of ${access.server} are known`;
            emit({
              type: 'notice',
              notice: { code: 'cluster-listed', time: timing.now(), detail },
            });
            tellVersion().catch((error: unknown) => subscriber.error(error));
          },
        }),
      );
      await Promise.all(all);
    };
    run().catch((error: unknown) => {
      ended.abort();
      subscriber.error(error);
    });
    return () => ended.abort();
  });
}

/** Four kinds meet the same trouble at the same time: a notice is given out once until things change. */
function oncePerTrouble(next: (event: InputEvent) => void): (event: InputEvent) => void {
  const told = new Set<string>();
  return (event) => {
    if (event.type === 'cluster') told.clear();
    if (event.type === 'notice') {
      const text = `${event.notice.code} ${event.notice.detail}`;
      if (told.has(text)) return;
      told.add(text);
    }
    next(event);
  };
}
