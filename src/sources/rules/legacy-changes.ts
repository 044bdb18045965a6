import {
  asyncScheduler,
  catchError,
  defer,
  distinctUntilChanged,
  EMPTY,
  exhaustMap,
  from,
  type Observable,
  type SchedulerLike,
  skip,
  timer,
} from 'rxjs';
import { type AddonLoad, type LegacyTable, loadAddon } from '../../native/binding.js';

/** How often the kernel is asked: four calls of the system that take it microseconds. */
const INTERVAL_MS = 1_000;

/**
 * Emits when the legacy iptables of this process's network namespace may have changed: another table is there, or
 * one has another number of rules or bytes (`IPT_SO_GET_INFO`). The kernel tells nobody by itself; what leaves
 * the size as it was is not seen. Ends at once if there is no addon, and when the kernel refuses to say.
 */
export function watchLegacyChanges(
  load: () => AddonLoad = loadAddon,
  scheduler: SchedulerLike = asyncScheduler,
): Observable<unknown> {
  return defer(() => {
    const loading = load();
    if (!loading.ok) return EMPTY;
    const { addon } = loading;
    const ask = (): Promise<string> =>
      Promise.all([addon.legacyTables(4), addon.legacyTables(6)]).then(sizes);
    return timer(0, INTERVAL_MS, scheduler).pipe(
      exhaustMap(() => from(ask())),
      distinctUntilChanged(),
      skip(1),
      catchError(() => EMPTY),
    );
  });
}

const sizes = (families: readonly (readonly LegacyTable[])[]): string =>
  families
    .map((tables) => tables.map((it) => `${it.name} ${it.entries} ${it.bytes}`).join())
    .join(';');
