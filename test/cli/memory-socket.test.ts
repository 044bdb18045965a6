import { chmod, chown, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { askLive } from '../../src/cli/live/memory-client.js';
import { folderForSocket, removeStale, socketName } from '../../src/cli/live/memory-socket.js';
import { toJson } from '../../src/pipeline/case-wire.js';
import { fakeIo } from './fake-io.js';

const SELECTOR = { id: '0123456789abcdef', text: '0123456789abcdef' };
const UID = process.geteuid?.() ?? 0;
/** Nobody's, on every Linux. */
const OTHER_UID = 65_534;

let base: string;
let folder: string;
const servers: Server[] = [];

beforeEach(async (context) => {
  if (process.platform === 'win32') context.skip('unix sockets');
  base = await mkdtemp(join(tmpdir(), 'whichpod-socket-'));
  folder = join(base, 'whichpod');
});

afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await rm(base, { recursive: true, force: true });
});

/** A user who has a session, as `uid` says. Root's own folder is not among those of others. */
function world(uid = UID === 0 ? 4_242 : UID) {
  return fakeIo({ env: { XDG_RUNTIME_DIR: base }, uid });
}

/** Somebody who listens where a live run would, and says `reply` to whatever is asked. */
async function listen(reply: string): Promise<string> {
  const path = join(folder, await socketName(1));
  const server = createServer((socket) => {
    socket.once('data', () => socket.end(reply));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

/** A socket file as a run that was killed leaves it. */
async function leave(): Promise<void> {
  const path = join(folder, await socketName(2));
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  const { spawnSync } = await import('node:child_process');
  spawnSync(process.execPath, ['-e', script]);
}

async function owned(path: string, uid: number): Promise<void> {
  if (UID === 0) await chown(path, uid, uid);
}

describe('the folder of the socket', () => {
  it('is made for its user alone', async () => {
    const io = fakeIo({ env: { XDG_RUNTIME_DIR: base }, uid: UID === 0 ? undefined : UID });
    expect(await folderForSocket(io)).toEqual({ folder });
    const { lstat } = await import('node:fs/promises');
    expect((await lstat(folder)).mode & 0o777).toBe(0o700);
  });

  it.each([
    ['others may enter', async () => chmod(folder, 0o755), 'may be entered by others'],
    ['is another user’s', async () => owned(folder, OTHER_UID), 'is owned by user 65534'],
  ] as const)('is not taken if it %s', async (_, spoil, why) => {
    await mkdir(folder, { mode: 0o700 });
    const io = world();
    await owned(folder, io.uid ?? UID);
    await spoil();
    if (UID !== 0 && why.includes('owned')) return;
    const place = await folderForSocket(io);
    // The next place is tried, or none is left.
    expect('folder' in place ? place.folder : '').not.toBe(folder);
    await askLive(SELECTOR, io);
    expect(io.stderr.text).toContain(why);
  });

  it('is not taken if it is a link', async () => {
    await mkdir(join(base, 'real'), { mode: 0o700 });
    await symlink(join(base, 'real'), folder);
    const io = world();
    await askLive(SELECTOR, io);
    expect(io.stderr.text).toContain('is no folder');
  });
});

describe('asking', () => {
  beforeEach(async () => {
    await mkdir(folder, { mode: 0o700 });
  });

  /** Root's answers are asked for as the user whose folder it is. */
  const own = () => fakeIo({ env: { XDG_RUNTIME_DIR: base }, uid: UID });

  it('finds nobody where nobody listens, and removes what a killed run left', async () => {
    await leave();
    await writeFile(join(folder, 'unrelated'), '');
    expect(await readdir(folder)).toHaveLength(2);
    await removeStale(own());
    expect(await readdir(folder)).toEqual(['unrelated']);
    expect(await askLive(SELECTOR, own())).toBeUndefined();
  });

  it.each([
    ['no JSON', 'hello\n', /no answer of this version/],
    ['another version', `${toJson({ protocol: 'whichpod-memory/9' })}\n`, /no answer of this/],
    [
      'an error',
      `${toJson({ protocol: 'whichpod-memory/1', error: 'it is early' })}\n`,
      /cannot tell: it is early/,
    ],
  ])('refuses %s', async (_, reply, why) => {
    await listen(reply);
    await expect(askLive(SELECTOR, own())).rejects.toThrow(why);
  });

  it('takes an end without a word for nobody', async () => {
    await listen('');
    expect(await askLive(SELECTOR, own())).toBeUndefined();
  });

  it('gives the answer', async () => {
    const told = { seen: 3, matched: 0, inOrder: [], nearest: [] };
    await listen(`${toJson({ protocol: 'whichpod-memory/1', told, remember: 9 })}\n`);
    expect(await askLive(SELECTOR, own())).toMatchObject({ told, remember: 9 });
  });
});
