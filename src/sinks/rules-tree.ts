import pc from 'picocolors';
import type {
  BalancerView,
  Drift,
  RuleOverview,
  ServiceView,
  WayTo,
  WayView,
} from '../model/rule-view.js';
import { escapeText } from './escape.js';
import { endpointColumns, RuleLayout } from './rules-columns.js';
import {
  addressWord,
  clientsWord,
  hasPlaces,
  placeWord,
  plural,
  readWords,
  refusedWord,
  serviceWord,
  timeWord,
  viaWord,
} from './rules-words.js';
import { displayWidth, shorten } from './width.js';

export interface RulesTextOptions {
  readonly columns: number | undefined;
  readonly colors: boolean;
}

type Colors = ReturnType<typeof pc.createColors>;

/** Below this a line says nothing any more. */
const MIN_COLUMNS = 40;
/** Columns before an endpoint's row. */
const INDENT = 6;
/** Chains that every way goes through say nothing. */
const COMMON = /^(?:KUBE-SERVICES|KUBE-NODEPORTS|map service-(?:ips|nodeports)|CNI-HOSTPORT-DNAT)$/;

/** The rules as a tree, Service by Service: addresses, balancing chains, endpoints; drift where it is. */
export function* rulesTree(
  overview: RuleOverview,
  drifts: readonly Drift[],
  options: RulesTextOptions,
): Generator<string> {
  yield* new Tree(overview, drifts, options).all();
}

class Tree {
  private readonly overview: RuleOverview;
  private readonly colors: Colors;
  private readonly width: number;
  private readonly layout: RuleLayout;
  private readonly hasPlaces: boolean;
  private readonly drifts: readonly Drift[];
  private readonly driftsOf = new Map<string, Drift[]>();

  constructor(overview: RuleOverview, drifts: readonly Drift[], options: RulesTextOptions) {
    this.overview = overview;
    this.drifts = drifts;
    this.colors = pc.createColors(options.colors);
    this.width =
      options.columns === undefined
        ? Number.POSITIVE_INFINITY
        : Math.max(MIN_COLUMNS, options.columns);
    const available = options.columns === undefined ? undefined : this.width - INDENT;
    this.layout = new RuleLayout(endpointColumns(overview), overview, available);
    this.hasPlaces = hasPlaces(overview);
    for (const drift of drifts) {
      const key = keyOf(drift);
      const known = this.driftsOf.get(key);
      if (known === undefined) this.driftsOf.set(key, [drift]);
      else known.push(drift);
    }
  }

  *all(): Generator<string> {
    const { overview, colors } = this;
    for (const line of readWords(overview)) yield `${colors.dim(this.fit(line))}\n`;
    if (overview.services.some(({ balancers }) => balancers.length > 0)) {
      yield `\n${' '.repeat(INDENT)}${colors.dim(this.layout.header())}\n`;
    }
    for (const service of overview.services) yield this.service(service);
    yield this.rest();
    yield this.sum();
  }

  private service(view: ServiceView): string {
    const { colors } = this;
    const { ways, balancers } = view;
    const found = this.take(keyOf(view));
    const text = [`${this.title(view)}${view.nameUnverified ? colors.yellow(' (?)') : ''}\n`];
    const marks = found.filter((it) => it.endpoint === undefined && it.chain === undefined);
    for (const drift of marks) text.push(`${this.mark(drift, '  ')}\n`);
    const addresses = ways.map(addressWord);
    const wide = Math.max(...ways.map((way) => viaWord(way.via).length));
    const wider = Math.max(...addresses.map((it) => it.length));
    ways.forEach((way, i) => {
      const isLast = balancers.length === 0 && i === ways.length - 1;
      const place = `${viaWord(way.via).padEnd(wide)}  ${(addresses[i] ?? '').padEnd(wider)}`;
      text.push(...this.way(view, way, place, isLast ? '└─ ' : '├─ ', isLast ? '   ' : '│  '));
    });
    balancers.forEach((balancer, i) => {
      const isLast = i === balancers.length - 1;
      text.push(this.balancer(view, balancer, found, isLast));
    });
    return text.join('');
  }

  private title(view: ServiceView): string {
    const { service, protocol, ways } = view;
    if (service !== undefined) return this.colors.bold(serviceWord(service, protocol));
    const [way] = ways;
    const isHostPort = way?.via === 'hostPort';
    return this.colors.bold(isHostPort ? `hostPort ${way.port}` : serviceWord(undefined, protocol));
  }

  private way(
    view: ServiceView,
    way: WayView,
    place: string,
    begin: string,
    then: string,
  ): string[] {
    const { colors } = this;
    const refused = refusedWord(way);
    const [only, ...others] = way.leads;
    const isPlain = only !== undefined && others.length === 0 && only.clients === undefined;
    const first = `${begin}${place}`.trimEnd();
    const lines = [this.fit(isPlain ? this.lead(view, only, first) : first)];
    if (!isPlain) {
      for (const lead of way.leads) {
        const who = clientsWord(lead.clients) || (others.length > 0 ? 'from everyone else' : '');
        lines.push(this.fit(this.lead(view, lead, `${then}    ${who}`)));
      }
    }
    if (refused === '') return lines.map((line) => `${line}\n`);
    const isLoud = way.leads.length === 0;
    const said = isLoud ? colors.red(refused) : colors.yellow(refused);
    if (isLoud) {
      const room = this.width - refused.length - 2;
      return [`${shorten(lines[0] ?? '', room, 'end')}  ${said}\n`];
    }
    return [...lines.map((line) => `${line}\n`), `${then}    ${said}\n`];
  }

  /** The chains of a way that its Service's other ways need not have; where they do not fit only the last. */
  private lead(view: ServiceView, { chains, balancer }: WayTo, before: string): string {
    const own = chains.filter((chain) => !COMMON.test(chain));
    const names = new Set(view.balancers.map(({ chain }) => chain));
    const target = view.balancers[balancer]?.chain;
    const all = names.size > 1 && target !== undefined ? [...own, target] : own;
    if (all.length === 0) return before;
    const full = `${before}  > ${escapeText(all.join(' > '))}`;
    const isShort = displayWidth(full) <= this.width || all.length === 1;
    return isShort ? full : `${before}  … > ${escapeText(all.at(-1) ?? '')}`;
  }

  private balancer(
    view: ServiceView,
    balancer: BalancerView,
    found: readonly Drift[],
    isLast: boolean,
  ): string {
    const { colors, layout } = this;
    const { endpoints, chain, scope, affinity, affinitySeconds, read } = balancer;
    const begin = isLast ? '└─ ' : '├─ ';
    const then = isLast ? '   ' : '│  ';
    const place = this.overview.read[read];
    const facts = [
      plural(endpoints.length, 'endpoint'),
      ...(scope === 'local' ? ['of this node only'] : []),
      ...(affinity
        ? [`affinity${affinitySeconds === undefined ? '' : ` ${affinitySeconds} s`}`]
        : []),
      ...(this.hasPlaces && place ? [placeWord(place)] : []),
    ].join(', ');
    const lines: string[] = [];
    lines.push(this.fit(`${begin}${chain === undefined ? '' : `${escapeText(chain)}  `}${facts}`));
    const here = found.filter(
      (it) => it.read === read && it.chain === chain && it.chain !== undefined,
    );
    const extra = new Map(
      here.flatMap((it) =>
        it.code === 'endpoint-extra' && it.endpoint ? [[endpointKey(it.endpoint), it]] : [],
      ),
    );
    const others = here.filter((it) => !(it.code === 'endpoint-extra' && it.endpoint));
    endpoints.forEach((endpoint, i) => {
      const end = i === endpoints.length - 1 && others.length === 0;
      const row = layout.row({ service: view, balancer, endpoint }, colors.dim);
      const drift = extra.get(endpointKey(endpoint));
      lines.push(`${then}${end ? '└─ ' : '├─ '}${drift === undefined ? row : colors.red(row)}`);
      if (drift !== undefined) lines.push(this.mark(drift, `${then}${end ? '   ' : '│  '}   `));
    });
    for (const drift of others) lines.push(this.mark(drift, `${then}`));
    return lines.map((line) => `${line}\n`).join('');
  }

  private mark({ detail, since }: Drift, indent: string): string {
    const when = since === undefined ? '' : ` (since ${timeWord(since)})`;
    return this.colors.red(this.fit(`${indent}! ${escapeText(detail)}${when}`));
  }

  /** What is of no Service in view. */
  private rest(): string {
    const lines = [...this.driftsOf.values()].flat().map((drift) => {
      const who =
        drift.service === undefined ? '' : `${serviceWord(drift.service, drift.protocol)}: `;
      const when = drift.since === undefined ? '' : ` (since ${timeWord(drift.since)})`;
      return this.colors.red(this.fit(`! ${who}${escapeText(drift.detail)}${when}`));
    });
    return lines.map((line) => `${line}\n`).join('');
  }

  private sum(): string {
    const { services, hasCluster } = this.overview;
    let endpoints = 0;
    let packets = 0;
    for (const { balancers } of services) {
      for (const balancer of balancers) {
        endpoints += balancer.endpoints.length;
        for (const { chance, sticky } of balancer.endpoints) {
          packets += (chance?.packets ?? 0) + (sticky?.packets ?? 0);
        }
      }
    }
    const counts = [
      plural(services.length, 'Service port'),
      plural(endpoints, 'endpoint'),
      ...(this.overview.read.some(({ hasCounters }) => hasCounters)
        ? [`${plural(packets, 'connection')} counted`]
        : []),
    ].join(', ');
    const drift = !hasCluster
      ? 'no cluster is known to compare the rules with'
      : this.drifts.length === 0
        ? 'rules and cluster agree'
        : this.colors.red(`${plural(this.drifts.length, 'difference')} from the cluster, marked !`);
    return `\n${counts}\n${drift}\n`;
  }

  private take(key: string): readonly Drift[] {
    const found = this.driftsOf.get(key) ?? [];
    this.driftsOf.delete(key);
    return found;
  }

  private fit(line: string): string {
    return Number.isFinite(this.width) ? shorten(line, this.width, 'end') : line;
  }
}

function keyOf({ service, protocol }: Pick<Drift, 'service' | 'protocol'>): string {
  if (service === undefined) return 'none';
  return `${service.namespace}/${service.name}:${service.portName ?? ''} ${protocol ?? ''}`;
}

function endpointKey({ ip, port }: { readonly ip: string; readonly port: number }): string {
  return `${ip} ${port}`;
}
