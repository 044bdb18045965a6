import type { Dirent, Stats } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { UsageError } from '../../model/problem.js';
import { type Nanos, parseEpoch, parseRfc3339 } from '../../model/time.js';

/** One INPUT as a user names it. */
export interface InputArgument {
  /** What stood before `=`: the node that the recording is from. */
  readonly node?: string;
  /** A file, a folder, `-` for standard input; `@TIME` may follow. */
  readonly path: string;
}

/** A time that an input's name gives to content that has none of its own. */
export interface FileTime {
  readonly time: Nanos;
  /** The name tells it to so many ns. */
  readonly resolutionNs: number;
}

/** One file to be read. */
export interface InputFile {
  /** As it is told to the user. */
  readonly name: string;
  /** Absolute path, `-` for standard input: puts files in an order whatever the order of naming. */
  readonly key: string;
  readonly form: 'file' | 'pipe' | 'stdin';
  /** Bytes; 0 for what has no size before it is read. */
  readonly size: number;
  /** Where it was recorded; the reader of the inputs may find it out. */
  node?: string;
  readonly time?: FileTime;
  /** The user named this very file, not only its folder. */
  readonly named: boolean;
  /** Stands in the `net/` of a named folder: says what the other files' interfaces are called. */
  readonly context: boolean;
  /** The named folder that it was found in. */
  readonly folder?: string;
}

const STDIN = '-';

/** Of a named folder these are read too; `net` only for what says how interfaces are called. */
const SUBFOLDERS = ['api', 'pods', 'snap'] as const;
const CONTEXT_FOLDER = 'net';

/**
 * The files that a user's arguments stand for, in an order that does not depend on the order of the
 * arguments. `node` is that of arguments that name none. What was named twice is there twice.
 * Throws UsageError for what is not there or may not be read.
 */
export async function expandInputs(
  args: readonly InputArgument[],
  node: string | undefined,
  hasStdin: boolean,
): Promise<InputFile[]> {
  const files: InputFile[] = [];
  for (const argument of args) files.push(...(await expandOne(argument, node)));
  const stdins = files.filter(({ form }) => form === 'stdin').length;
  if (stdins > 0 && !hasStdin) throw new UsageError('standard input (-) cannot be read here');
  if (stdins > 1) {
    throw new UsageError('standard input (-) is named twice: it can be read only once');
  }
  return files.sort(compareFiles);
}

function compareFiles(a: InputFile, b: InputFile): number {
  return (
    compare(a.key, b.key) ||
    compare(a.node ?? '', b.node ?? '') ||
    compare(a.time?.time ?? -1n, b.time?.time ?? -1n) ||
    compare(a.folder ?? '', b.folder ?? '')
  );
}

function compare<T extends string | bigint>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

async function expandOne(
  argument: InputArgument,
  defaultNode: string | undefined,
): Promise<InputFile[]> {
  const { path, node, time, stats } = await locate(argument);
  const of = node ?? defaultNode;
  const owner = of === undefined ? {} : { node: of };
  const dated = time === undefined ? {} : { time };
  if (stats === undefined) {
    const own = { name: 'standard input', key: STDIN, form: 'stdin', size: 0 } as const;
    return [{ ...own, ...owner, ...dated, named: true, context: false }];
  }
  if (!stats.isDirectory()) {
    const place = { ...owner, named: true, context: false };
    return [{ ...fileAt(path, stats), ...dated, ...place }];
  }
  if (time !== undefined) {
    throw new UsageError(
      `${path} is a folder: a time (@TIME) can only be given to a file; name the file itself`,
    );
  }
  const folder = resolve(path);
  const files: InputFile[] = [];
  const add = async (inside: string, context: boolean): Promise<void> => {
    for (const { at, stats: its } of await filesIn(inside)) {
      files.push({ ...fileAt(at, its), ...owner, named: false, context, folder });
    }
  };
  await add(path, false);
  for (const sub of SUBFOLDERS) await add(join(path, sub), false);
  await add(join(path, CONTEXT_FOLDER), true);
  return files;
}

function fileAt(path: string, stats: Stats): Omit<InputFile, 'named' | 'context'> {
  const time = timeInName(basename(path));
  return {
    name: path,
    key: resolve(path),
    form: stats.isFile() ? 'file' : 'pipe',
    size: stats.isFile() ? stats.size : 0,
    ...(time === undefined ? {} : { time }),
  };
}

/**
 * What an argument means: `NAME=` and `@TIME` are such only where no file is called so literally.
 * `stats` is absent for standard input.
 */
async function locate({ node, path }: InputArgument): Promise<{
  readonly path: string;
  readonly node?: string;
  readonly time?: FileTime;
  readonly stats?: Stats;
}> {
  const owner = node === undefined ? {} : { node };
  if (path === STDIN) return { path, ...owner };
  const literal = node === undefined ? path : `${node}=${path}`;
  const at = path.lastIndexOf('@');
  const time = at > 0 ? readTime(path.slice(at + 1)) : undefined;
  const candidates = [
    { path: literal },
    { path, ...owner },
    ...(time === undefined ? [] : [{ path: path.slice(0, at), time, ...owner }]),
  ];
  for (const candidate of candidates) {
    if (candidate.path === STDIN) return candidate;
    const stats = await statOf(candidate.path);
    if (stats !== undefined) return { ...candidate, stats };
  }
  throw new UsageError(`no such file or folder: ${path}; check the path`);
}

/** `undefined` if there is nothing at the path. */
async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined;
    throw unreadable(path, code);
  }
}

/** The regular files of a folder; none if it is not there. Deeper folders, sockets and devices are left out. */
async function filesIn(folder: string): Promise<{ at: string; stats: Stats }[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw unreadable(folder, code);
  }
  const files: { at: string; stats: Stats }[] = [];
  for (const entry of entries) {
    if (!entry.isFile() && !entry.isSymbolicLink()) continue;
    const at = join(folder, entry.name);
    const stats = await statOf(at);
    if (stats?.isFile()) files.push({ at, stats });
  }
  return files;
}

/** The error's code, such as `ENOENT`. */
export function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('code' in error)) return 'unknown error';
  return String(error.code);
}

/** The error for an input that the system does not let us read. */
export function unreadable(path: string, code: string): UsageError {
  const why = code === 'EACCES' || code === 'EPERM' ? 'permission denied' : code;
  const advice =
    why === 'permission denied' ? 'run as a user who may read it' : 'check the path and the disk';
  return new UsageError(`cannot read ${path}: ${why}; ${advice}`);
}

/** The time behind `@`: decimal seconds since 1970 or RFC 3339. */
function readTime(text: string): FileTime | undefined {
  const time = parseEpoch(text) ?? parseRfc3339(text);
  if (time === undefined) return undefined;
  const digits = /\.(\d+)/.exec(text)?.[1]?.length ?? 0;
  return { time, resolutionNs: 10 ** (9 - Math.min(9, digits)) };
}

/** `conntrack-1795377469.195.xml`: seconds since 1970 (ten digits: 2001 to 2286) before the extension. */
function timeInName(name: string): FileTime | undefined {
  const m = /-(\d{10}(?:\.\d{1,9})?)(?:\.[A-Za-z]\w*)*$/.exec(name);
  return m?.[1] === undefined ? undefined : readTime(m[1]);
}
