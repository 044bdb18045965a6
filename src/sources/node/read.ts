import { readFile, readlink } from 'node:fs/promises';

/** What a small file of /proc or /sys says; `undefined` if it is not there or not ours to read. */
export async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** A setting that is one number. */
export async function numberOf(path: string): Promise<number | undefined> {
  const text = (await textOf(path))?.trim();
  return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
}

export async function linkOf(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch {
    return undefined;
  }
}
