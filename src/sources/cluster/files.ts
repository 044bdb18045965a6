import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Observable } from 'rxjs';
import { readClusterDocument } from '../../decode/cluster/documents.js';
import type { ClusterChange } from '../../model/cluster.js';
import type { InputEvent } from '../../model/event.js';
import { describeWhere, UsageError } from '../../model/problem.js';
import { mergeLists } from '../files/cluster-lists.js';

/**
 * Cluster objects from files (as `kubectl get … -o json` writes them), for a node that may not ask the
 * API: every file, or the `.json` files of a folder. They hold from the beginning; ends when all are
 * read. Errors: UsageError for a path or a file that cannot be used.
 */
export function clusterFromFiles(paths: readonly string[]): Observable<InputEvent> {
  return new Observable<InputEvent>((subscriber) => {
    read(paths, (event) => subscriber.next(event)).then(
      () => subscriber.complete(),
      (error: unknown) => subscriber.error(error),
    );
  });
}

async function read(paths: readonly string[], emit: (event: InputEvent) => void): Promise<void> {
  const known: ClusterChange[] = [];
  for (const path of paths) {
    for (const file of await filesOf(path)) {
      const { changes, problems } = readClusterDocument(await load(file));
      const fatal = problems.find((problem) => problem.fatal);
      if (fatal !== undefined) {
        throw new UsageError(
          `${file}: ${fatal.message} (${describeWhere(fatal.where)}); ${fatal.advice}`,
        );
      }
      known.push(...changes);
    }
  }
  for (const change of mergeLists(known)) emit({ type: 'cluster', change });
}

async function filesOf(path: string): Promise<string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    const names = (await readdir(path)).filter((name) => name.endsWith('.json')).sort();
    return names.map((name) => join(path, name));
  } catch (error) {
    throw unreadable(path, error);
  }
}

async function load(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (error) {
    throw unreadable(file, error);
  }
}

function unreadable(path: string, error: unknown): UsageError {
  const why = error instanceof Error ? error.message : String(error);
  return new UsageError(
    `${path}: cannot be read (${why}); name a file or folder of kubectl's JSON`,
  );
}
