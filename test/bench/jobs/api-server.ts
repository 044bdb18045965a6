import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FakeApiServer, RESOURCES } from '../../support/fake-api-server.js';
import { pods } from '../generate/objects.js';

interface ApiServerJob {
  /** A folder with a list of each resource. */
  readonly lists: string;
  /** Pods beside those in the list. */
  readonly morePods: number;
}

/** Serves a cluster on loopback of its network namespace until stdin ends; its address is the first line on stdout. */
export async function job({ lists, morePods }: ApiServerJob): Promise<string> {
  const server = await FakeApiServer.start();
  for (const resource of RESOURCES) {
    const { items } = JSON.parse(readFileSync(join(lists, `${resource}.json`), 'utf8'));
    const more =
      resource === 'pods' ? pods({ services: morePods, endpointsEach: 1, clients: 0 }, [4]) : [];
    server.load(resource, { metadata: { resourceVersion: '1000' }, items: [...items, ...more] });
  }
  process.stdout.write(`${server.url}\n`);
  await new Promise((resolve) => process.stdin.once('end', resolve).resume());
  await server.stop();
  return server.url;
}
