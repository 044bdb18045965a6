import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { UsageError } from '../../../src/model/problem.js';
import { ApiError, readApi } from '../../../src/sources/cluster/api-request.js';
import {
  type ClusterAccess,
  type KubeConfigOptions,
  loadClusterAccess,
} from '../../../src/sources/cluster/kube-config.js';
import { systemTiming } from '../../../src/sources/cluster/timing.js';
import { FakeApiServer } from '../../support/fake-api-server.js';
import { writeKubeconfig } from '../../support/kubeconfig.js';

const pem = (name: string): Buffer => readFileSync(new URL(`./data/tls/${name}`, import.meta.url));

let plain: FakeApiServer;
let secure: FakeApiServer;
let folder: string;

beforeAll(async () => {
  plain = await FakeApiServer.start();
  secure = await FakeApiServer.start({ key: pem('server.key'), cert: pem('ca.crt') });
});
afterAll(async () => {
  await plain.stop();
  await secure.stop();
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'whichpod-kubeconfig-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
  vi.unstubAllEnvs();
  plain.token = undefined;
  secure.token = undefined;
});

async function read(access: ClusterAccess): Promise<string> {
  const { signal } = new AbortController();
  let text = '';
  const request = { path: '/api/v1/nodes?limit=1', idleMs: 10_000, timing: systemTiming, signal };
  for await (const chunk of readApi(access, request)) text += Buffer.from(chunk).toString('utf8');
  return text;
}

describe('a kubeconfig', () => {
  test('with a token sends it', async () => {
    plain.token = 'secret-1';
    const file = writeKubeconfig(folder, { server: plain.url, user: { token: 'secret-1' } });
    expect(await read(await loadClusterAccess({ kubeconfig: file }))).toContain('"NodeList"');
  });

  test('with an exec plug-in runs it, and tells it what client-go tells', async () => {
    plain.token = 'from-plug-in';
    const script = join(folder, 'plug-in.cjs');
    writeFileSync(
      script,
      `const info = JSON.parse(process.env.KUBERNETES_EXEC_INFO);
       if (info.kind !== 'ExecCredential' || info.spec.interactive !== false) process.exit(1);
       if (process.env.OWN !== 'yes') process.exit(2);
       console.log(JSON.stringify({ kind: 'ExecCredential', apiVersion: info.apiVersion,
         status: { token: 'from-plug-in' } }));`,
    );
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: process.execPath,
      args: [script],
      env: [{ name: 'OWN', value: 'yes' }],
    };
    const file = writeKubeconfig(folder, { server: plain.url, user: { exec } });
    expect(await read(await loadClusterAccess({ kubeconfig: file }))).toContain('"NodeList"');
  });

  test('whose exec plug-in fails says what the plug-in said', async () => {
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: process.execPath,
      args: ['-e', 'console.error("log in first"); process.exit(1)'],
    };
    const file = writeKubeconfig(folder, { server: plain.url, user: { exec } });
    const error = await read(await loadClusterAccess({ kubeconfig: file })).catch((e) => e);
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ code: 'credentials' });
    expect(String(error)).toContain('log in first');
  });

  test('with a certificate authority trusts its servers, and without does not', async () => {
    const trusted = writeKubeconfig(folder, {
      server: secure.url,
      ca: pem('ca.crt').toString('base64'),
      user: { token: 't' },
    });
    expect(await read(await loadClusterAccess({ kubeconfig: trusted }))).toContain('"NodeList"');
    const other = writeKubeconfig(folder, { server: secure.url, user: { token: 't' } });
    const error = await read(await loadClusterAccess({ kubeconfig: other })).catch((e) => e);
    expect(error).toMatchObject({ code: 'connection' });
  });

  test('that was changed is read anew when asked to', async () => {
    const file = writeKubeconfig(folder, { server: plain.url, user: { token: 'old' } });
    const access = await loadClusterAccess({ kubeconfig: file });
    plain.token = 'new';
    expect(await read(access).catch((e) => e)).toMatchObject({ code: 'status', status: 401 });
    writeKubeconfig(folder, { server: plain.url, user: { token: 'new' } });
    await access.renew();
    expect(await read(access)).toContain('"NodeList"');
  });

  test('named by KUBECONFIG is found', async () => {
    const file = writeKubeconfig(folder, { server: plain.url, user: { token: 't' } });
    vi.stubEnv('KUBECONFIG', file);
    expect((await loadClusterAccess({})).server).toBe(plain.url);
  });

  test('gives the server of the context that was asked for', async () => {
    const file = writeKubeconfig(folder, { server: plain.url, user: {}, context: 'other' });
    expect((await loadClusterAccess({ kubeconfig: file, context: 'other' })).server).toBe(
      plain.url,
    );
  });
});

test("a Pod's service account is used with its token and authority", async () => {
  const account = join(folder, 'var/run/secrets/kubernetes.io/serviceaccount');
  mkdirSync(account, { recursive: true });
  writeFileSync(join(account, 'token'), 'of-the-pod');
  writeFileSync(join(account, 'ca.crt'), pem('ca.crt'));
  writeFileSync(join(account, 'namespace'), 'kube-system');
  vi.stubEnv('KUBERNETES_SERVICE_HOST', '127.0.0.1');
  vi.stubEnv('KUBERNETES_SERVICE_PORT', String(secure.port));
  secure.token = 'of-the-pod';
  expect(await read(await loadClusterAccess({ serviceAccountRoot: folder }))).toContain(
    '"NodeList"',
  );
});

describe('a configuration that cannot be used is a usage error that says why', () => {
  const cases: [string, (folder: string) => KubeConfigOptions, string][] = [
    ['the file is not there', (at) => ({ kubeconfig: join(at, 'none') }), 'ENOENT'],
    [
      'the file is no YAML',
      (at) => {
        writeFileSync(join(at, 'bad'), '{{{');
        return { kubeconfig: join(at, 'bad') };
      },
      'cannot be read',
    ],
    [
      'the file is empty',
      (at) => {
        writeFileSync(join(at, 'bad'), '');
        return { kubeconfig: join(at, 'bad') };
      },
      'cannot be read',
    ],
    [
      'the context is not there',
      (at) => ({
        kubeconfig: writeKubeconfig(at, { server: 'https://x', user: {}, context: 'known' }),
        context: 'unknown',
      }),
      'it has: known',
    ],
    [
      'the context has no cluster',
      (at) => {
        writeFileSync(join(at, 'bad'), 'kind: Config\nclusters: []\nusers: []\ncontexts: []\n');
        return { kubeconfig: join(at, 'bad') };
      },
      'names no cluster',
    ],
    [
      'the server is no URL',
      (at) => ({ kubeconfig: writeKubeconfig(at, { server: 'ftp://x', user: {} }) }),
      'not an http or https URL',
    ],
  ];
  test.each(cases)('%s', async (_name, options, said) => {
    const error = await loadClusterAccess(options(folder)).catch((e) => e);
    expect(error).toBeInstanceOf(UsageError);
    expect(String(error)).toContain(said);
    expect(String(error).split('\n'), 'what is wrong stands in one line').toHaveLength(1);
  });

  test('there is none at all', async () => {
    vi.stubEnv('KUBECONFIG', '');
    vi.stubEnv('HOME', folder);
    const error = await loadClusterAccess({}).catch((e) => e);
    expect(error).toBeInstanceOf(UsageError);
    expect(String(error)).toContain('--kubeconfig');
  });
});
