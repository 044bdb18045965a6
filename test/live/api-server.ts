import { createInterface } from 'node:readline';
import { FakeApiServer, type Resource } from '../support/fake-api-server.js';

/** A resource's list, as the API server gives it. */
type List = Parameters<FakeApiServer['load']>[1];

/**
 * An API server in the network namespace in which it was started. The first line of stdin is what it
 * begins with, and is answered with its address; each later one is an object that changed. It ends with stdin.
 */
type Beginning = Readonly<Record<Resource, List>>;

export interface Change {
  readonly resource: Resource;
  readonly object: List['items'][number];
}

const server = await FakeApiServer.start();
let begun = false;
for await (const line of createInterface(process.stdin)) {
  // The test wrote it.
  if (begun) {
    const { resource, object } = JSON.parse(line) as Change;
    server.change(resource, 'MODIFIED', object);
    continue;
  }
  for (const [resource, list] of Object.entries(JSON.parse(line) as Beginning)) {
    server.load(resource as Resource, list);
  }
  process.stdout.write(`${server.url}\n`);
  begun = true;
}
await server.stop();
