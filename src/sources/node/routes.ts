import { readIpRoutes } from '../../decode/net/ip-routes.js';
import type { Route } from '../../model/readings.js';
import { runProgram } from '../rules/run-program.js';

/** A node in BGP with a full table prints more; its Pods' routes are among the first lines all the same. */
const MAX_BYTES = 32 << 20;
const TIMEOUT_MS = 5_000;
const COMMANDS = [
  ['ip', '-j', 'route', 'show'],
  ['ip', '-j', '-6', 'route', 'show'],
];

/** The main routing tables of this network namespace; `undefined` without a program that tells them as JSON. */
export async function readRoutes(signal: AbortSignal): Promise<readonly Route[] | undefined> {
  const limits = { timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES, signal };
  const told = await Promise.all(
    COMMANDS.map(async (command) => {
      const chunks: Uint8Array[] = [];
      const result = await runProgram(command, limits, (chunk) => chunks.push(chunk));
      if (result.end !== 'ran' || result.code !== 0) return undefined;
      const bytes = Buffer.concat(chunks);
      // iproute2 prints nothing, not even an empty list, where there are no routes.
      return bytes.length === 0 ? [] : readIpRoutes(bytes).routes;
    }),
  );
  const known = told.filter((routes) => routes !== undefined);
  return known.length === 0 ? undefined : known.flat();
}
