import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FakeApiServer } from '../support/fake-api-server.js';
import { buildProgram, endAll, Whichpod } from './program.js';

const tls = (name: string): Buffer =>
  readFileSync(new URL(`../sources/cluster/data/tls/${name}`, import.meta.url));
const TOKEN = 'secret';

let server: FakeApiServer;
let proxy: Server;
let folder: string;
let tunnels = 0;

beforeAll(async () => {
  buildProgram();
  proxy = createServer();
  proxy.on('connect', ({ url = '' }, socket) => {
    tunnels++;
    const { hostname, port } = new URL(`http://${url}`);
    const there = connect(Number(port), hostname, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      there.pipe(socket).pipe(there);
    });
    for (const end of [socket, there]) end.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
}, 120_000);
afterAll(async () => {
  await endAll();
  proxy.close();
});
beforeEach(async () => {
  server = await FakeApiServer.start({ key: tls('server.key'), cert: tls('ca.crt') });
  server.load('nodes', { metadata: { resourceVersion: '7' }, items: [] });
  server.token = TOKEN;
  folder = mkdtempSync(join(tmpdir(), 'whichpod-access-'));
  tunnels = 0;
});
afterEach(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

/** What doctor says of the cluster when it is asked with such a kubeconfig, in YAML as people write it. */
async function clusterBy(
  user: readonly string[],
  cluster: readonly string[] = [],
): Promise<unknown> {
  const file = join(folder, 'config');
  const lines = [
    'apiVersion: v1',
    'kind: Config',
    'current-context: here',
    'contexts: [{ name: here, context: { cluster: there, user: me } }]',
    'clusters:',
    '  - name: there',
    '    cluster:',
    `      server: ${server.url}`,
    ...cluster.map((line) => `      ${line}`),
    'users:',
    '  - name: me',
    '    user:',
    ...user.map((line) => `      ${line}`),
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  const run = new Whichpod(['doctor', '--json', '--kubeconfig', file]);
  await run.ended;
  const [said] = run.said.all;
  return (said?.['live'] as { cluster?: unknown } | undefined)?.cluster;
}

const authority = (): string => `certificate-authority-data: ${tls('ca.crt').toString('base64')}`;

/** The library that reads kubeconfigs is bundled into the program; from source it is tested file by file. */
describe('the program as it is built reaches the API server', () => {
  it('with a token, over TLS with an authority of its own', async () => {
    expect(await clusterBy([`token: ${TOKEN}`], [authority()])).toBe('api');
  });

  it('not where the authority is another', async () => {
    expect(await clusterBy([`token: ${TOKEN}`])).toBe('none');
  });

  it('with what an exec plug-in says', async () => {
    const script = join(folder, 'plug-in.cjs');
    const said = {
      kind: 'ExecCredential',
      apiVersion: 'client.authentication.k8s.io/v1',
      status: { token: TOKEN },
    };
    writeFileSync(script, `console.log(${JSON.stringify(JSON.stringify(said))});`);
    const exec = [
      'exec:',
      '  apiVersion: client.authentication.k8s.io/v1',
      `  command: ${process.execPath}`,
      `  args: [${script}]`,
    ];
    expect(await clusterBy(exec, [authority()])).toBe('api');
  });

  it('through a proxy', async () => {
    const { port } = proxy.address() as AddressInfo;
    const through = [authority(), `proxy-url: http://127.0.0.1:${port}`];
    expect(await clusterBy([`token: ${TOKEN}`], through)).toBe('api');
    expect(tunnels).toBeGreaterThan(0);
  });
});
