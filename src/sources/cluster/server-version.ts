import { ApiError, readApi } from './api-request.js';
import type { ClusterAccess } from './kube-config.js';
import type { Timing } from './timing.js';

/** It answers with a dozen short strings. */
const MAX_BYTES = 64 * 1024;
const IDLE_MS = 10_000;

/**
 * `gitVersion` of the API server's /version, which everybody may ask for unless that was taken away
 * (ClusterRole system:public-info-viewer); `undefined` where it does not say. Nothing waits for it.
 */
export async function serverVersion(
  access: ClusterAccess,
  timing: Timing,
  signal: AbortSignal,
): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of readApi(access, {
      path: '/version',
      idleMs: IDLE_MS,
      timing,
      signal,
    })) {
      size += chunk.length;
      if (size > MAX_BYTES) return undefined;
      chunks.push(chunk);
    }
    const said: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    const version =
      typeof said === 'object' && said !== null && 'gitVersion' in said && said.gitVersion;
    return typeof version === 'string' && /^v\d+\.\d+/.test(version) ? version : undefined;
  } catch (error) {
    if (error instanceof ApiError || error instanceof SyntaxError || signal.aborted)
      return undefined;
    throw error;
  }
}
