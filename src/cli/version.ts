import { readFileSync } from 'node:fs';

/** The version in package.json, which lies two folders up from the source and from what is built of it. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { version: found } = JSON.parse(text) as { version: string };
  return found;
}
