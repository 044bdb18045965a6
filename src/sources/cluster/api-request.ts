import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import type { ClusterAccess } from './kube-config.js';
import type { Timing } from './timing.js';

/** Why a request gave nothing to read. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: 'credentials' | 'connection' | 'timeout' | 'silence' | 'status' | 'content';
  /** With `status`: of the answer. */
  readonly status: number | undefined;
  /** How long the server asks to be left alone. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: ApiError['code'],
    message: string,
    more: { cause?: unknown; status?: number; retryAfterMs?: number } = {},
  ) {
    super(message, more.cause === undefined ? {} : { cause: more.cause });
    this.code = code;
    this.status = more.status;
    this.retryAfterMs = more.retryAfterMs;
  }
}

/** A plug-in may ask a slow identity provider; one that asks the user would wait for ever. */
const AUTHORIZE_MS = 60_000;
/** kube-apiserver gives up on a request after 60 s (--request-timeout). */
const HEADERS_MS = 70_000;
/** A Status is short; what is longer is not read. */
const MAX_STATUS_BYTES = 64 * 1024;

export interface ApiRequest {
  /** Path and query, from the server's base. */
  readonly path: string;
  /** Silence after which the connection counts as dead. */
  readonly idleMs: number;
  readonly timing: Timing;
  readonly signal: AbortSignal;
  /** Called when the server has agreed to answer (status 200), before the first bytes of the body. */
  readonly opened?: () => void;
}

/**
 * The body of a GET request that was answered with 200, as it comes. Throws an ApiError otherwise, and
 * while reading when the connection breaks or falls silent. Leaving the loop closes the connection.
 */
export async function* readApi(
  access: ClusterAccess,
  request: ApiRequest,
): AsyncGenerator<Uint8Array> {
  const options = await authorize(access, request);
  const response = await send(access, request, options);
  if (response.statusCode !== 200) throw await refusal(response, request);
  request.opened?.();
  yield* read(response, request);
}

async function authorize(access: ClusterAccess, request: ApiRequest): Promise<RequestOptions> {
  const { timing, signal } = request;
  return await new Promise<RequestOptions>((resolve, reject) => {
    const giveUp = (why: string): void => reject(new ApiError('credentials', why));
    const late = timing.guard(AUTHORIZE_MS, () => giveUp('getting credentials took too long'));
    const aborted = (): void => giveUp('no longer wanted');
    signal.addEventListener('abort', aborted);
    access
      .authorize()
      .then(resolve, (cause: unknown) => giveUp(`no credentials: ${describe(cause).trim()}`))
      .finally(() => {
        late.cancel();
        signal.removeEventListener('abort', aborted);
      });
  });
}

function send(
  access: ClusterAccess,
  request: ApiRequest,
  options: RequestOptions,
): Promise<IncomingMessage> {
  const url = new URL(`${access.server}${request.path}`);
  const start = url.protocol === 'http:' ? httpRequest : httpsRequest;
  return new Promise((resolve, reject) => {
    const sent = start(url, {
      ...options,
      method: 'GET',
      headers: { ...options.headers, accept: 'application/json', 'user-agent': 'whichpod' },
      signal: request.signal,
    });
    const late = request.timing.guard(HEADERS_MS, () => {
      sent.destroy(new ApiError('timeout', 'the server did not answer'));
    });
    sent.on('response', (response) => {
      late.cancel();
      resolve(response);
    });
    sent.on('error', (cause) => {
      late.cancel();
      reject(
        cause instanceof ApiError ? cause : new ApiError('connection', describe(cause), { cause }),
      );
    });
    sent.end();
  });
}

async function* read(response: IncomingMessage, request: ApiRequest): AsyncGenerator<Uint8Array> {
  const silent = request.timing.guard(request.idleMs, () => {
    response.destroy(new ApiError('silence', 'the server fell silent'));
  });
  try {
    for await (const chunk of response) {
      silent.restart();
      if (chunk instanceof Uint8Array) yield chunk;
    }
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    throw new ApiError('connection', describe(cause), { cause });
  } finally {
    silent.cancel();
    response.destroy();
  }
}

/** The Status that comes with a refusal, as an error. */
async function refusal(response: IncomingMessage, request: ApiRequest): Promise<ApiError> {
  const status = response.statusCode ?? 0;
  const after = Number(response.headers['retry-after']);
  let said = '';
  for await (const chunk of read(response, request)) {
    said += new TextDecoder().decode(chunk);
    if (said.length > MAX_STATUS_BYTES) break;
  }
  return new ApiError('status', `HTTP ${status}: ${statusMessage(said)}`, {
    status,
    ...(Number.isFinite(after) && after > 0 ? { retryAfterMs: after * 1_000 } : {}),
  });
}

function statusMessage(said: string): string {
  try {
    const status: unknown = JSON.parse(said);
    if (typeof status === 'object' && status !== null && 'message' in status) {
      if (typeof status.message === 'string') return status.message;
    }
  } catch {
    // A proxy answers in its own words.
  }
  return said.split('\n', 1)[0]?.slice(0, 200) || 'no reason given';
}

/** What went wrong, in words; Node gives several errors in one where a name has several addresses. */
function describe(cause: unknown): string {
  if (cause instanceof AggregateError) return cause.errors.map(describe).join(', ');
  return cause instanceof Error ? cause.message : String(cause);
}
