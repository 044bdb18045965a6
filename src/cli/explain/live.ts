import { Writable } from 'node:stream';
import { firstValueFrom, type Observable, Subject, takeUntil, timer } from 'rxjs';
import type { OutputEvent } from '../../model/attribution.js';
import type { Case } from '../../model/case.js';
import type { InputEvent } from '../../model/event.js';
import { Interfaces } from '../../model/interfaces.js';
import { UsageError } from '../../model/problem.js';
import { fromWire } from '../../pipeline/case-wire.js';
import type { Match } from '../../pipeline/choice.js';
import { EvidenceMemory } from '../../pipeline/evidence-memory.js';
import { RuleSurvey } from '../../pipeline/rule-survey.js';
import { isMeant, type Selector } from '../../pipeline/selector.js';
import { watchAddresses } from '../../sources/addresses.js';
import { NodeReader } from '../../sources/node/readings.js';
import type { LiveRequest } from '../commands.js';
import type { Io } from '../io.js';
import { watch } from '../live/live.js';
import { askLive } from '../live/memory-client.js';
import { type LoadedNode, NodeNow } from '../live/node-now.js';
import { rememberedCase } from '../live/remembered-case.js';
import { liveSources } from '../live/sources.js';
import type { Witness, WitnessSetting } from '../live/witness.js';
import { tellMatches, whyNone } from './matches.js';
import type { ExplainRequest, NodeRequest } from './request.js';

/** A connection that stays open is explained as it is so long after it was first told. */
const PATIENCE_MS = 5_000;
/** While one is awaited others come and go. */
const REMEMBERED_MEANWHILE = 2_000;
/** As long as live waits for rules and cluster. */
const NAMES_MS = 10_000;

/**
 * The case of a connection of this node: from the memory of a live run, else of the next that comes.
 * `undefined`: none came in the time that there was, or the user ended the wait.
 */
export async function liveCase(
  selector: Selector,
  next: boolean,
  request: ExplainRequest,
  io: Io,
): Promise<Case | undefined> {
  const answer = next ? undefined : await askLive(selector, io);
  if (answer !== undefined) {
    const { case: found, told, remember } = answer;
    if (found === undefined) {
      throw new UsageError(
        `${whyNone(selector, told)} (the live run remembers the last ${remember}; --next waits for the next one)`,
      );
    }
    const { connection } = found.attribution;
    const chosen = told.inOrder.find((match) => match.attribution.connection === connection);
    if (chosen !== undefined) tellMatches(selector, told, chosen, io);
    return fromWire(found);
  }
  if (selector.id !== undefined) {
    throw new UsageError(
      'no live run to ask for a connection by its id; start whichpod live before, name recordings, or wait for the next with --from or --to',
    );
  }
  return awaitNext(selector, request, io);
}

async function awaitNext(
  selector: Selector,
  request: ExplainRequest,
  io: Io,
): Promise<Case | undefined> {
  const why =
    request.question.kind === 'connection' && request.question.next ? '' : 'no live run to ask; ';
  io.stderr.write(`${why}waiting for the next connection (${selector.text}); Ctrl-C ends\n`);
  const enough = new AbortController();
  const wait = new Wait(selector, io, () => enough.abort());
  const live: LiveRequest = {
    ...request.live,
    conntrackUpdates: true,
    ...(request.durationNs !== undefined && { durationNs: request.durationNs }),
  };
  await watch(live, quietIo(io, AbortSignal.any([io.signal, enough.signal])), wait);
  const found = wait.result();
  if (found === undefined && !io.signal.aborted) {
    io.stderr.write(`none came (${selector.text})\n`);
  }
  return found;
}

/** Sees a live run until the connection that is meant has ended, or has been open for some time. */
class Wait implements Witness {
  private readonly selector: Selector;
  private readonly io: Io;
  private readonly enough: () => void;
  private memory: EvidenceMemory | undefined;
  private node: string | undefined;
  private match: Match | undefined;
  private matched = 0;
  private readonly seen = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private readNode: WitnessSetting['readNode'] = () => Promise.resolve();

  constructor(selector: Selector, io: Io, enough: () => void) {
    this.selector = selector;
    this.io = io;
    this.enough = enough;
  }

  begin({ interfaces, cluster, node, readNode }: WitnessSetting): void {
    this.node = node;
    this.readNode = readNode;
    const connections = REMEMBERED_MEANWHILE;
    const home = node === undefined ? {} : { home: node };
    this.memory = new EvidenceMemory({ interfaces, cluster, connections, ...home });
  }

  readonly take = (event: InputEvent): void => {
    this.memory?.take(event);
  };

  hear(events: readonly OutputEvent[]): void {
    this.memory?.hear(events);
    for (const event of events) {
      if (event.type === 'attribution' || event.type === 'close') {
        this.consider({ attribution: event.attribution, closed: event.type === 'close' });
      }
    }
  }

  end(): void {
    clearTimeout(this.timer);
  }

  /** When the run is over. */
  result(): Case | undefined {
    const { memory, match } = this;
    if (memory === undefined || match === undefined) return undefined;
    const { connection } = match.attribution;
    const choice = memory.ask({ id: connection, text: connection });
    return rememberedCase(memory, match, choice, this.node).found;
  }

  private consider(match: Match): void {
    const { connection } = match.attribution;
    const { match: known } = this;
    if (known === undefined) {
      if (!isMeant(this.selector, match.attribution)) return;
      if (!this.seen.has(connection)) this.matched++;
      this.seen.add(connection);
      if (this.matched < (this.selector.nth ?? 1)) return;
      this.match = match;
      // What rules ask of the node may have changed when it ends.
      void this.readNode();
      this.timer = setTimeout(() => this.over('it is still open'), PATIENCE_MS);
    } else if (known.attribution.connection !== connection) return;
    this.match = match;
    if (match.closed) this.over('it has ended');
  }

  private over(why: string): void {
    if (this.match === undefined) return;
    clearTimeout(this.timer);
    this.io.stderr.write(`explained now: ${why}\n`);
    this.enough();
  }
}

/** The same world with nobody listening to results. */
function quietIo(io: Io, signal: AbortSignal): Io {
  return {
    stdout: new Writable({ write: (_chunk, _encoding, done) => done() }),
    stderr: io.stderr,
    get stdin() {
      return io.stdin;
    },
    terminal: { stdout: false, stderr: io.terminal.stderr },
    columns: () => undefined,
    env: io.env,
    platform: io.platform,
    uid: io.uid,
    signal,
    onExit: (undo) => io.onExit(undo),
    now: () => io.now(),
  };
}

/** This node's rules, cluster and facts as they are now. */
export async function loadLive(request: NodeRequest, io: Io): Promise<LoadedNode> {
  const { live } = request;
  const now = new NodeNow();
  const survey = new RuleSurvey();
  const done = new Subject<void>();
  const missing = new Set([
    ...(live.rules === 'none' ? [] : ['rules']),
    ...(live.cluster === undefined && live.objects === undefined ? [] : ['cluster']),
  ]);
  const has = (what: string): void => {
    missing.delete(what);
    // What is read in the same turn is still taken.
    if (missing.size === 0) setImmediate(() => done.next());
  };
  const sources = liveSources(live, new Interfaces(), new Subject(), has);
  const events: Observable<InputEvent> = sources.names.pipe(
    takeUntil(done),
    takeUntil(timer(NAMES_MS)),
  );
  if (missing.size > 0) {
    await new Promise<void>((resolve, reject) => {
      const subscription = events.subscribe({
        next: (event) => {
          for (const one of survey.take(event)) now.take(one);
          if (
            event.type === 'notice' &&
            (event.notice.code === 'cluster-listed' || event.notice.code === 'no-cluster')
          ) {
            has('cluster');
          }
        },
        error: reject,
        complete: resolve,
      });
      io.signal.addEventListener('abort', () => {
        subscription.unsubscribe();
        resolve();
      });
    });
  }
  const reader = new NodeReader(() => io.now());
  const told = await Promise.all(
    [watchAddresses(), reader.events].map((one) => firstValueFrom(one)),
  );
  for (const event of told) now.take(event);
  return now.result(live.nodeName ?? '', undefined);
}
