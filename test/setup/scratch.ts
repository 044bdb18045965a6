import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What the scripts need of a system besides the programs that are stand-ins here. */
const TOOLS =
  'bash cat chmod cksum cut dirname env find flock grep head ls mkdir mktemp node rm sed sh tail touch tr uname';

/** Every stand-in first writes down how it was called, one line a call. */
const RECORD = `#!/bin/sh\n{ printf '%s ' "\${0##*/}" "$@" | tr '\\n' ' '; echo; } >>"$CALLS"\n`;

const STAND_INS: Readonly<Record<string, string>> = {
  id: `echo "\${FAKE_UID:-0}"`,
  // Reports all that it is asked for as installed, save what the test says is missing.
  'dpkg-query': `shift 3
    for name; do
      case " $(cat "$STATE/missing" 2>/dev/null) " in *" $name "*) ;; *) echo "$name installed" ;; esac
    done`,
  'apt-get': `
    case " $* " in
      *" update "*) : >"$STATE/updated" ;;
      *" install "*)
        [ "\${FAKE_APT:-}" != broken ] || { echo 'E: no such package'; exit 100; }
        [ "\${FAKE_APT:-}" != stale ] || [ -e "$STATE/updated" ] || exit 100
        [ "$DEBIAN_FRONTEND" = noninteractive ] || exit 1
        : >"$STATE/missing" ;;
    esac`,
  npm: `
    echo "cache=\${npm_config_cache:-}" >>"$STATE/npm-environment"
    case "$*" in
      ci*)
        [ "\${FAKE_NPM:-}" != broken ] || { echo 'npm error the registry is on fire'; exit 1; }
        rm -rf node_modules && mkdir -p node_modules/.bin
        : >node_modules/.bin/tsc; : >node_modules/.bin/vitest; : >node_modules/.package-lock.json
        [ "\${FAKE_CAP:-ok}" != ok ] || { mkdir node_modules/cap; : >node_modules/cap/index.js; } ;;
      *build:native*)
        [ "\${FAKE_ADDON:-}" != broken ] || { echo 'ring.cc:1: error'; exit 1; }
        rm -rf native/build && mkdir -p native/build ;;
      *build:ts*)
        [ "\${FAKE_TSC:-}" != broken ] || { echo 'main.ts(1,1): error'; exit 2; }
        mkdir -p dist; : >dist/main.js ;;
      *check*) [ "\${FAKE_CHECK:-}" != broken ] ;;
      test*)
        [ -z "\${FAKE_COUNTS:-}" ] || echo "$FAKE_COUNTS" >"$WHICHPOD_TEST_COUNTS"
        [ "\${FAKE_TEST:-}" != broken ] ;;
    esac`,
  'g++': '',
  make: '',
  'pcap-config': '',
};

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The calls of stand-ins in this run, `npm ci …`. */
  readonly calls: readonly string[];
}

export interface Circumstances {
  readonly env?: Readonly<Record<string, string>>;
  /** Packages that are not installed. */
  readonly missing?: readonly string[];
  /** Programs that this machine does not have. */
  readonly without?: readonly string[];
  readonly cwd?: string;
}

/** A checkout of its own, in a folder with a blank in its name, on a machine made of stand-ins. */
export class Scratch {
  readonly root: string;
  readonly #base: string;

  constructor() {
    this.#base = mkdtempSync(join(tmpdir(), 'whichpod setup-'));
    this.root = join(this.#base, 'a check out');
    for (const file of ['.ci/setup', '.ci/run', '.npmrc', 'package.json', 'package-lock.json']) {
      mkdirSync(dirname(join(this.root, file)), { recursive: true });
      cpSync(join(ROOT, file), join(this.root, file));
    }
    for (const file of [
      'tsconfig.json',
      'tsconfig.build.json',
      'src/main.ts',
      'native/binding.gyp',
    ]) {
      this.write(file, '');
    }
    mkdirSync(join(this.#base, 'bin'));
    mkdirSync(join(this.#base, 'tools'));
    mkdirSync(join(this.#base, 'home'));
    for (const [name, body] of Object.entries(STAND_INS)) this.standIn(name, body);
    for (const tool of TOOLS.split(' ')) {
      const real = spawnSync('sh', ['-c', `command -v ${tool}`], {
        encoding: 'utf8',
      }).stdout.trim();
      if (real !== '')
        symlinkSync(tool === 'node' ? process.execPath : real, join(this.#base, 'tools', tool));
    }
  }

  remove(): void {
    rmSync(this.#base, { recursive: true, force: true });
  }

  /** Replaces a program; `body` is a shell script. */
  standIn(name: string, body: string): void {
    const path = join(this.#base, 'bin', name);
    writeFileSync(path, `${RECORD}${body}\n`);
    chmodSync(path, 0o755);
  }

  write(file: string, text: string): void {
    const path = join(this.root, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }

  has(file: string): boolean {
    return existsSync(join(this.root, file));
  }

  /** As an editor would, after everything that was built. */
  touch(file: string): void {
    const later = Date.now() / 1000 + 2;
    utimesSync(join(this.root, file), later, later);
  }

  /** Text that stand-ins left in a file of theirs. */
  state(file: string): string {
    return readFileSync(join(this.#base, 'state', file), 'utf8');
  }

  get home(): string {
    return join(this.#base, 'home');
  }

  run(script: 'setup' | 'run', circumstances: Circumstances = {}): Outcome {
    const state = join(this.#base, 'state');
    const calls = join(state, 'calls');
    rmSync(state, { recursive: true, force: true });
    mkdirSync(state);
    writeFileSync(calls, '');
    writeFileSync(join(state, 'missing'), (circumstances.missing ?? []).join(' '));
    for (const name of circumstances.without ?? []) {
      for (const folder of ['bin', 'tools'])
        rmSync(join(this.#base, folder, name), { force: true });
    }
    const shell = script === 'setup' ? 'sh' : 'bash';
    const { status, stdout, stderr } = spawnSync(
      join(this.#base, 'tools', shell),
      [join(this.root, '.ci', script)],
      {
        cwd: circumstances.cwd ?? '/',
        stdio: ['ignore', 'pipe', 'pipe'],
        encoding: 'utf8',
        env: {
          PATH: `${join(this.#base, 'bin')}:${join(this.#base, 'tools')}`,
          HOME: this.home,
          TMPDIR: this.#base,
          CALLS: calls,
          STATE: state,
          ...circumstances.env,
        },
      },
    );
    const called = readFileSync(calls, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((call) => call.trim());
    return {
      code: status,
      stdout,
      stderr,
      calls: called.filter((call) => !call.startsWith('id ')),
    };
  }
}
