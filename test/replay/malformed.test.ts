import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { malformedFiles, soundFiles } from '../support/make-malformed.js';
import { MALFORMED, type MalformedCase, readme } from '../support/malformed-cases.js';
import { balances, CONTROL, ofType, type Replayed, replayed, type SaidEvent } from './replayed.js';

const FOLDER = fileURLToPath(new URL('../../pcaps/malformed', import.meta.url));
const PROGRAM = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const before = process.cwd();
let scratch = '';

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'whichpod-malformed-'));
  process.chdir(FOLDER);
});

afterAll(() => {
  process.chdir(before);
  rmSync(scratch, { recursive: true, force: true });
});

const nameOf = ({ inputs, defect }: MalformedCase): string => `${inputs.join(' and ')}: ${defect}`;

function rowOf({ client, service, backend, evidence }: SaidEvent): string {
  const who = backend?.pod?.name ?? backend?.ip ?? '-';
  return `${client?.port} ${service?.name ?? '-'} ${who} ${evidence?.join('+')}`;
}

const rowsOf = (events: readonly SaidEvent[]): string[] =>
  ofType(events, 'close').map(rowOf).sort();

describe('the malformed files', () => {
  const files = [
    ...soundFiles(),
    ...malformedFiles(),
    ['README.md', Buffer.from(readme())] as const,
  ];

  it.each(files)('%s is what the script makes', (path, content) => {
    expect(readFileSync(join(FOLDER, path)).equals(content)).toBe(true);
  });

  it('are those that the script makes, each in a case of its own, small', () => {
    const stored = readdirSync(FOLDER, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(FOLDER.length + 1));
    expect(stored.sort()).toEqual(files.map(([path]) => path).sort());
    const inputs = MALFORMED.flatMap((it) => it.inputs);
    expect([...inputs].sort()).toEqual([...malformedFiles().keys()].sort());
    expect(files.reduce((sum, [, content]) => sum + content.length, 0)).toBeLessThan(200_000);
  });
});

describe('a replay with one defect among its inputs', () => {
  it.each(MALFORMED.map((it) => [nameOf(it), it] as const))('%s', async (_name, it) => {
    const { exit, stderr, events } = await replayed(...it.inputs, ...it.beside);
    expect(stderr).toBe(it.says === undefined ? '' : `${it.says}\n`);
    expect(exit).toBe(it.exit);
    expect(rowsOf(events)).toEqual([...it.rows].sort());
    const losses = ofType(events, 'loss');
    expect(losses.map(({ source, count }) => [source, count])).toEqual(
      it.lost === undefined ? [] : [['file', it.lost]],
    );
    // The loss says the same as the line on stderr, but for what to do.
    for (const { detail = '' } of losses) expect(unescaped(it.says)).toContain(place(detail));
    const summaries = ofType(events, 'summary');
    expect(summaries).toHaveLength(it.exit === 0 ? 1 : 0);
    for (const summary of summaries) {
      expect(balances(summary)).toBe(true);
      expect(summary.connections?.seen).toBe(it.rows.length);
      expect(summary.losses).toBe(losses.length);
    }
  });

  it('every line names the file, and where it can the place, and what to do', () => {
    for (const { says, inputs } of MALFORMED) {
      if (says === undefined) continue;
      for (const file of inputs) expect(says).toContain(file);
      expect(says).toMatch(/[;:?] ?[^;]{10,}$/);
      const placed =
        /\((?:record \d+|line \d+|byte \d+)(?:, (?:line|byte) \d+)*\)|empty|not recognised|without a time|one page/;
      expect(says).toMatch(placed);
    }
  });

  it('gives the same whatever the order of the inputs', async () => {
    for (const it of MALFORMED) {
      const inputs = [...it.inputs, ...it.beside];
      const there = await replayed(...inputs);
      const back = await replayed(...inputs.reverse());
      expect(back, nameOf(it)).toEqual(there);
    }
  });

  it('--fail-on loss ends with 1 where something is missing, and only there', async () => {
    for (const it of MALFORMED) {
      const { exit } = await replayed(...it.inputs, ...it.beside, '--fail-on', 'loss');
      expect(exit, nameOf(it)).toBe(it.exit === 2 ? 2 : it.lost === undefined ? 0 : 1);
    }
  });

  it('alone, a file without captured or tracked connections is said to be none', async () => {
    const { exit, stderr } = await replayed('rules-no-commit.txt');
    expect(exit).toBe(2);
    expect(stderr.split('\n')).toEqual([
      expect.stringMatching(/^rules-no-commit\.txt: .*without COMMIT/),
      expect.stringMatching(
        /^whichpod: no capture and no conntrack among the inputs.*; add a pcap/,
      ),
      '',
    ]);
  });
});

const place = (detail: string): string => detail.replace(/^.*?: /, '');
const unescaped = (says = ''): string => says.replaceAll('\\u{1b}', '\u001b');

describe('inputs that the system refuses', () => {
  const one = (stderr: string): string => {
    expect(stderr.match(/\n/g)).toHaveLength(1);
    return stderr;
  };

  it.each([
    [
      'that is not there',
      ['nowhere/at/all'],
      /^whichpod: no such file or folder: nowhere\/at\/all; check the path\n$/,
    ],
    ['below a file', ['empty.pcap/x'], /^whichpod: no such file or folder: empty\.pcap\/x; /],
    [
      'a folder with a time',
      ['good@1795377311'],
      /^whichpod: good is a folder: a time .*; name the file itself\n$/,
    ],
    ['standard input named twice', ['-', '-'], /^whichpod: standard input \(-\) is named twice: /],
  ])('%s', async (_name, argv, says) => {
    const { exit, stderr, events } = await replayed(...argv);
    expect({ exit, events }).toEqual({ exit: 2, events: [] });
    expect(one(stderr)).toMatch(says);
  });

  it('a folder without any file has nothing to attribute', async () => {
    const folder = join(scratch, 'nothing');
    mkdirSync(folder);
    const { exit, stderr } = await replayed(folder);
    expect(exit).toBe(2);
    expect(one(stderr)).toMatch(/^whichpod: no capture and no conntrack among the inputs/);
  });

  it('a file and a folder that may not be read', async () => {
    const file = join(scratch, 'secret.pcap');
    copyFileSync('pcap-record-cut.pcap', file);
    const folder = join(scratch, 'secrets');
    mkdirSync(folder);
    chmodSync(scratch, 0o755);
    chmodSync(file, 0);
    chmodSync(folder, 0);
    // Loaded before: another user may not see the program's own files.
    await replayed('good');
    for (const path of [file, folder]) {
      const { exit, stderr } = await asNobody(() => replayed(path));
      expect(exit).toBe(2);
      expect(one(stderr)).toBe(
        `whichpod: cannot read ${path}: permission denied; run as a user who may read it\n`,
      );
    }
    chmodSync(folder, 0o700);
  });

  it('a file whose reading fails', async ({ skip }) => {
    // Address 0 of a process is never mapped.
    if (process.platform !== 'linux') skip('not Linux');
    const { exit, stderr } = await replayed('/proc/self/mem');
    expect(exit).toBe(2);
    expect(one(stderr)).toMatch(
      /^whichpod: cannot read \/proc\/self\/mem: E\w+; check the path and the disk\n$/,
    );
  });
});

/** Root may read everything, so root does this as somebody else. */
async function asNobody<T>(work: () => Promise<T>): Promise<T> {
  const uid = process.geteuid?.();
  if (uid !== 0 || process.seteuid === undefined) return work();
  process.seteuid(65_534);
  try {
    return await work();
  } finally {
    process.seteuid(uid);
  }
}

describe('hostile file names', () => {
  const HOSTILE = 'a\u001b[2J\u001b]0;x\u0007\nb\r\u009b31m\u202e\u2028';

  it.each([
    ['damaged', 'pcap-record-cut.pcap', 0],
    ['refused', 'pcap-version.pcap', 2],
    ['not recognised', 'random.pcap', 0],
    ['empty', 'empty.pcap', 0],
    ['of rules', 'rules-line-damaged.txt', 0],
    ['of objects', 'pods-not-json.json', 2],
  ])(
    'do nothing to the terminal: a file %s, named or found in a folder',
    async (_name, file, code) => {
      const folder = mkdtempSync(join(scratch, 'hostile-'));
      const path = join(folder, HOSTILE);
      copyFileSync(file, path);
      copyFileSync('good/conntrack-events.txt', join(folder, 'conntrack-events.txt'));
      for (const argv of [[path, 'good'], [folder]]) {
        const { exit, stderr } = await replayed(...argv);
        expect(exit).toBe(code);
        expect(stderr).toMatch(/^[^\n]*\\u\{1b\}\[2J[^\n]*\n$/);
        expect(stderr).not.toMatch(CONTROL);
      }
    },
  );

  it('do nothing when they are not there, or contradict each other', async () => {
    const folder = mkdtempSync(join(scratch, 'hostile-'));
    copyFileSync('rules-undated-one.txt', join(folder, `${HOSTILE}1`));
    copyFileSync('rules-undated-other.txt', join(folder, `${HOSTILE}2`));
    for (const path of [folder, join(folder, HOSTILE)]) {
      const { exit, stderr } = await replayed(path);
      expect(exit).toBe(2);
      expect(stderr.match(/\n/g)).toHaveLength(1);
      expect(stderr).not.toMatch(CONTROL);
    }
  });
});

describe('the program itself', () => {
  async function whichpod(
    ...argv: string[]
  ): Promise<Omit<Replayed, 'events'> & { stdout: string }> {
    const child = spawn(process.execPath, [PROGRAM, 'replay', ...argv], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: FOLDER,
    });
    const [stdout, stderr, [exit]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'exit'),
    ]);
    return { exit: Number(exit), stdout, stderr };
  }

  const chosen = [
    'pcap-record-cut.pcap',
    'pcapng-block-length-4.pcapng',
    'gzip-rubbish.pcap.gz',
    'conntrack-flow-cut.xml',
    'rules-undated-one.txt',
    'pods-cut.json',
  ];

  it.each(
    MALFORMED.filter(({ inputs }) => chosen.includes(inputs[0] ?? '')).map(
      (it) => [nameOf(it), it] as const,
    ),
  )('says so too: %s', async (_name, it) => {
    const { exit, stdout, stderr } = await whichpod(...it.inputs, ...it.beside);
    expect(stderr).toBe(`${it.says}\n`);
    expect(exit).toBe(it.exit);
    const events = stdout
      .split('\n')
      .slice(0, -1)
      .map((line): SaidEvent => JSON.parse(line));
    expect(rowsOf(events)).toEqual([...it.rows].sort());
  });

  it('reads a cut capture from a pipe as it does from a file', async () => {
    const child = spawn(process.execPath, [PROGRAM, 'replay', '-', 'good'], {
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: FOLDER,
    });
    child.stdin.end(readFileSync(join(FOLDER, 'pcap-record-cut.pcap')));
    const [stdout, stderr, [exit]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'exit'),
    ]);
    expect(stderr).toMatch(/^standard input: the last record is cut: .*\(record 5, byte 384\)/);
    expect(exit).toBe(0);
    expect(stdout.match(/"type":"close"/g)).toHaveLength(3);
  });

  it('ends with 2 and one line when the only input is a cut header, written by hand', async () => {
    const file = join(scratch, 'cut');
    writeFileSync(file, Buffer.from('d4c3b2a10200', 'hex'));
    const { exit, stdout, stderr } = await whichpod(file);
    expect({ exit, stdout }).toEqual({ exit: 2, stdout: '' });
    expect(stderr).toMatch(/^whichpod: \S+cut: the input ends within the file header[^\n]*\n$/);
  });
});
