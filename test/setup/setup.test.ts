import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Scratch } from './scratch.js';

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch.remove());

const BUILD_ADDON = 'npm run --silent build:native';
const COMPILE = 'npm run --silent build:ts';
const NPM_CI = 'npm ci --include=dev --include=optional --no-progress';

/** The calls without the question that every run asks. */
function steps(calls: readonly string[]): readonly string[] {
  return calls.filter((call) => !call.startsWith('dpkg-query '));
}

describe('a first run', () => {
  it('installs packages before npm looks for them, then builds, one line a step, nothing on stdout', () => {
    const { code, calls, stdout, stderr } = scratch.run('setup', { missing: ['tshark', 'g++'] });
    expect(code).toBe(0);
    expect(stdout).toBe('');
    expect(stderr.trimEnd().split('\n')).toEqual([
      'whichpod set-up: installing g++ (builds the addon and cap)',
      'whichpod set-up: installing tshark (reads our files in tests)',
      'whichpod set-up: installing the npm packages (first time)',
      'whichpod set-up: building the addon',
      'whichpod set-up: compiling',
    ]);
    expect(calls.filter((call) => call.startsWith('dpkg-query '))).toHaveLength(1);
    expect(steps(calls)).toEqual([
      'apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install g++ tshark',
      NPM_CI,
      BUILD_ADDON,
      COMPILE,
    ]);
  });

  it('is the last that has anything to do', () => {
    scratch.run('setup');
    const { code, calls, stdout, stderr } = scratch.run('setup');
    expect({ code, stdout, stderr, steps: steps(calls) }).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
      steps: [],
    });
  });

  it('takes npm packages that somebody installed by hand after the lock file', () => {
    scratch.write('node_modules/.bin/tsc', '');
    scratch.write('node_modules/.bin/vitest', '');
    scratch.write('node_modules/cap/index.js', '');
    scratch.write('node_modules/.package-lock.json', '');
    scratch.touch('node_modules/.package-lock.json');
    expect(steps(scratch.run('setup').calls)).toEqual([BUILD_ADDON, COMPILE]);
    expect(steps(scratch.run('setup').calls)).toEqual([]);
  });

  it('gives npm a cache where HOME cannot be written', () => {
    const { code } = scratch.run('setup', { env: { HOME: '/nonexistent' } });
    expect(code).toBe(0);
    expect(scratch.state('npm-environment')).toMatch(/^cache=\/.+\/npm$/m);
  });

  it('leaves npm alone where HOME can be written', () => {
    scratch.run('setup');
    expect(scratch.state('npm-environment')).toMatch(/^cache=$/m);
  });
});

describe('a later run does what a change asks for, and no more', () => {
  it.each<[string, (checkout: Scratch) => void, readonly string[]]>([
    ['a source', (checkout) => checkout.touch('src/main.ts'), [COMPILE]],
    ['the compiler’s options', (checkout) => checkout.touch('tsconfig.build.json'), [COMPILE]],
    ['a native source', (checkout) => checkout.touch('native/binding.gyp'), [BUILD_ADDON]],
    [
      'the lock file’s content',
      (checkout) => checkout.write('package-lock.json', '{}'),
      [NPM_CI, BUILD_ADDON, COMPILE],
    ],
    ['the lock file’s time alone', (checkout) => checkout.touch('package-lock.json'), []],
  ])('%s', (_, change, expected) => {
    scratch.run('setup');
    change(scratch);
    expect(steps(scratch.run('setup').calls)).toEqual(expected);
  });

  it('compiles again after a file of the sources went away', () => {
    scratch.write('src/gone.ts', '');
    scratch.run('setup');
    scratch.touch('src'); // what its removal does to the folder, only later than the build's stamp
    expect(steps(scratch.run('setup').calls)).toEqual([COMPILE]);
  });
});

describe('packages', () => {
  it('fetches the lists only after an installation without them failed', () => {
    const { code, calls } = scratch.run('setup', {
      missing: ['make'],
      env: { FAKE_APT: 'stale' },
    });
    expect(code).toBe(0);
    expect(
      calls
        .filter((call) => call.startsWith('apt-get'))
        .map((call) => / (update|install)/.exec(call)?.[1]),
    ).toEqual(['install', 'update', 'install']);
  });

  it('goes on without what apt-get cannot give, loudly, but not in CI', () => {
    const broken = { missing: ['tshark'], env: { FAKE_APT: 'broken' } };
    const { code, calls, stderr } = scratch.run('setup', broken);
    expect(code).toBe(0);
    expect(stderr).toContain(
      'FAILED: apt-get install tshark. The end of its output:\n  | E: no such package\n',
    );
    expect(stderr).toContain('GOING ON WITHOUT THEM');
    expect(steps(calls)).toContain(COMPILE);
    const strict = scratch.run('setup', { ...broken, env: { ...broken.env, CI: 'true' } });
    expect(strict.code).toBe(1);
  });

  it('says without root what it would install, and goes on', () => {
    const { code, calls, stderr } = scratch.run('setup', {
      missing: ['conntrack', 'tcpdump'],
      env: { FAKE_UID: '1000' },
    });
    expect(code).toBe(0);
    expect(stderr).toContain('missing: conntrack (reads the connection table)\n');
    expect(stderr).toContain('missing: tcpdump (makes captures that tests read)\n');
    expect(stderr).toContain(
      'not root, so nothing is installed; as root: apt-get install -y --no-install-recommends conntrack tcpdump\n',
    );
    expect(steps(calls)).toEqual([NPM_CI, BUILD_ADDON, COMPILE]);
  });

  it('says off Debian what is wanted, once', () => {
    const elsewhere = { without: ['apt-get', 'dpkg-query'] };
    expect(scratch.run('setup', elsewhere).stderr).toContain('no apt-get here: install by hand');
    expect(scratch.run('setup', elsewhere)).toMatchObject({ code: 0, stderr: '', calls: [] });
  });
});

describe('cap', () => {
  it('is said to be missing where there is no libpcap, on each run, and nothing else stops', () => {
    const bare = { without: ['pcap-config'], env: { FAKE_CAP: 'left out' } };
    for (const expected of [[NPM_CI, BUILD_ADDON, COMPILE], []]) {
      const { code, calls, stderr } = scratch.run('setup', bare);
      expect(code).toBe(0);
      expect(stderr).toContain('WARNING: cap is not built');
      expect(stderr).toContain('libpcap-dev');
      expect(steps(calls)).toEqual(expected);
    }
  });

  it('is fetched once more when libpcap came later', () => {
    scratch.run('setup', { without: ['pcap-config'], env: { FAKE_CAP: 'left out' } });
    scratch.standIn('pcap-config', '');
    const { calls, stderr } = scratch.run('setup');
    expect(steps(calls)).toEqual([NPM_CI, BUILD_ADDON, COMPILE]);
    expect(stderr).not.toContain('WARNING');
    expect(steps(scratch.run('setup').calls)).toEqual([]);
  });

  it('is not tried again and again when it cannot be had', () => {
    const hopeless = { env: { FAKE_CAP: 'left out' } };
    scratch.run('setup', hopeless);
    const { code, calls, stderr } = scratch.run('setup', hopeless);
    expect(code).toBe(0);
    expect(stderr).toContain('WARNING: cap cannot be loaded although libpcap is there');
    expect(steps(calls)).toEqual([]);
  });
});

describe('failures', () => {
  it.each([
    ['npm ci', { FAKE_NPM: 'broken' }, 'npm error the registry is on fire'],
    ['npm run build:ts', { FAKE_TSC: 'broken' }, 'main.ts(1,1): error'],
  ])('of %s end it, with the step’s name and the end of its output', (step, env, words) => {
    const { code, stderr } = scratch.run('setup', { env });
    expect(code).toBe(1);
    expect(stderr).toContain(`FAILED: ${step}. The end of its output:\n  | ${words}\n`);
    // Nothing is taken for done.
    expect(steps(scratch.run('setup').calls)).toContain(step === 'npm ci' ? NPM_CI : COMPILE);
  });

  it.each([
    ['its build fails', {}, { FAKE_ADDON: 'broken' }, 'its build failed, see above'],
    ['there is no compiler', { without: ['g++'] }, {}, 'there is no C++ compiler'],
    ['there is no make', { without: ['make'] }, {}, 'make is missing'],
  ])('of the addon are loud but no end, save in CI: %s', (_, machine, env, words) => {
    const { code, stderr, calls } = scratch.run('setup', { ...machine, env });
    expect(code).toBe(0);
    expect(stderr).toContain(`WARNING: the addon is not built: ${words}`);
    expect(steps(calls)).toContain(COMPILE);
    expect(scratch.run('setup', { ...machine, env: { ...env, CI: 'true' } }).code).toBe(1);
  });

  it.each([
    ['too old', 'echo "old absent 108 18.19.0"; echo /usr', '18.19.0'],
    ['missing', 'exit 127', 'none'],
  ])('of a Node that is %s come before anything is installed', (_, node, found) => {
    scratch.standIn('node', node);
    const { code, stderr, calls } = scratch.run('setup', { missing: ['make'] });
    expect(code).toBe(2);
    expect(stderr).toBe(
      `whichpod set-up: Node 20.19 or newer is needed; found: ${found}. Install it, then run this again.\n`,
    );
    expect(calls.filter((call) => !call.startsWith('node '))).toEqual([]);
  });
});
