import type { InputFile } from './expand.js';

/** `X.before.txt` is the earlier of two beside `X.txt`; the name of the later one, `undefined` for others. */
function laterOf(key: string): string | undefined {
  const m = /^(.*)\.before(\.[^/]*)?$/.exec(key);
  return m === null ? undefined : `${m[1]}${m[2] ?? ''}`;
}

/** Whether a file is the later of a pair whose earlier one is among `files`. */
export function isLaterOfPair(file: InputFile, files: readonly InputFile[]): boolean {
  return files.some(({ key }) => laterOf(key) === file.key);
}
