import { connect } from 'node:net';
import { UsageError } from '../../model/problem.js';
import { fromJson, toJson } from '../../pipeline/case-wire.js';
import type { Selector } from '../../pipeline/selector.js';
import type { Io } from '../io.js';
import {
  MAX_REPLY_BYTES,
  type MemoryReply,
  type MemoryRequest,
  PROTOCOL,
  REPLY_MS,
} from './memory-protocol.js';
import { codeOf, findSockets, removeStale } from './memory-socket.js';

export type Answer = Exclude<MemoryReply, { readonly error: string }>;

/**
 * Asks the live runs of this user and network namespace, the newest first, until one has the connection; its
 * answer, else the newest's. `undefined`: no run is there to ask. UsageError: one is there and cannot answer.
 */
export async function askLive(selector: Selector, io: Io): Promise<Answer | undefined> {
  await removeStale(io);
  const { paths, faults } = await findSockets(io);
  for (const fault of faults) {
    io.stderr.write(`no live run is looked for where another user could pose as one: ${fault}\n`);
  }
  let first: Answer | undefined;
  for (const path of paths) {
    const answer = await ask(path, selector);
    if (answer === undefined) continue;
    if ('error' in answer) throw new UsageError(`the live run cannot tell: ${answer.error}`);
    if (answer.case !== undefined) return answer;
    first ??= answer;
  }
  return first;
}

/** `undefined`: it has ended meanwhile. */
function ask(path: string, selector: Selector): Promise<MemoryReply | undefined> {
  return new Promise((resolve, reject) => {
    const request: MemoryRequest = { protocol: PROTOCOL, selector };
    const chunks: Buffer[] = [];
    let bytes = 0;
    const socket = connect(path, () => socket.write(`${toJson(request)}\n`));
    const fail = (why: string): void => {
      socket.destroy();
      reject(
        new UsageError(
          `the live run at ${path} does not answer: ${why}; --next waits for the next connection`,
        ),
      );
    };
    socket.setTimeout(REPLY_MS, () => fail(`nothing in ${REPLY_MS / 1_000} s`));
    socket.on('data', (chunk) => {
      bytes += chunk.length;
      if (bytes > MAX_REPLY_BYTES) fail(`more than ${MAX_REPLY_BYTES} bytes`);
      else chunks.push(chunk);
    });
    socket.on('error', (error) => {
      const code = codeOf(error);
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(undefined);
      else fail(code);
    });
    socket.on('end', () => {
      if (bytes === 0) {
        resolve(undefined);
        return;
      }
      const reply = readReply(Buffer.concat(chunks).toString('utf8'));
      if (reply === undefined) fail('what it said is no answer of this version of whichpod');
      else resolve(reply);
    });
  });
}

function readReply(text: string): MemoryReply | undefined {
  try {
    const said: unknown = fromJson(text);
    if (typeof said !== 'object' || said === null || !('protocol' in said)) return undefined;
    return said.protocol === PROTOCOL ? (said as MemoryReply) : undefined;
  } catch {
    return undefined;
  }
}
