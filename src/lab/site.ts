import { fileURLToPath } from 'node:url';
import { UsageError } from '../model/problem.js';
import { deleteNamespaces, namespacePath } from './namespaces.js';
import type { Child, Processes } from './processes.js';

/** The package's root, from src/lab as from dist/lab. */
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The namespaces of one lab and the programs in them. */
export class Site {
  readonly processes: Processes;
  readonly #names: ReadonlyMap<string, string>;

  constructor(processes: Processes, names: ReadonlyMap<string, string>) {
    this.processes = processes;
    this.#names = names;
  }

  namespace(where: string): string {
    const name = this.#names.get(where);
    if (name === undefined) throw new UsageError(`lab: there is no Pod ${where}`);
    return name;
  }

  enter(where: string): readonly string[] {
    return ['nsenter', `--net=${namespacePath(this.namespace(where))}`];
  }

  must(where: string, argv: readonly string[], input?: string): Promise<string> {
    return this.processes.must([...this.enter(where), ...argv], input);
  }

  /** Starts one of the lab's own programs there. Its job is its only argument. */
  start(where: string, script: string, job: object): Child {
    // Run from source (tests), they need tsx, which is looked for from the working directory.
    const fromSource = import.meta.url.endsWith('.ts');
    const file = fileURLToPath(
      new URL(`./${script}${fromSource ? '.ts' : '.js'}`, import.meta.url),
    );
    const node = [process.execPath, ...(fromSource ? ['--import', 'tsx'] : []), file];
    return this.processes.start([...this.enter(where), ...node, JSON.stringify(job)], ROOT);
  }

  async close(): Promise<void> {
    await this.processes.end();
    deleteNamespaces([...this.#names.values()]);
  }

  closeSync(): void {
    this.processes.kill();
    deleteNamespaces([...this.#names.values()]);
  }
}
