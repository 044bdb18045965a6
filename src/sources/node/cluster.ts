import { existsSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { homedir, networkInterfaces } from 'node:os';
import type { ClusterFacts, ClusterVerb } from '../../model/doctor.js';
import { UsageError } from '../../model/problem.js';
import {
  type ClusterAccess,
  type KubeConfigOptions,
  loadClusterAccess,
} from '../cluster/kube-config.js';

/** What live lists and watches. */
const RESOURCES = [
  { resource: 'pods', group: '', path: '/api/v1/pods' },
  { resource: 'services', group: '', path: '/api/v1/services' },
  {
    resource: 'endpointslices',
    group: 'discovery.k8s.io',
    path: '/apis/discovery.k8s.io/v1/endpointslices',
  },
  { resource: 'nodes', group: '', path: '/api/v1/nodes' },
] as const;
const VERBS: readonly ClusterVerb[] = ['list', 'watch'];

const REVIEW = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
/** A Node with its images is 30 KB; a page of live's has as many. */
const NODES = 500;
const MAX_BYTES = 64 << 20;
/** Answers are whole seconds: the Date of an HTTP response (RFC 9110, 5.6.7). */
const DATE_MS = 1_000;

export interface ClusterOptions extends KubeConfigOptions {
  readonly nodeName?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For each request. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Whether the cluster answers, what it lets us do, and whether it knows this node. Only reads. */
export async function clusterFacts(options: ClusterOptions): Promise<ClusterFacts> {
  const { nodeName } = options;
  const known = {
    config: configOf(options),
    ...(nodeName !== undefined && { nodeName }),
  };
  const nothing = { ...known, rights: [], rightsHow: `POST ${REVIEW}` };
  let access: ClusterAccess;
  try {
    access = await loadClusterAccess(options);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return { ...nothing, fault: { kind: 'config', reason: error.message } };
  }
  const { server } = access;
  const api = new Api(access, options);
  try {
    const [rights, node] = await Promise.all([rightsOf(api), nodeOf(api, nodeName)]);
    return { ...known, server, ...rights, ...api.clock(), ...node };
  } catch (error) {
    if (!(error instanceof Unanswered)) throw error;
    return { ...nothing, server, fault: { kind: error.kind, reason: error.message } };
  }
}

/** Which configuration the client library takes, in its order (client-node 1.4.0, loadFromDefault). */
function configOf({ kubeconfig, context, env }: ClusterOptions): string {
  const of = context === undefined ? '' : ` (context ${context})`;
  if (kubeconfig !== undefined) return `${kubeconfig}${of}`;
  const variable = env['KUBECONFIG'];
  if (variable !== undefined && variable !== '') return `KUBECONFIG=${variable}${of}`;
  const home = `${env['HOME'] ?? homedir()}/.kube/config`;
  if (existsSync(home)) return `${home}${of}`;
  const token = '/var/run/secrets/kubernetes.io/serviceaccount/token';
  return existsSync(token) ? "the Pod's service account" : 'none found';
}

async function rightsOf(api: Api): Promise<Pick<ClusterFacts, 'rights' | 'rightsHow'>> {
  const asked = RESOURCES.flatMap((one) => VERBS.map((verb) => ({ ...one, verb })));
  const reviews = await Promise.all(
    asked.map(async ({ resource, group, verb }) => {
      const spec = { resourceAttributes: { resource, group, verb } };
      const answer = await api.send('POST', REVIEW, {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec,
      });
      const { allowed, reason } = statusOf(answer.body);
      if (typeof allowed !== 'boolean') return undefined;
      return {
        resource,
        verb,
        allowed,
        ...(typeof reason === 'string' && reason !== '' && { reason }),
      };
    }),
  );
  const rights = reviews.filter((one) => one !== undefined);
  if (rights.length === asked.length) return { rights, rightsHow: `POST ${REVIEW}` };
  // A server that reviews nothing: what can be listed shows by listing.
  const tried = await Promise.all(
    RESOURCES.map(async ({ resource, path }) => {
      const { status, body } = await api.send('GET', `${path}?limit=1`);
      const { message } = fieldsOf(body);
      return {
        resource,
        verb: 'list' as const,
        allowed: status === 200,
        ...(status !== 200 && typeof message === 'string' && { reason: message }),
      };
    }),
  );
  return { rights: tried, rightsHow: 'GET …?limit=1' };
}

type NodeAnswer = Pick<ClusterFacts, 'nodeFound' | 'nodeByAddress' | 'kubelet'>;

async function nodeOf(api: Api, nodeName: string | undefined): Promise<NodeAnswer> {
  if (nodeName !== undefined) {
    const selector = encodeURIComponent(`metadata.name=${nodeName}`);
    const answer = await api.send('GET', `/api/v1/nodes?fieldSelector=${selector}&limit=${NODES}`);
    if (answer.status !== 200) return {};
    // Not every server selects.
    const node = nodesOf(answer.body).find(({ name }) => name === nodeName);
    if (node !== undefined) {
      return { nodeFound: true, ...(node.kubelet !== undefined && { kubelet: node.kubelet }) };
    }
  }
  const { status, body } = await api.send('GET', `/api/v1/nodes?limit=${NODES}`);
  if (status !== 200) return {};
  const own = new Set(
    Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address)),
  );
  const here = nodesOf(body).find(({ addresses }) => addresses.some((one) => own.has(one)));
  return {
    ...(nodeName !== undefined && { nodeFound: false }),
    ...(here !== undefined && { nodeByAddress: here.name }),
    ...(here?.kubelet !== undefined && { kubelet: here.kubelet }),
  };
}

interface NodeObject {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly kubelet?: string;
}

function nodesOf(list: unknown): NodeObject[] {
  const { items } = fieldsOf(list);
  if (!Array.isArray(items)) return [];
  return items.flatMap((item: unknown) => {
    const { metadata, status } = fieldsOf(item);
    const { name } = fieldsOf(metadata);
    if (typeof name !== 'string') return [];
    const { addresses, nodeInfo } = fieldsOf(status);
    const { kubeletVersion } = fieldsOf(nodeInfo);
    const told: unknown[] = Array.isArray(addresses) ? addresses : [];
    return [
      {
        name,
        addresses: told
          .map((one) => fieldsOf(one)['address'])
          .filter((one) => typeof one === 'string'),
        ...(typeof kubeletVersion === 'string' && { kubelet: kubeletVersion }),
      },
    ];
  });
}

function statusOf(object: unknown): Readonly<Record<string, unknown>> {
  return fieldsOf(fieldsOf(object)['status']);
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

/** The server gave no answer that says anything. */
class Unanswered extends Error {
  readonly kind: 'refused' | 'unreachable';

  constructor(kind: Unanswered['kind'], message: string) {
    super(message);
    this.kind = kind;
  }
}

interface Answer {
  readonly status: number;
  /** Parsed; `undefined` if it is no JSON. */
  readonly body: unknown;
}

/** Single requests, each within its time. */
class Api {
  private readonly access: ClusterAccess;
  private readonly options: Pick<ClusterOptions, 'timeoutMs' | 'signal'>;
  /** Of the answer that came back quickest. */
  private best: ClusterFacts['skew'];

  constructor(access: ClusterAccess, options: Pick<ClusterOptions, 'timeoutMs' | 'signal'>) {
    this.access = access;
    this.options = options;
  }

  clock(): Pick<ClusterFacts, 'skew'> {
    return this.best === undefined ? {} : { skew: this.best };
  }

  /** Rejects with Unanswered without an answer, and with one that says that we are unknown. */
  async send(method: 'GET' | 'POST', path: string, body?: object): Promise<Answer> {
    const { signal, timeoutMs } = this.options;
    const until = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const how = await within(until, this.access.authorize(), 'no credentials');
    const url = new URL(`${this.access.server}${path}`);
    const start = url.protocol === 'http:' ? httpRequest : httpsRequest;
    const text = body === undefined ? undefined : JSON.stringify(body);
    return await new Promise((resolve, reject) => {
      const sentAt = Date.now();
      const fail = (error: Error): void =>
        reject(new Unanswered('unreachable', until.aborted ? 'no answer in time' : told(error)));
      const sent = start(
        url,
        {
          ...how,
          method,
          signal: until,
          headers: {
            ...how.headers,
            accept: 'application/json',
            'user-agent': 'whichpod',
            ...(text !== undefined && {
              'content-type': 'application/json',
              'content-length': Buffer.byteLength(text),
            }),
          },
        },
        (response) => {
          this.compare(response.headers.date, sentAt, Date.now());
          const chunks: Buffer[] = [];
          let bytes = 0;
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes > MAX_BYTES) response.destroy(new Error('the answer is too long'));
            else chunks.push(chunk);
          });
          response.on('error', fail);
          response.on('end', () => {
            const status = response.statusCode ?? 0;
            const answer = { status, body: parsed(Buffer.concat(chunks)) };
            if (status !== 401) resolve(answer);
            else reject(new Unanswered('refused', 'HTTP 401: the credentials are not accepted'));
          });
        },
      );
      sent.on('error', fail);
      sent.end(text);
    });
  }

  private compare(date: string | undefined, sentAt: number, heardAt: number): void {
    const server = Date.parse(date ?? '');
    if (Number.isNaN(server)) return;
    // It wrote the second, cut off, at some time between the two.
    const ms = Math.round(server + DATE_MS / 2 - (sentAt + heardAt) / 2);
    const uncertaintyMs = Math.ceil(DATE_MS / 2 + (heardAt - sentAt) / 2);
    if (this.best === undefined || uncertaintyMs < this.best.uncertaintyMs) {
      this.best = { ms, uncertaintyMs };
    }
  }
}

function within<T>(until: AbortSignal, wanted: Promise<T>, without: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(new Unanswered('refused', `${without}: not in time`));
    if (until.aborted) late();
    until.addEventListener('abort', late, { once: true });
    wanted.then(resolve, (error: unknown) =>
      reject(new Unanswered('refused', `${without}: ${told(error).trim()}`)),
    );
  });
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** What went wrong, in words; Node gives several errors in one where a name has several addresses. */
function told(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(told).join(', ');
  return error instanceof Error ? error.message : String(error);
}
