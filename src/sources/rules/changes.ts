import {
  asyncScheduler,
  filter,
  finalize,
  map,
  merge,
  NEVER,
  type Observable,
  type SchedulerLike,
  switchMap,
  tap,
  throttleTime,
  timer,
} from 'rxjs';
import type { NftChange } from './nft-changes.js';

/**
 * When kube-proxy has written the rules that a change in the cluster leads to: it waits for nothing when
 * idle and a second (`minSyncPeriod`) when not, and takes its time where there are many rules.
 */
const AFTER_CLUSTER_MS: readonly number[] = [150, 500, 1_300, 2_500];
/** Of a burst of changes in the cluster the first and the last of each second count. */
const CLUSTER_BURST_MS = 1_000;

/** What tells that rules changed, or soon will. */
export interface ChangeSources {
  /** Changes of Services and their endpoints. */
  readonly cluster?: Observable<unknown>;
  readonly nft?: Observable<NftChange>;
  /** Changes of legacy iptables, as far as their size tells of them. */
  readonly legacy?: Observable<unknown>;
}

/** `nft`: tables of nf_tables have changed. `legacy`: so have legacy ones. `cluster`: kube-proxy may have written rules since. */
export type Change = 'nft' | 'legacy' | 'cluster';

/** Says when it is worth looking whether rules changed. */
export class Changes {
  /** Never ends by itself. */
  readonly events: Observable<Change>;
  private listening = false;

  constructor(sources: ChangeSources = {}, scheduler: SchedulerLike = asyncScheduler) {
    const { cluster = NEVER, nft = NEVER, legacy = NEVER } = sources;
    this.events = merge(
      nft.pipe(
        tap(() => {
          this.listening = true;
        }),
        filter((change) => change === 'changed'),
        map((): Change => 'nft'),
        finalize(() => {
          this.listening = false;
        }),
      ),
      legacy.pipe(map((): Change => 'legacy')),
      cluster.pipe(
        throttleTime(CLUSTER_BURST_MS, scheduler, { leading: true, trailing: true }),
        switchMap(() => merge(...AFTER_CLUSTER_MS.map((ms) => timer(ms, scheduler)))),
        map((): Change => 'cluster'),
      ),
      NEVER,
    );
  }

  /** Whether every change of nf_tables is heard. */
  get hearsNft(): boolean {
    return this.listening;
  }
}
