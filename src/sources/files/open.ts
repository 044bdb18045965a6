import { readClusterDocument } from '../../decode/cluster/documents.js';
import { WatchLogReader } from '../../decode/cluster/watch-log.js';
import { readIpJson } from '../../decode/net/ip-json.js';
import { readIpRoutes } from '../../decode/net/ip-routes.js';
import { isRecording } from '../../decode/record/block-scanner.js';
import { type CountedRules, endpointCounters } from '../../decode/rules/endpoint-counters.js';
import { IptablesSaveReader } from '../../decode/rules/iptables-save.js';
import { readNftJson } from '../../decode/rules/nft-json.js';
import type { ClusterChange } from '../../model/cluster.js';
import {
  C_BITS,
  C_EVENT,
  C_NSEC,
  C_SEC,
  CONNTRACK_WORDS,
  EVENT_LISTED,
  HAS_TIME,
} from '../../model/conntrack.js';
import type { ConntrackRows } from '../../model/conntrack-rows.js';
import type { InputEvent } from '../../model/event.js';
import { Interfaces } from '../../model/interfaces.js';
import type { Problem } from '../../model/problem.js';
import type { Route } from '../../model/readings.js';
import { type Nanos, nanosOf, type OffsetAt, UTC } from '../../model/time.js';
import { type Head, InputBytes, readWhole } from './chunks.js';
import { mergeLists } from './cluster-lists.js';
import { expandInputs, type InputArgument, type InputFile } from './expand.js';
import { InterfaceNames } from './interface-names.js';
import { ListingCheck } from './listings.js';
import { lossOf, type OnProblem, unusable } from './losses.js';
import { adviceFor } from './mistaken.js';
import { isLaterOfPair } from './pairs.js';
import { type InputKind, recognise } from './recognise.js';
import { recordingHead } from './recording.js';
import { byRun, type OpenedRun, openRun, type RecordingFile } from './recording-run.js';
import { placeRules, type RuleDump } from './rule-dumps.js';
import {
  captureReader,
  captureStream,
  conntrackReader,
  conntrackStream,
  packetTime,
  type Source,
  type StreamContext,
  watchStream,
} from './streams.js';

/** JSON is read whole: what the decoder of cluster documents takes at most, V8's longest string. */
const MAX_DOCUMENT_BYTES = 480 * 1024 * 1024;

export interface OpenOptions {
  /** Where the captures' interfaces are entered. */
  readonly interfaces: Interfaces;
  /** The zone of times that name none. */
  readonly offsetAt: OffsetAt;
  /** The node of inputs that name none. */
  readonly node?: string;
  /** What `-` stands for; without it `-` is refused. */
  readonly stdin?: AsyncIterable<Uint8Array>;
  /** Is told what is wrong with a file, when it is read. */
  readonly onProblem: OnProblem;
  /** What is to be read, files of other kinds being passed over; everything by default. */
  readonly kinds?: ReadonlySet<InputKind>;
  /** Hears of every dump of rules, also of one that tells nothing but new counters. */
  readonly onRules?: (dump: RuleDump) => void;
  /** Is given each capture and recording in a pipe before it is read. */
  readonly onPipe?: (source: Source) => void;
  /** Wait for what is added to a recording that is still being written, until this signal. */
  readonly following?: AbortSignal;
  /** Bytes of the streams' files read so far, of `ReplayInputs.totalBytes`. */
  readonly onProgress?: (bytesDone: number, bytesTotal: number) => void;
}

/** A file that gives nothing. */
export interface Skipped {
  readonly file: string;
  readonly kind: 'unknown' | 'empty' | 'unsupported' | 'no-time';
  /** What to tell the user. */
  readonly reason: string;
  /** The user named this very file, not only its folder. */
  readonly named: boolean;
}

/** Of a whichpod recording: how its machine was made, beside `firstTime` and the node. */
interface Recorded {
  readonly firstListingIsOld: boolean;
  readonly udpIdleNs?: number;
  /** Whether the rules were read as far as they can be when the prelude ended. */
  readonly concluded: boolean;
}

/** Recorded inputs, opened. */
export interface ReplayInputs {
  /**
   * There is one whichpod recording and nothing else: `streams` is one stream in the very order in which
   * the live run's machine got its events, ticks included, which must be kept.
   */
  readonly recorded?: Recorded;
  /** What holds from the beginning, to be told before the streams. */
  readonly prelude: readonly InputEvent[];
  /**
   * The rest, each stream nearly in order of time, in an order of their own whatever the order of the
   * arguments (for `mergeByTime`). Their rows are filled anew when the next event is asked for. Each
   * can be read once; a file is open only while its stream is read.
   */
  readonly streams: readonly AsyncIterable<InputEvent>[];
  readonly skipped: readonly Skipped[];
  /** There is a capture or something of conntrack (or an empty file that was named, which may be that). */
  readonly hasEvidence: boolean;
  /** The earliest time of the first things in each input; `undefined` if nothing has a time. */
  readonly firstTime?: Nanos;
  /** When the last of several rule sets is told. */
  readonly lastRules?: Nanos;
  /** There is something of conntrack. */
  readonly hasConntrack: boolean;
  /** The nodes that captures and conntrack are from; `''` stands for those of which no node is known. */
  readonly nodes: readonly string[];
  /** Routing tables by node; `''` stands for the one of which no node is known. */
  readonly routes: ReadonlyMap<string, readonly Route[]>;
  /** What each dump of iptables' rules counted, also of those that say nothing else that is new. */
  readonly countedRules: readonly CountedRules[];
  /** Sizes of the files that are read as streams; 0 for pipes. */
  readonly totalBytes: number;
  /** Captures and whichpod's own recordings, in the order of their paths: those that are no pipes can be read again. */
  readonly captures: readonly Source[];
  /** Everything that was looked at. */
  readonly files: readonly InputFile[];
  /** Grow as the streams are read. */
  readonly counts: { readonly packets: number };
}

/** What a file is, by its beginning. */
interface Opened extends Source {
  readonly kind: InputKind;
  readonly head: Head;
}

/**
 * Opens recorded inputs in any mixture, each recognised by its content. Small things (rules, cluster
 * objects, addresses) are read at once, captures and conntrack's output when their streams are read.
 * Throws UsageError for an input that is not there, may not be read, cannot be used at all, or
 * contradicts another one.
 */
export async function openInputs(
  args: readonly InputArgument[],
  options: OpenOptions,
): Promise<ReplayInputs> {
  const files = await expandInputs(args, options.node, options.stdin !== undefined);
  const opened: Opened[] = [];
  for (const file of files) {
    const bytes = new InputBytes(file, options.stdin);
    const head = await bytes.head(isRecording);
    const kind = recognise(head.bytes);
    // Of a folder's net/ nothing else is of use yet.
    if (file.context && kind !== 'ip-json' && kind !== 'ip-routes') continue;
    const isUnknown = kind === 'unknown' && file.named;
    if (options.kinds !== undefined && !options.kinds.has(kind) && !isUnknown) continue;
    if (head.problem !== undefined && (kind === 'empty' || kind === 'unknown')) {
      throw unusable(file.name, head.problem);
    }
    const isPiped = file.form !== 'file' && (kind === 'capture' || kind === 'recording');
    if (isPiped) options.onPipe?.({ file, bytes });
    opened.push({ file, bytes, head, kind });
  }
  return new Opening(opened, options).run();
}

/** What `ip -j` said in one file. */
interface AddressFile {
  readonly file: InputFile;
  readonly addresses: readonly string[];
  readonly names: ReadonlyMap<number, string>;
}

/** One call of openInputs: what its parts gather. */
class Opening {
  private readonly opened: readonly Opened[];
  private readonly options: OpenOptions;
  private readonly names = new InterfaceNames();
  private readonly skipped: Skipped[] = [];
  private readonly losses: InputEvent[] = [];
  private readonly streams: AsyncIterable<InputEvent>[] = [];
  private readonly counts = { packets: 0 };
  private readonly countedRules: CountedRules[] = [];
  private firstTime: Nanos | undefined;
  private lastRules: Nanos | undefined;
  private totalBytes = 0;
  private doneBytes = 0;
  private recorded: Recorded | undefined;

  constructor(opened: readonly Opened[], options: OpenOptions) {
    this.opened = opened;
    this.options = options;
  }

  async run(): Promise<ReplayInputs> {
    this.skip();
    const told = await this.readAddresses();
    const cluster = await this.readCluster();
    this.recogniseNodes(told, cluster);
    const addresses = this.addressEvents(told);
    const rules = await this.readRules();
    const routes = await this.readRoutes();
    const runs = await this.openRecordings();
    await this.openStreams();
    if (this.firstTime === undefined) await this.searchFirstTime();
    const { firstTime, skipped, streams, totalBytes, counts, countedRules } = this;
    return {
      ...(this.recorded === undefined ? {} : { recorded: this.recorded }),
      prelude: [...rules, ...cluster, ...addresses, ...this.losses, ...runs],
      streams,
      skipped,
      hasEvidence: this.opened.some(
        ({ kind, file }) => isEvidence(kind) || (kind === 'empty' && file.named),
      ),
      ...(firstTime === undefined ? {} : { firstTime }),
      hasConntrack: this.of('conntrack-xml', 'conntrack-text', 'recording').length > 0,
      ...(this.lastRules === undefined ? {} : { lastRules: this.lastRules }),
      nodes: this.nodes,
      routes,
      countedRules,
      captures: this.of('capture', 'recording'),
      files: this.opened.map(({ file }) => file),
      totalBytes,
      counts,
    };
  }

  private of(...kinds: readonly InputKind[]): Opened[] {
    return this.opened.filter(({ kind }) => kinds.includes(kind));
  }

  private skip(): void {
    for (const { file, head } of this.of('unknown')) {
      const advice =
        adviceFor(head.bytes) ??
        'is it a capture, output of conntrack, rules or Kubernetes objects?';
      this.leaveOut(file, 'unknown', `not recognised, skipped; ${advice}`);
    }
    for (const { file } of this.of('empty')) {
      this.leaveOut(file, 'empty', 'empty: taken as a listing or recording of nothing');
    }
  }

  private leaveOut(file: InputFile, kind: Skipped['kind'], reason: string): void {
    this.skipped.push({ file: file.name, kind, reason, named: file.named });
  }

  /** Tells problems of a file that is read at once; what they lost is told after the prelude. */
  private tell(file: InputFile, problems: readonly Problem[], time: Nanos | undefined): void {
    for (const problem of problems) {
      this.options.onProblem(file.name, problem);
      const loss = lossOf(file.name, problem, { from: time, to: time });
      if (loss !== undefined) this.losses.push(loss);
    }
  }

  private sees(time: Nanos | undefined): void {
    if (time === undefined || time === 0n) return;
    if (this.firstTime === undefined || time < this.firstTime) this.firstTime = time;
  }

  private async whole(source: Opened): Promise<Uint8Array> {
    const { file, bytes } = source;
    const found: Problem[] = [];
    const all = await readWhole(bytes, MAX_DOCUMENT_BYTES, (problem) => found.push(problem));
    this.tell(file, found, file.time?.time);
    if (all !== undefined) return all;
    throw unusable(file.name, {
      code: 'file-too-large',
      message: `JSON of more than ${MAX_DOCUMENT_BYTES} bytes cannot be read`,
      where: {},
      advice: 'record it in parts, by namespace',
      fatal: true,
    });
  }

  /** Addresses and interface names that `ip -j` tells. */
  private async readAddresses(): Promise<AddressFile[]> {
    const told: AddressFile[] = [];
    for (const source of this.of('ip-json')) {
      const { file } = source;
      const { addresses, names, problems } = readIpJson(await this.whole(source));
      const fatal = problems.find((problem) => problem.fatal);
      if (fatal !== undefined && file.named) throw unusable(file.name, fatal);
      this.tell(file, problems, undefined);
      told.push({ file, addresses, names });
    }
    return told;
  }

  /** Routes of both families, which stand in files of their own. */
  private async readRoutes(): Promise<ReadonlyMap<string, readonly Route[]>> {
    const byNode = new Map<string, Route[]>();
    for (const source of this.of('ip-routes')) {
      const { file } = source;
      const { routes, problems } = readIpRoutes(await this.whole(source));
      const fatal = problems.find((problem) => problem.fatal);
      if (fatal !== undefined && file.named) throw unusable(file.name, fatal);
      this.tell(file, problems, undefined);
      const node = file.node ?? '';
      byNode.set(node, [...(byNode.get(node) ?? []), ...routes]);
    }
    return byNode;
  }

  /**
   * Which node a named folder is from, where the user did not say: the one whose Node object has an
   * address that the folder's `net/` lists. Only of use where that tells several folders apart.
   */
  private recogniseNodes(told: readonly AddressFile[], cluster: readonly InputEvent[]): void {
    const owners = nodeAddresses(cluster);
    const found = new Map<string, string>();
    for (const { file, addresses } of told) {
      if (file.node !== undefined || file.folder === undefined) continue;
      const names = new Set(addresses.flatMap((address) => owners.get(address) ?? []));
      const [name] = names;
      if (names.size === 1 && name !== undefined) found.set(file.folder, name);
    }
    const known = this.opened.flatMap(({ file }) => file.node ?? []);
    if (new Set([...found.values(), ...known]).size < 2) return;
    for (const source of this.opened) {
      const name = source.file.folder === undefined ? undefined : found.get(source.file.folder);
      if (name !== undefined && source.file.node === undefined) source.file.node = name;
    }
  }

  private addressEvents(told: readonly AddressFile[]): InputEvent[] {
    const byNode = new Map<string, Set<string>>();
    for (const { file, addresses, names } of told) {
      this.names.add(file, names);
      const node = file.node ?? '';
      const known = byNode.get(node) ?? new Set();
      for (const address of addresses) known.add(address);
      if (known.size > 0) byNode.set(node, known);
    }
    return [...byNode.keys()].sort().map((node) => ({
      type: 'addresses',
      ...(node === '' ? {} : { node }),
      addresses: [...(byNode.get(node) ?? [])].sort(),
    }));
  }

  /** The nodes that evidence is from. */
  private get nodes(): readonly string[] {
    const named = this.opened.filter(({ kind }) => isEvidence(kind));
    return [...new Set(named.map(({ file }) => file.node ?? ''))].sort();
  }

  private async readRules(): Promise<readonly InputEvent[]> {
    const dumps: RuleDump[] = [];
    for (const { file, bytes } of this.of('iptables-save')) {
      const { offsetAt } = this.options;
      const reader = new IptablesSaveReader({ offsetAt });
      const found: Problem[] = [];
      for await (const chunk of bytes.chunks((problem) => found.push(problem))) reader.feed(chunk);
      reader.end();
      const fatal = [...found, ...reader.problems].find((problem) => problem.fatal);
      if (fatal !== undefined && reader.dumps.length === 0) throw unusable(file.name, fatal);
      this.tell(file, [...reader.problems, ...found], file.time?.time ?? reader.dumps[0]?.time);
      for (const rules of reader.dumps) {
        const time = file.time?.time ?? rules.time;
        this.sees(time);
        dumps.push({ file, rules, ...(time === undefined ? {} : { time }) });
      }
    }
    this.notesCounters(dumps);
    dumps.push(...(await this.readNftables()));
    for (const dump of dumps) this.options.onRules?.(dump);
    const { prelude, dated, leftOut } = placeRules(dumps, this.options.onProblem);
    // A listing of nft has the rules of both families.
    for (const file of new Set(leftOut)) this.leaveOutLater(file);
    if (dated.length > 0) this.streams.push(oneByOne(dated));
    for (const event of dated) if (event.type === 'rules') this.lastRules = event.time;
    return prelude;
  }

  /** What iptables counted between the first and the last dump of the same rules: of one alone nothing can be told. */
  private notesCounters(dumps: readonly RuleDump[]): void {
    // They are held against connections, of which there are none where not everything is read.
    if (this.options.kinds !== undefined || dumps.length < 2) return;
    for (const { file, rules, time } of dumps) {
      if (rules.kind !== 'iptables' || time === undefined) continue;
      const counters = endpointCounters(rules);
      if (counters === undefined) continue;
      const { node } = file;
      const { family, backend } = rules;
      this.countedRules.push({
        ...(node !== undefined && { node }),
        family,
        backend,
        time,
        counters,
      });
    }
  }

  private async readNftables(): Promise<readonly RuleDump[]> {
    const dumps: RuleDump[] = [];
    for (const source of this.of('nft-json')) {
      const { file } = source;
      const { rules, otherTables, problems } = readNftJson(await this.whole(source));
      const fatal = problems.find((problem) => problem.fatal);
      if (fatal !== undefined && rules.length === 0) throw unusable(file.name, fatal);
      const time = file.time?.time;
      this.tell(file, problems, time);
      if (rules.length === 0) {
        const held = otherTables.length === 0 ? 'no tables' : `only ${otherTables.join(', ')}`;
        this.leaveOut(
          file,
          'unsupported',
          `nothing of kube-proxy's nftables mode (${held}): skipped; iptables' rules are read from iptables-save`,
        );
        continue;
      }
      this.sees(time);
      for (const one of rules) {
        dumps.push({ file, rules: one, ...(time === undefined ? {} : { time }) });
      }
    }
    return dumps;
  }

  private async readCluster(): Promise<readonly InputEvent[]> {
    const sources = this.of('cluster-document');
    const timeless = sources.map(({ file }) => file).filter(({ time }) => time === undefined);
    const undated: ClusterChange[] = [];
    const dated: { readonly time: Nanos; readonly events: readonly InputEvent[] }[] = [];
    for (const source of sources) {
      const { file } = source;
      if (file.time === undefined && isLaterOfPair(file, timeless)) {
        this.leaveOutLater(file);
        continue;
      }
      const { changes, problems } = readClusterDocument(await this.whole(source));
      const fatal = problems.find((problem) => problem.fatal);
      if (fatal !== undefined && changes.length === 0) throw unusable(file.name, fatal);
      const time = file.time?.time;
      this.tell(file, problems, time);
      this.sees(time);
      if (time === undefined) {
        undated.push(...changes);
      } else {
        const events = mergeLists(changes).map(
          (change) => ({ type: 'cluster', time, change }) as const,
        );
        dated.push({ time, events });
      }
    }
    dated.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
    if (dated.length > 0) this.streams.push(oneByOne(dated.flatMap(({ events }) => events)));
    return mergeLists(undated).map((change) => ({ type: 'cluster', change }));
  }

  private leaveOutLater(file: InputFile): void {
    const reason =
      'has no time, and its .before twin holds from the beginning: skipped; give FILE@TIME to use both';
    this.leaveOut(file, 'no-time', reason);
  }

  private get context(): StreamContext {
    return {
      interfaces: this.options.interfaces,
      offsetAt: this.options.offsetAt,
      onProblem: this.options.onProblem,
      onRead: (bytes) => {
        if (bytes === 0) return;
        this.doneBytes += bytes;
        this.options.onProgress?.(this.doneBytes, this.totalBytes);
      },
      onPackets: (packets) => {
        this.counts.packets += packets;
      },
    };
  }

  /** Opens whichpod's own recordings; what each told before its traffic. */
  private async openRecordings(): Promise<readonly InputEvent[]> {
    const files = this.of('recording').map((source): RecordingFile => {
      const { file } = source;
      this.totalBytes += file.size;
      const head = recordingHead(source.head.bytes);
      if (head === undefined) throw unusable(file.name, HEADLESS);
      if (head.node !== undefined) file.node ??= head.node;
      this.sees(nanosOf(head.baseSeconds, 0));
      return { file, bytes: source.bytes, head };
    });
    const runs = byRun(files);
    const others = this.opened.some(({ kind }) => !ASIDE.has(kind));
    const { context } = this;
    const signal = this.options.following;
    const following = signal === undefined ? undefined : { signal };
    const prelude: InputEvent[] = [];
    for (const [first, ...rest] of runs) {
      if (first === undefined) continue;
      const run = await openRun([first, ...rest], context, following);
      const { node } = first.file;
      this.tellRules(first.file, run.prelude);
      if (runs.length === 1 && !others) {
        this.recorded = recordedOf(run);
        this.streams.push(run.events);
        prelude.push(...run.prelude);
      } else {
        const of = this.nodes.length < 2 ? undefined : node;
        prelude.push(...run.prelude.map((event) => atNode(event, of)));
        this.streams.push(withoutTicks(run.events, of));
      }
    }
    return prelude;
  }

  private tellRules(file: InputFile, events: readonly InputEvent[]): void {
    for (const event of events) {
      if (event.type !== 'rules') continue;
      const { rules, time } = event;
      this.options.onRules?.({ file, rules, ...(time === undefined ? {} : { time }) });
    }
  }

  private async openStreams(): Promise<void> {
    const { context } = this;
    const listings = new Map<string, { time: Nanos; stream: AsyncIterable<InputEvent> }[]>();
    const single: AsyncIterable<InputEvent>[] = [];
    const undated: Opened[] = [];
    for (const source of this.of('capture', 'conntrack-xml', 'conntrack-text', 'cluster-watch')) {
      const { file, kind, head } = source;
      this.totalBytes += file.size;
      if (kind === 'capture') {
        this.sees(firstPacket(source));
        const stream = captureStream(source, (index) => this.names.of(file, index), context);
        single.push(this.marked(file, stream));
      } else if (kind === 'conntrack-xml' || kind === 'conntrack-text') {
        const reader = conntrackReader(kind, this.options.offsetAt);
        reader.feed(head.bytes);
        if (head.whole) reader.end();
        const isListing = reader.rows.words[C_EVENT] === EVENT_LISTED && reader.rows.length > 0;
        this.sees(firstTold(reader.rows));
        const stream = this.marked(file, conntrackStream(source, kind, context));
        if (isListing && file.time !== undefined) {
          this.sees(file.time.time);
          const ofNode = listings.get(file.node ?? '') ?? [];
          listings.set(file.node ?? '', ofNode);
          ofNode.push({ time: file.time.time, stream });
        } else {
          single.push(stream);
          if (isListing) undated.push(source);
        }
      } else {
        const reader = new WatchLogReader();
        reader.feed(head.bytes);
        this.sees(reader.events[0]?.time ?? file.time?.time);
        single.push(watchStream(source, context));
      }
    }
    await this.checkListings(undated);
    // One after the other, so that a folder full of snapshots needs one open file.
    for (const ofNode of listings.values()) {
      ofNode.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
      this.streams.push(inTurn(ofNode.map(({ stream }) => stream)));
    }
    this.streams.push(...single);
  }

  /** Says of which node a stream is, where there are several. */
  private marked(file: InputFile, stream: AsyncIterable<InputEvent>): AsyncIterable<InputEvent> {
    return file.node === undefined || this.nodes.length < 2 ? stream : from(file.node, stream);
  }

  /** Listings without a time must not contradict each other. (A pipe can be read only once: it is not checked.) */
  private async checkListings(sources: readonly Opened[]): Promise<void> {
    const files = sources.map(({ file }) => file);
    const nodes = new Map<string, ListingCheck>();
    for (const { file, bytes, kind } of sources) {
      if (sources.length < 2 || file.form !== 'file' || isLaterOfPair(file, files)) continue;
      if (kind !== 'conntrack-xml' && kind !== 'conntrack-text') continue;
      const check = nodes.get(file.node ?? '') ?? new ListingCheck();
      nodes.set(file.node ?? '', check);
      const reader = conntrackReader(kind, UTC);
      // What is wrong with the file is told when its stream is read.
      for await (const chunk of bytes.chunks(() => {})) {
        reader.feed(chunk);
        check.add(file, reader.rows);
        reader.rows.clear();
        reader.problems.length = 0;
      }
    }
  }

  /** Looks into the captures beyond their heads: a long one may begin with nothing of interest. */
  private async searchFirstTime(): Promise<void> {
    for (const { file, bytes } of this.of('capture')) {
      if (file.form !== 'file') continue;
      const reader = captureReader(file, new Interfaces(), () => undefined);
      for await (const chunk of bytes.chunks(() => {})) {
        reader.feed(chunk);
        if (reader.rows.length > 0) break;
      }
      if (reader.rows.length > 0) this.sees(packetTime(reader.rows, 0));
    }
  }
}

/** Which nodes have an address, by their objects. */
function nodeAddresses(cluster: readonly InputEvent[]): Map<string, string[]> {
  const owners = new Map<string, string[]>();
  for (const event of cluster) {
    if (event.type !== 'cluster') continue;
    const { change } = event;
    const items = change.op === 'list' ? change.items : [change.item];
    for (const item of items) {
      if (item.kind !== 'node') continue;
      for (const address of item.addresses) {
        owners.set(address, [...(owners.get(address) ?? []), item.name]);
      }
    }
  }
  return owners;
}

/** The events of one node's file, saying so. */
async function* from(node: string, stream: AsyncIterable<InputEvent>): AsyncGenerator<InputEvent> {
  for await (const event of stream) {
    yield event.type === 'packets' || event.type === 'conntrack' ? { ...event, node } : event;
  }
}

/** What may stand beside a recording and changes nothing of what it says. */
const ASIDE: ReadonlySet<InputKind> = new Set(['recording', 'unknown', 'empty']);

const HEADLESS: Problem = {
  code: 'recording-damaged',
  message: 'this is a recording of whichpod whose first block cannot be read',
  where: {},
  advice:
    'copy it again, or use the whichpod version that wrote it; its packets can be replayed after: editcap FILE packets.pcapng',
  fatal: true,
};

function recordedOf({ head, concluded }: OpenedRun): Recorded {
  const { firstListingIsOld, udpIdleNs } = head;
  return { firstListingIsOld, concluded, ...(udpIdleNs !== undefined && { udpIdleNs }) };
}

/** The events of a live run among other inputs: those have no ticks, and time passes with what happens. */
async function* withoutTicks(
  events: AsyncIterable<InputEvent>,
  node: string | undefined,
): AsyncGenerator<InputEvent> {
  for await (const event of events) if (event.type !== 'tick') yield atNode(event, node);
}

function atNode(event: InputEvent, node: string | undefined): InputEvent {
  const hasNode =
    event.type === 'packets' ||
    event.type === 'conntrack' ||
    event.type === 'rules' ||
    event.type === 'addresses' ||
    event.type === 'readings';
  return hasNode && node !== undefined ? { ...event, node } : event;
}

function isEvidence(kind: InputKind): boolean {
  return (
    kind === 'recording' ||
    kind === 'capture' ||
    kind === 'conntrack-xml' ||
    kind === 'conntrack-text'
  );
}

/** The time of the first packet of interest in a capture's head. Throws UsageError for a capture of which nothing can be read. */
function firstPacket({ file, head }: Opened): Nanos | undefined {
  const reader = captureReader(file, new Interfaces(), () => undefined);
  reader.feed(head.bytes);
  if (head.whole || head.problem !== undefined) reader.end();
  const fatal = reader.problems.find((problem) => problem.fatal);
  if (fatal !== undefined && reader.packets === 0) throw unusable(file.name, fatal);
  return reader.rows.length === 0 ? undefined : packetTime(reader.rows, 0);
}

/** The first time that rows tell. */
function firstTold({ words, length }: ConntrackRows): Nanos | undefined {
  for (let at = 0; at < length * CONNTRACK_WORDS; at += CONNTRACK_WORDS) {
    if (((words[at + C_BITS] ?? 0) & HAS_TIME) === 0) continue;
    return nanosOf(words[at + C_SEC] ?? 0, words[at + C_NSEC] ?? 0);
  }
  return undefined;
}

async function* oneByOne(events: readonly InputEvent[]): AsyncGenerator<InputEvent> {
  yield* events;
}

async function* inTurn(streams: readonly AsyncIterable<InputEvent>[]): AsyncGenerator<InputEvent> {
  for (const stream of streams) yield* stream;
}
