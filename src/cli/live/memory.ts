import { chmodSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { OutputEvent } from '../../model/attribution.js';
import type { InputEvent } from '../../model/event.js';
import { fromJson, toJson, toWire } from '../../pipeline/case-wire.js';
import { EvidenceMemory } from '../../pipeline/evidence-memory.js';
import type { Selector } from '../../pipeline/selector.js';
import type { Io } from '../io.js';
import {
  MAX_REQUEST_BYTES,
  type MemoryReply,
  type MemoryRequest,
  PROTOCOL,
} from './memory-protocol.js';
import { codeOf, folderForSocket, removeStale, socketName } from './memory-socket.js';
import { rememberedCase } from './remembered-case.js';
import type { Witness, WitnessSetting } from './witness.js';

/** Whoever asks sends one line at once. */
const ASK_MS = 5_000;
/** People ask one at a time. */
const MAX_ASKING = 8;

/** A live run's memory of its last connections, and the socket on which `explain` asks for one. */
export class LiveMemory implements Witness {
  private readonly remember: number;
  private readonly io: Io;
  private memory: EvidenceMemory | undefined;
  private node: string | undefined;
  private server: Server | undefined;
  private readNode: WitnessSetting['readNode'] = () => Promise.resolve();
  private path: string | undefined;
  private readonly ended = new AbortController();

  constructor(remember: number, io: Io) {
    this.remember = remember;
    this.io = io;
  }

  begin({ interfaces, cluster, node, readNode }: WitnessSetting): void {
    this.node = node;
    this.readNode = readNode;
    this.memory = new EvidenceMemory({
      interfaces,
      cluster,
      connections: this.remember,
      ...(node !== undefined && { home: node }),
    });
    this.listen().catch((error: unknown) => this.cannot(codeOf(error)));
  }

  readonly take = (event: InputEvent): void => {
    this.memory?.take(event);
  };

  hear(events: readonly OutputEvent[]): void {
    this.memory?.hear(events);
  }

  end(): void {
    this.ended.abort();
    this.server?.close();
    this.remove();
  }

  private async listen(): Promise<void> {
    const { io } = this;
    const place = await folderForSocket(io);
    if ('faults' in place) {
      this.cannot(place.faults.join('; '));
      return;
    }
    await removeStale(io);
    const path = join(place.folder, await socketName(process.pid));
    if (this.ended.signal.aborted) return;
    const server = createServer((socket) => this.asked(socket));
    server.maxConnections = MAX_ASKING;
    server.on('error', (error) => this.cannot(codeOf(error)));
    server.listen(path, () => chmodSync(path, 0o600));
    // The run's end does not wait for it.
    server.unref();
    this.server = server;
    this.path = path;
    io.onExit(() => this.remove());
  }

  private remove(): void {
    if (this.path === undefined) return;
    try {
      unlinkSync(this.path);
    } catch {
      // Closing the server has removed it.
    }
    this.path = undefined;
  }

  private cannot(why: string): void {
    this.io.stderr.write(`whichpod explain cannot ask this run: ${why}\n`);
  }

  private asked(socket: Socket): void {
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(ASK_MS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > MAX_REQUEST_BYTES) {
        socket.destroy();
        return;
      }
      const end = text.indexOf('\n');
      if (end < 0) return;
      socket.removeAllListeners('data');
      socket.setTimeout(0);
      void this.reply(text.slice(0, end)).then((reply) => socket.end(`${toJson(reply)}\n`));
    });
  }

  private async reply(line: string): Promise<MemoryReply> {
    try {
      const request = readRequest(line);
      if (typeof request === 'string') return { protocol: PROTOCOL, error: request };
      return await this.answer(request.selector);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return { protocol: PROTOCOL, error: `it could not be gathered: ${why}` };
    }
  }

  private async answer(selector: Selector): Promise<MemoryReply> {
    const { memory, remember } = this;
    if (memory === undefined) return { protocol: PROTOCOL, error: 'the run has not begun yet' };
    const choice = memory.ask(selector);
    const { seen, matched, inOrder, nearest, direct, chosen } = choice;
    const told = { seen, matched, inOrder, nearest, direct };
    if (chosen === undefined) return { protocol: PROTOCOL, told, remember };
    // What it gives comes in with the other events, so that a recording of the run has it too.
    await this.readNode();
    const { found, node } = rememberedCase(memory, chosen, choice, this.node);
    return { protocol: PROTOCOL, case: toWire(found, node), told, remember };
  }
}

/** The request, or what is wrong with it. */
function readRequest(line: string): MemoryRequest | string {
  let said: unknown;
  try {
    said = fromJson(line);
  } catch {
    return 'the request is no JSON';
  }
  if (typeof said !== 'object' || said === null || !('protocol' in said)) {
    return 'this is no request of whichpod';
  }
  if (said.protocol !== PROTOCOL) {
    return `the live run speaks ${PROTOCOL}, the request is of another version of whichpod`;
  }
  if (!('selector' in said) || typeof said.selector !== 'object' || said.selector === null) {
    return 'the request names no connection';
  }
  return said as MemoryRequest;
}
