/** `npx tsx test/support/write-malformed.ts` writes `pcaps/malformed/` anew. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { malformedFiles, soundFiles } from './make-malformed.js';
import { readme } from './malformed-cases.js';

for (const [path, content] of [
  ...soundFiles(),
  ...malformedFiles(),
  ['README.md', readme()] as const,
]) {
  const to = fileURLToPath(new URL(`../../pcaps/malformed/${path}`, import.meta.url));
  await mkdir(dirname(to), { recursive: true });
  await writeFile(to, content);
}
