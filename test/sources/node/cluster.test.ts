import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import type { ClusterFacts } from '../../../src/model/doctor.js';
import { clusterFacts } from '../../../src/sources/node/cluster.js';
import { FakeApiServer } from '../../support/fake-api-server.js';
import { writeKubeconfig } from '../../support/kubeconfig.js';

let folder: string;
let server: FakeApiServer;
let other: Server | undefined;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'whichpod-cluster-'));
  server = await FakeApiServer.start();
});
afterEach(async () => {
  await server.stop();
  other?.closeAllConnections();
  other?.close();
  other = undefined;
  rmSync(folder, { recursive: true });
});

/** A server that answers everything in one way; its URL. */
async function answering(listener: RequestListener): Promise<string> {
  const made = createServer(listener);
  other = made;
  await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(made.address() as AddressInfo).port}`;
}

function ask(
  url: string,
  more: { nodeName?: string; timeoutMs?: number; user?: object } = {},
): Promise<ClusterFacts> {
  const { user = {}, timeoutMs = 10_000, ...others } = more;
  const kubeconfig = writeKubeconfig(folder, { server: url, user });
  const signal = new AbortController().signal;
  return clusterFacts({ kubeconfig, env: {}, timeoutMs, signal, ...others });
}

const node = (name: string, address: string) => ({
  metadata: { name },
  status: {
    addresses: [{ type: 'InternalIP', address }],
    nodeInfo: { kubeletVersion: 'v1.33.1' },
  },
});
const list = (...items: ReturnType<typeof node>[]) => ({
  metadata: { resourceVersion: '9' },
  items,
});

describe('a cluster that answers', () => {
  it('says what may be done', async () => {
    server.denied.add('watch services');
    const { rights, server: url, fault } = await ask(server.url);
    expect([url, fault]).toEqual([server.url, undefined]);
    expect(rights).toHaveLength(8);
    expect(rights.filter(({ allowed }) => !allowed)).toEqual([
      { resource: 'services', verb: 'watch', allowed: false },
    ]);
  });

  it('is tried where it reviews nothing', async () => {
    server.reviewsNothing = true;
    server.fail('pods', 'list', { do: 'status', status: 403 });
    const { rights, rightsHow } = await ask(server.url);
    expect(rightsHow).toBe('GET …?limit=1');
    expect(rights).toEqual([
      { resource: 'pods', verb: 'list', allowed: false, reason: 'refused pods' },
      ...['services', 'endpointslices', 'nodes'].map((resource) => ({
        resource,
        verb: 'list',
        allowed: true,
      })),
    ]);
  });

  test.each([
    ['by its name', 'node2', { nodeFound: true, kubelet: 'v1.33.1' }],
    ['by its address', undefined, { nodeByAddress: 'node1', kubelet: 'v1.33.1' }],
    ['not by a name that none has', 'node9', { nodeFound: false, nodeByAddress: 'node1' }],
  ])('knows this node %s', async (_, nodeName, expected) => {
    server.load('nodes', list(node('node1', '127.0.0.1'), node('node2', '192.0.2.2')));
    const facts = await ask(server.url, nodeName === undefined ? {} : { nodeName });
    expect(facts).toMatchObject(expected);
    if (nodeName === undefined) expect(facts).not.toHaveProperty('nodeFound');
  });

  it('does not tell of nodes that may not be listed', async () => {
    const refused = { do: 'status', status: 403 } as const;
    server.fail('nodes', 'list', refused, refused);
    const facts = await ask(server.url, { nodeName: 'node1' });
    expect(facts).not.toHaveProperty('nodeFound');
    expect(facts.rights).toHaveLength(8);
  });

  test.each([
    ['ahead', 60_000],
    ['behind', -60_000],
    ['right', 0],
  ])('has a clock that is %s', async (_, offset) => {
    const url = await answering((_request, response) => {
      response.setHeader('date', new Date(Date.now() + offset).toUTCString());
      response.end('{}');
    });
    const { skew } = await ask(url);
    const { ms, uncertaintyMs } = skew ?? { ms: Number.NaN, uncertaintyMs: 0 };
    expect(Math.abs(ms - offset)).toBeLessThanOrEqual(uncertaintyMs);
  });

  it.each([
    '',
    '{',
    '[]',
    'null',
    '7',
    '{"items":7}',
    '{"items":[null,7,{"metadata":3},{"metadata":{"name":7}}]}',
    '{"status":{"allowed":"yes"}}',
  ])('may answer %j', async (body) => {
    const url = await answering((_request, response) => response.end(body));
    const { rights, fault, nodeFound } = await ask(url, { nodeName: 'node1' });
    expect([fault, nodeFound]).toEqual([undefined, false]);
    expect(rights).toHaveLength(4);
  });
});

describe('a cluster that cannot be asked', () => {
  it('does not accept the credentials', async () => {
    server.token = 'right';
    const { fault } = await ask(server.url, { user: { token: 'wrong' } });
    expect(fault).toMatchObject({ kind: 'refused', reason: expect.stringContaining('401') });
    expect((await ask(server.url, { user: { token: 'right' } })).fault).toBeUndefined();
  });

  it('is not there', async () => {
    const { url } = server;
    await server.stop();
    expect(await ask(url)).toMatchObject({
      server: url,
      rights: [],
      fault: { kind: 'unreachable', reason: expect.stringContaining('ECONNREFUSED') },
    });
  });

  it('says nothing', async () => {
    const url = await answering(() => undefined);
    const { fault } = await ask(url, { timeoutMs: 50 });
    expect(fault).toEqual({ kind: 'unreachable', reason: 'no answer in time' });
  });

  it('breaks off', async () => {
    const url = await answering((_request, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{', () => response.destroy());
    });
    expect((await ask(url)).fault?.kind).toBe('unreachable');
  });

  it('is not configured as it should be', async () => {
    const kubeconfig = join(folder, 'none');
    const signal = new AbortController().signal;
    const facts = await clusterFacts({ kubeconfig, env: {}, timeoutMs: 1_000, signal });
    expect(facts).toMatchObject({
      config: kubeconfig,
      fault: { kind: 'config', reason: expect.stringContaining(kubeconfig) },
    });
  });

  it('has a plug-in for credentials that does not come back', async () => {
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: '/nowhere/at-all',
      interactiveMode: 'Never',
    };
    const { fault } = await ask(server.url, { user: { exec } });
    expect(fault).toMatchObject({
      kind: 'refused',
      reason: expect.stringMatching(/^no credentials/),
    });
  });
});
