import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { EventLog } from './event-log.js';

export const RESOURCES = ['nodes', 'pods', 'services', 'endpointslices'] as const;
export type Resource = (typeof RESOURCES)[number];
export type Verb = 'list' | 'watch';

interface ApiObject {
  readonly kind?: string;
  readonly metadata: { readonly name: string; readonly resourceVersion?: string };
}

export interface SeenRequest {
  readonly resource: Resource;
  readonly verb: Verb;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
}

/** What to do with the next request of a resource and verb instead of answering it properly. */
export type Fault =
  | { readonly do: 'status'; readonly status: number; readonly headers?: Record<string, string> }
  /** Answers nothing at all, and keeps the connection. */
  | { readonly do: 'no-headers' }
  /** Breaks the connection before answering. */
  | { readonly do: 'reset' }
  /** Begins a body with these bytes, then breaks the connection. */
  | { readonly do: 'reset-after'; readonly text: string }
  /** Answers with these bytes and ends in good order. */
  | { readonly do: 'body'; readonly text: string }
  /** Agrees to answer and says nothing more. */
  | { readonly do: 'silence' }
  /** Ends the watch at once, in good order. */
  | { readonly do: 'close' };

interface OpenWatch {
  readonly resource: Resource;
  readonly response: ServerResponse;
}

const LIST_KINDS: Readonly<Record<Resource, string>> = {
  pods: 'PodList',
  services: 'ServiceList',
  endpointslices: 'EndpointSliceList',
  nodes: 'NodeList',
};

const PATH = /^\/(?:api\/v1|apis\/discovery\.k8s\.io\/v1)\/(pods|services|endpointslices|nodes)$/;

const REVIEW = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';

/**
 * As much of an API server as a reflector meets: lists in pages, watches from a resource version with
 * bookmarks, and everything that goes wrong on the way. What is asked for otherwise is answered with
 * 404, and what a real server would refuse with 400.
 */
export class FakeApiServer {
  readonly requests = new EventLog<SeenRequest>();
  /** If set, requests need this Authorization header. */
  token: string | undefined;
  /** What a SelfSubjectAccessReview refuses: `watch pods`. It does not keep requests from being answered. */
  readonly denied = new Set<string>();
  /** What /version is answered with; 404 while there is nothing. */
  versionAnswer: string | undefined;
  private tellVersionAsked: () => void = () => undefined;
  /** Resolves when /version was asked for. */
  readonly versionAsked = new Promise<void>((resolve) => {
    this.tellVersionAsked = resolve;
  });
  /** Reviews are answered with 404, as by a server without them. */
  reviewsNothing = false;
  private readonly server: Server;
  private readonly secure: boolean;
  private readonly objects = new Map<Resource, Map<string, ApiObject>>();
  private readonly history: { resource: Resource; version: number; line: string }[] = [];
  private readonly faults = new Map<string, Fault[]>();
  private readonly watches = new Set<OpenWatch>();
  private version = 1_000;
  /** Of changes up to here nothing is known any more. */
  private forgotten = 0;

  private constructor(tls: { readonly key: Buffer; readonly cert: Buffer } | undefined) {
    const answer = (request: IncomingMessage, response: ServerResponse): void =>
      this.answer(request, response);
    this.secure = tls !== undefined;
    this.server = tls === undefined ? createServer(answer) : createSecureServer(tls, answer);
  }

  static async start(tls?: {
    readonly key: Buffer;
    readonly cert: Buffer;
  }): Promise<FakeApiServer> {
    const fake = new FakeApiServer(tls);
    await new Promise<void>((resolve) => fake.server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `${this.secure ? 'https' : 'http'}://127.0.0.1:${this.port}`;
  }

  /** Open watches of a resource. */
  watching(resource: Resource): number {
    return [...this.watches].filter((watch) => watch.resource === resource).length;
  }

  /** Takes over a recorded list, its resource version included. */
  load(
    resource: Resource,
    list: { metadata: { resourceVersion: string }; items: ApiObject[] },
  ): void {
    this.objects.set(resource, new Map(list.items.map((item) => [item.metadata.name, item])));
    this.version = Number(list.metadata.resourceVersion);
  }

  /** A change, sent to all watches and kept for later ones. Without a version of its own it gets the next. */
  change(resource: Resource, type: 'ADDED' | 'MODIFIED' | 'DELETED', object: ApiObject): void {
    this.version = Number(object.metadata.resourceVersion ?? this.version + 1);
    const metadata = { ...object.metadata, resourceVersion: String(this.version) };
    const stored = { ...object, metadata };
    const kept = this.objects.get(resource) ?? new Map<string, ApiObject>();
    this.objects.set(resource, kept);
    if (type === 'DELETED') kept.delete(metadata.name);
    else kept.set(metadata.name, stored);
    const line = `${JSON.stringify({ type, object: stored })}\n`;
    this.history.push({ resource, version: this.version, line });
    this.send(resource, line);
  }

  /** Changes nobody hears of: the watch cache is emptied, so older versions are gone. */
  changeUnseen(resource: Resource, change: () => void): void {
    this.dropWatches(resource);
    change();
    this.history.length = 0;
    this.forgotten = this.version;
  }

  bookmark(resource: Resource): void {
    const metadata = { resourceVersion: String(this.version) };
    this.send(resource, `${JSON.stringify({ type: 'BOOKMARK', object: { metadata } })}\n`);
  }

  /** Sends bytes to all watches of a resource as they are. */
  send(resource: Resource, text: string): void {
    for (const watch of this.watches) if (watch.resource === resource) watch.response.write(text);
  }

  /** Breaks the connections of all watches of a resource. */
  dropWatches(resource: Resource): void {
    for (const watch of [...this.watches]) {
      if (watch.resource === resource) watch.response.socket?.resetAndDestroy();
    }
  }

  /** Ends all watches of a resource in good order, as at timeoutSeconds. */
  endWatches(resource: Resource): void {
    for (const watch of [...this.watches]) if (watch.resource === resource) watch.response.end();
  }

  /** What the next such requests meet, one fault each, in this order. */
  fail(resource: Resource, verb: Verb, ...faults: Fault[]): void {
    const key = `${verb} ${resource}`;
    this.faults.set(key, [...(this.faults.get(key) ?? []), ...faults]);
  }

  /** Requests of a resource and verb so far. */
  seen(resource: Resource, verb: Verb): readonly SeenRequest[] {
    return this.requests.all.filter((r) => r.resource === resource && r.verb === verb);
  }

  /** Resolves when so many requests of a resource and verb have come. */
  async requested(resource: Resource, verb: Verb, number = 1): Promise<void> {
    await this.requests.count((r) => r.resource === resource && r.verb === verb, number);
  }

  /** Closes the server and all its connections; may be called twice. */
  async stop(): Promise<void> {
    if (!this.server.listening) return;
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://fake');
    if (url.pathname === REVIEW && request.method === 'POST' && !this.reviewsNothing) {
      this.review(request, response);
      return;
    }
    if (url.pathname === '/version') this.tellVersionAsked();
    if (url.pathname === '/version' && this.versionAnswer !== undefined) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(this.versionAnswer);
      return;
    }
    const resource = PATH.exec(url.pathname)?.[1] as Resource | undefined;
    if (resource === undefined || request.method !== 'GET') {
      status(response, 404, 'the server could not find the requested resource');
      return;
    }
    const query = url.searchParams;
    const verb = query.get('watch') === 'true' ? 'watch' : 'list';
    const fault = this.faults.get(`${verb} ${resource}`)?.shift();
    const { headers } = request;
    if (this.token !== undefined && headers.authorization !== `Bearer ${this.token}`) {
      status(response, 401, 'Unauthorized');
    } else if (fault !== undefined) this.misbehave(fault, resource, response);
    else if (verb === 'list') this.list(resource, query, response);
    else this.watch(resource, query, response);
    // Told last: who waits for a request may rely on the answer being on its way.
    this.requests.push({ resource, verb, query, headers });
  }

  private review(request: IncomingMessage, response: ServerResponse): void {
    const { authorization } = request.headers;
    if (this.token !== undefined && authorization !== `Bearer ${this.token}`) {
      status(response, 401, 'Unauthorized');
      return;
    }
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('end', () => {
      const { resource, verb } = JSON.parse(text).spec.resourceAttributes;
      const allowed = !this.denied.has(`${verb} ${resource}`);
      response.writeHead(201, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ kind: 'SelfSubjectAccessReview', status: { allowed } }));
    });
  }

  private misbehave(fault: Fault, resource: Resource, response: ServerResponse): void {
    switch (fault.do) {
      case 'status':
        for (const [name, value] of Object.entries(fault.headers ?? {})) {
          response.setHeader(name, value);
        }
        status(response, fault.status, `refused ${resource}`);
        return;
      case 'reset':
        response.socket?.resetAndDestroy();
        return;
      case 'reset-after':
        response.writeHead(200, { 'content-type': 'application/json' });
        // Only when the bytes have left may the connection break, else they would be lost with it.
        response.write(fault.text, () => {
          setImmediate(() => response.socket?.destroy());
        });
        return;
      case 'body':
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(fault.text);
        return;
      case 'silence':
        response.writeHead(200, { 'content-type': 'application/json' });
        response.flushHeaders();
        return;
      case 'close':
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end();
        return;
      case 'no-headers':
        return;
    }
  }

  private list(resource: Resource, query: URLSearchParams, response: ServerResponse): void {
    const all = [...(this.objects.get(resource)?.values() ?? [])];
    const limit = Number(query.get('limit') ?? '0') || all.length;
    const [, version, offset] = /^(\d+):(\d+)$/.exec(query.get('continue') ?? '') ?? [];
    const from = Number(offset ?? 0);
    const left = all.length - from - limit;
    // Items of a typed list carry neither kind nor apiVersion.
    const items = all.slice(from, from + limit).map(({ kind: _, ...item }) => item);
    const resourceVersion = version ?? String(this.version);
    const metadata =
      left > 0
        ? {
            resourceVersion,
            continue: `${resourceVersion}:${from + limit}`,
            remainingItemCount: left,
          }
        : { resourceVersion };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ kind: LIST_KINDS[resource], apiVersion: 'v1', metadata, items }));
  }

  private watch(resource: Resource, query: URLSearchParams, response: ServerResponse): void {
    const asked = Number(query.get('resourceVersion') ?? 'NaN');
    if (!Number.isInteger(asked)) {
      status(response, 400, 'invalid resource version');
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    if (asked < this.forgotten) {
      const object = {
        kind: 'Status',
        code: 410,
        reason: 'Expired',
        message: 'too old resource version',
      };
      response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
      return;
    }
    for (const event of this.history) {
      if (event.resource === resource && event.version > asked) response.write(event.line);
    }
    const watch = { resource, response };
    this.watches.add(watch);
    response.on('close', () => this.watches.delete(watch));
  }
}

function status(response: ServerResponse, code: number, message: string): void {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ kind: 'Status', status: 'Failure', message, code }));
}
