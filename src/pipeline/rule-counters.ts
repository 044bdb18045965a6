import { type CountedRules, ENDPOINT_CHAIN } from '../decode/rules/endpoint-counters.js';
import type { Attribution, OutputEvent } from '../model/attribution.js';
import { formatNanos, type Nanos } from '../model/time.js';

/** iptables-save tells the second in which it began, and takes more than one for 5,000 Services. */
const READING_NS = 2_000_000_000n;

/** Pods or endpoints named in one statement: a notice is a line. */
const MAX_NAMED = 10;

interface Endpoint {
  readonly chain: string;
  /** Its Pod, or its address as the rules have it until a connection told the Pod. */
  name: string;
  /** By how much its counter moved from the first dump to the last. */
  counted: number;
  /** Connections told in that time, … */
  told: number;
  /** … of which so many began near the first or the last dump that it may have counted them or not. */
  near: number;
}

/** The rules of one node, family and back end, of which there are several dumps. */
interface Table {
  readonly name: string;
  readonly first: Nanos;
  readonly last: Nanos;
  /** Counters that went backwards, or with their chain. */
  resets: number;
  readonly endpoints: Map<string, Endpoint>;
}

/**
 * Holds what the rules counted against what was told. Where there are dumps of the same iptables rules
 * with counters from before and after, each endpoint's counter must have moved by the number of
 * connections told to have gone there. It is fed all that the machine says. Memory: an entry an
 * endpoint that was used.
 *
 * kube-proxy's nftables mode counts nothing, so nothing is said of it.
 */
export class RuleCounters {
  private readonly tables = new Map<string, Table>();
  /** The node that attributions without one are of. */
  private readonly node: string | undefined;

  constructor(dumps: readonly CountedRules[]) {
    const nodes = new Set(dumps.map(({ node = '' }) => node));
    const [node] = nodes;
    if (nodes.size === 1) this.node = node;
    const series = new Map<string, CountedRules[]>();
    for (const dump of dumps) {
      const key = keyOf(dump.node ?? '', dump.family, dump.backend);
      const known = series.get(key);
      if (known === undefined) series.set(key, [dump]);
      else known.push(dump);
    }
    for (const key of [...series.keys()].sort()) {
      const table = movement(series.get(key) ?? []);
      if (table !== undefined) this.tables.set(key, table);
    }
  }

  tell(events: readonly OutputEvent[]): void {
    if (this.tables.size === 0) return;
    for (const event of events) if (event.type === 'close') this.tellOne(event.attribution);
  }

  /** At the end: a statement on each table of which there are several dumps, and that was used. */
  statements(): OutputEvent[] {
    return [...this.tables.values()].flatMap(statement);
  }

  private tellOne({ verdict, rules, backend, time, node = this.node }: Attribution): void {
    const chain = rules?.path.at(-1) ?? '';
    if (verdict !== 'attributed' || backend === undefined || !ENDPOINT_CHAIN.test(chain)) return;
    const family = backend.ip.includes(':') ? 6 : 4;
    const table = this.tables.get(keyOf(node ?? '', family, rules?.backend ?? 'unknown'));
    if (table === undefined) return;
    const { first, last } = table;
    if (time !== undefined && (time < first || time > last + READING_NS)) return;
    const endpoint = endpointOf(table, chain, backend.ip);
    if (backend.pod !== undefined) endpoint.name = `${backend.pod.namespace}/${backend.pod.name}`;
    endpoint.told++;
    if (time === undefined || time <= first + READING_NS || time >= last) endpoint.near++;
  }
}

const keyOf = (node: string, family: 4 | 6, backend: string): string =>
  `${node}\0${family}\0${backend}`;

function endpointOf(table: Table, chain: string, name: string): Endpoint {
  const known = table.endpoints.get(chain);
  if (known !== undefined) return known;
  const endpoint = { chain, name, counted: 0, told: 0, near: 0 };
  table.endpoints.set(chain, endpoint);
  return endpoint;
}

/** How the counters moved over a series of dumps; `undefined` if it is one dump, however often given. */
function movement(series: readonly CountedRules[]): Table | undefined {
  // Of two dumps of one second the one that counted less is the older.
  const dumps = [...series].sort((a, b) =>
    a.time === b.time ? total(a) - total(b) : a.time < b.time ? -1 : 1,
  );
  const [first, ...later] = dumps;
  const last = later.at(-1);
  if (first === undefined || last === undefined) return undefined;
  if (first.time === last.time && total(first) === total(last)) return undefined;
  const backend = first.backend === 'unknown' ? '' : `-${first.backend}`;
  const node = first.node === undefined ? '' : `${first.node}, `;
  const name = `${node}iptables${backend}, IPv${first.family}`;
  const endpoints = new Map<string, Endpoint>();
  const table: Table = { name, first: first.time, last: last.time, resets: 0, endpoints };
  let before = first.counters;
  for (const { counters } of later) {
    for (const [chain, { packets, address }] of counters) {
      const was = before.get(chain)?.packets ?? 0;
      if (packets < was) table.resets++;
      endpointOf(table, chain, address ?? chain).counted += packets < was ? packets : packets - was;
    }
    for (const chain of before.keys()) if (!counters.has(chain)) table.resets++;
    before = counters;
  }
  return table;
}

function total({ counters }: CountedRules): number {
  return sum([...counters.values()], ({ packets }) => packets);
}

function statement({ name, first, last, resets, endpoints }: Table): OutputEvent[] {
  const used = [...endpoints.values()]
    .filter(({ counted, told }) => counted > 0 || told > 0)
    .sort((a, b) => (`${a.name} ${a.chain}` < `${b.name} ${b.chain}` ? -1 : 1));
  if (used.length === 0) return [];
  const counted = sum(used, (it) => it.counted);
  const told = sum(used, (it) => it.told);
  const differing = used.filter((it) => it.counted !== it.told);
  const moved = `the rules (${name}) counted ${counted} connections to endpoints since ${formatNanos(first)}`;
  const found =
    differing.length === 0
      ? `as many as were told, Pod by Pod: ${list(byName(used))}`
      : `${told} were told; ${differing.length} of ${used.length} endpoints differ: ${list(
          differing.map((it) => `${it.name} (${it.chain}) counted ${it.counted}, told ${it.told}`),
        )}; ${reasons(differing, resets).join('; ')}`;
  const detail = `${moved}, ${found}`;
  return [{ type: 'notice', notice: { code: 'rule-counters', time: last, detail } }];
}

/** A Pod may be the endpoint of several Services and ports. */
function byName(endpoints: readonly Endpoint[]): string[] {
  const pods = new Map<string, number>();
  for (const { name, told } of endpoints) pods.set(name, (pods.get(name) ?? 0) + told);
  return [...pods].map(([name, told]) => `${name} ${told}`);
}

/** Why they may differ. */
function reasons(differing: readonly Endpoint[], resets: number): string[] {
  const why: string[] = [];
  if (resets > 0) {
    why.push(
      `${resets} counters were set to 0 in between (kube-proxy does so when it starts, and when a Service changes), so there were more connections than counted`,
    );
  }
  const near = sum(differing, (it) => it.near);
  if (near > 0) why.push(`${near} connections began while rules were being read`);
  if (differing.some((it) => it.counted > it.told)) {
    why.push('counted but not told: nothing shows them, or their opening was sent again');
  }
  if (differing.some((it) => it.counted < it.told - it.near) && resets === 0) {
    why.push('told but not counted: something else translated them');
  }
  return why;
}

function list(words: readonly string[]): string {
  const named = words.slice(0, MAX_NAMED).join(', ');
  const rest = words.length - MAX_NAMED;
  return rest > 0 ? `${named}, and ${rest} more` : named;
}

function sum<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((total, one) => total + of(one), 0);
}
