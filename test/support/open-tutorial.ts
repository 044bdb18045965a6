/**
 * `npx tsx test/support/open-tutorial.ts` builds the tutorial's node in network namespaces and keeps it
 * until Ctrl-C, so that docs/tutorial.md can be followed by hand. It prints shell functions that run a
 * command in the node and in the client's Pod. Takes Linux and root.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeLabsSync, createLab } from '../../src/lab/lab.js';
import { TUTORIAL, TUTORIAL_CLIENT } from '../../src/lab/tutorial.js';

const folder = await mkdtemp(join(tmpdir(), 'whichpod-tutorial-'));
const ended = new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, resolve);
});
process.once('exit', closeLabsSync);
const lab = await createLab(TUTORIAL);
try {
  for (const [name, list] of Object.entries(lab.objects)) {
    await writeFile(join(folder, `${name}.json`), JSON.stringify(list));
  }
  process.stdout.write(
    `on_node() { ${lab.enter('node').join(' ')} "$@"; }\n` +
      `in_client() { ${lab.enter(TUTORIAL_CLIENT).join(' ')} "$@"; }\n` +
      `OBJECTS=${folder}\n`,
  );
  process.stderr.write('The node is there until Ctrl-C. Paste these lines into another shell.\n');
  // A pending promise alone does not keep Node running; the Pods' servers do.
  await ended;
} finally {
  await lab.close();
  await rm(folder, { recursive: true, force: true });
}
