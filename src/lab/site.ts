import { statSync } from 'node:fs';
import { join } from 'node:path';
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
    const node = [process.execPath, ...scriptArguments(script), JSON.stringify(job)];
    return this.processes.start([...this.enter(where), ...node], ROOT);
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

/**
 * How Node runs one of the programs beside this file. From source (in tests) the compiled one is taken
 * if it is not older, since each start through tsx costs several times as much; a program imports
 * nothing but types and Node's modules, so its own age is all that matters.
 */
function scriptArguments(script: string): string[] {
  const compiled = join(ROOT, 'dist', 'lab', `${script}.js`);
  if (import.meta.url.endsWith('.js')) return [compiled];
  const source = join(ROOT, 'src', 'lab', `${script}.ts`);
  const age = statSync(compiled, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (age > statSync(source).mtimeMs) return [compiled];
  return ['--import', 'tsx', source]; // tsx is looked for from the working directory
}
