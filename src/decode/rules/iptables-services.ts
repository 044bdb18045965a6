import { protocolName } from '../../model/packet.js';
import type { Problem } from '../../model/problem.js';
import type { IptablesRules } from '../../model/ruleset.js';
import type { EndpointRoute, ServiceEntry, ServicePortName, Via } from '../../model/services.js';
import {
  ChainGraph,
  type ChainNode,
  MAX_CHAIN_DEPTH,
  refusalIn,
  type Step,
} from './chain-graph.js';
import {
  hashOfServiceChain,
  parseServicePortName,
  serviceChainHash,
  spellings,
} from './chain-names.js';
import type { PlainBalancer } from './plain-chains.js';
import { PROBABILITY_ONE } from './plain-line.js';
import { FoundEntry, Routes, rulePath, Shares } from './routes.js';
import { drain, type Steps } from './steps.js';
import type { Clients } from './ways.js';

/**
 * Chains entered and rules that a walk may follow. 5,000 Services with 20 endpoints, each also a
 * NodePort, need 600,000; a rule set made to be walked for ever ends here.
 */
const MAX_STEPS = 4_000_000;

/** Of these so many are gone between two places at which the walk may be interrupted: less than 1 ms. */
const STEPS_AT_ONCE = 200;

/** Chains through which a DNAT belongs to kube-proxy or to hostPorts; others are no Service. */
const SERVICE_CHAINS = /^(?:KUBE-|CNI-HOSTPORT-DNAT$|CNI-DN-)/;

/** hostPorts of the CNI plug-in portmap, and of kubenet, CRI-O and cri-dockerd. */
const HOST_PORT_CHAINS = /^(?:CNI-|KUBE-HOSTPORTS$|KUBE-HP-)/;

/** What kube-proxy writes behind the Service port's name on a rule of KUBE-SERVICES. */
const SUFFIXES: readonly (readonly [string, Via])[] = [
  [' cluster IP', 'clusterIP'],
  [' external IP', 'externalIP'],
  [' loadbalancer IP', 'loadBalancerIP'],
];

/**
 * The addresses that a rule set makes reachable and the endpoints behind each: what can be reached
 * from nat PREROUTING and OUTPUT over chains of kube-proxy (1.14 to 1.36) or of hostPorts, and what
 * kube-proxy refuses because there is no endpoint or because of the load balancer's source ranges. Chains
 * that nothing leads to (kube-proxy deletes them late) do not count.
 *
 * One entry an address, port and protocol; where some clients are refused and others served
 * (externalTrafficPolicy Local without a local endpoint, source ranges) there are two, of which the one
 * with routes comes first: refused is whom none of its routes is open to. A route's probability holds on
 * the condition that its branch is taken at all: with externalTrafficPolicy Local the ways of local and of
 * foreign clients are both listed, each with whom it is open to.
 */
export function iptablesServices(rules: IptablesRules, problems: Problem[] = []): ServiceEntry[] {
  return drain(iptablesServiceSteps(rules, problems));
}

/** The same, step by step. */
export function* iptablesServiceSteps(
  rules: IptablesRules,
  problems: Problem[],
): Steps<ServiceEntry[]> {
  const walk = new Walk(rules.backend);
  let unreadable = 0;
  const nat = rules.tables.get('nat');
  if (nat) {
    const graph = new ChainGraph(nat);
    const prerouting = yield* graph.node('PREROUTING');
    const output = yield* graph.node('OUTPUT');
    if (prerouting) yield* walk.hook(prerouting);
    if (output && !sameSteps(prerouting, output)) yield* walk.hook(output);
    unreadable = graph.unreadable;
  }
  const filter = rules.tables.get('filter');
  if (filter) {
    const graph = new ChainGraph(filter);
    for (const hook of ['INPUT', 'FORWARD', 'OUTPUT']) {
      const node = yield* graph.node(hook);
      if (node) yield* walk.hook(node);
    }
  }
  if (unreadable > 0) {
    problems.push({
      code: 'rules-unreadable-target',
      message: `${unreadable} rules translate to an endpoint that is not printed`,
      where: {},
      advice:
        'the iptables that printed the rules is older than the one that wrote them: use a newer one, or that of kube-proxy',
      fatal: false,
      lost: unreadable,
    });
  }
  if (walk.exhausted) {
    problems.push({
      code: 'rules-too-many-paths',
      message: `the rules were followed for ${MAX_STEPS} steps without an end`,
      where: {},
      advice: 'Services found after that are missing; is this the rule set of a node?',
      fatal: false,
    });
  }
  return walk.entries();
}

/** Both hooks lead to the same chains under the same known conditions, so one walk tells all. */
function sameSteps(a: ChainNode | undefined, b: ChainNode): boolean {
  return (
    a !== undefined &&
    a.steps.length === b.steps.length &&
    a.steps.every((step, i) => {
      const other = b.steps[i];
      return other !== undefined && sameStep(step, other);
    })
  );
}

function sameStep(a: Step, b: Step): boolean {
  return (
    a.kind === b.kind &&
    a.chain === b.chain &&
    a.protocol === b.protocol &&
    a.address === b.address &&
    a.local === b.local &&
    a.notLoopback === b.notLoopback &&
    a.conditional === b.conditional &&
    a.clients === b.clients &&
    a.stored === b.stored &&
    a.ip === b.ip &&
    a.port === b.port &&
    a.ports?.join() === b.ports?.join()
  );
}

/** Which connections are still meant after the conditions on the way. */
class Scope {
  readonly protocol: number;
  readonly address: string | undefined;
  readonly ports: readonly number[] | undefined;
  /** The comment on the rule that narrowed it last. */
  readonly label: string | undefined;
  readonly notLoopback: boolean;
  /** The entries it stands for, once they are there. */
  built: Building[] | undefined = undefined;

  constructor(
    protocol: number,
    address: string | undefined,
    ports: readonly number[] | undefined,
    label: string | undefined,
    notLoopback: boolean,
  ) {
    this.protocol = protocol;
    this.address = address;
    this.ports = ports;
    this.label = label;
    this.notLoopback = notLoopback;
  }

  /** The scope beyond a step's conditions: itself if they say nothing new, `undefined` if nothing can match. */
  within(step: Step): Scope | undefined {
    let { protocol, address, ports } = this;
    if (step.protocol !== 0) {
      if (protocol !== 0 && protocol !== step.protocol) return undefined;
      protocol = step.protocol;
    }
    if (step.address !== undefined) {
      if (address !== undefined && address !== 'local' && address !== step.address)
        return undefined;
      address = step.address;
    } else if (step.local) {
      address ??= 'local';
    }
    if (step.ports) {
      const here = ports;
      ports = here?.every((port) => step.ports?.includes(port))
        ? here
        : here
          ? step.ports.filter((port) => here.includes(port))
          : step.ports;
      if (ports.length === 0) return undefined;
    }
    if (protocol === this.protocol && address === this.address && ports === this.ports) return this;
    const notLoopback = address === 'local' && (this.notLoopback || step.notLoopback);
    return new Scope(protocol, address, ports, step.comment ?? this.label, notLoopback);
  }
}

/** What is known of a Service's name. */
type Named = Pick<ServiceEntry, 'service' | 'nameUnverified'>;

interface Building {
  readonly entry: ServiceEntry;
  readonly routes: Routes;
}

class Walk {
  exhausted = false;
  private steps = 0;
  private interruptedAt = 0;
  private readonly backend: string | undefined;
  private readonly served = new Map<string, Building>();
  private readonly refused = new Map<string, ServiceEntry>();
  /** What an earlier rule of this hook takes away from later ones. */
  private closed = new Set<string>();
  private readonly path: ChainNode[] = [];
  /** Whom the way so far is open to; `undefined`: everyone. */
  private clients: Clients | undefined;
  /** How many chains on the path have several rules that lead to one chain. */
  private repeats = 0;
  private readonly verified = new Map<string, string>();
  private readonly shares = new Shares();

  constructor(backend: string) {
    this.backend = backend === 'unknown' ? undefined : backend;
  }

  entries(): ServiceEntry[] {
    const all: ServiceEntry[] = [];
    for (const [key, { entry }] of this.served) {
      all.push(entry);
      const refusal = this.refused.get(key);
      if (refusal) {
        all.push(refusal);
        this.refused.delete(key);
      }
    }
    all.push(...this.refused.values());
    return all;
  }

  /** Walks a built-in chain, whose own name is no part of a path. */
  *hook(node: ChainNode): Steps<void> {
    this.closed = new Set();
    yield* this.chain(node, new Scope(0, undefined, undefined, undefined, false), 1, false);
  }

  /** Walks a chain; false if no packet of the scope comes back from it. */
  private *chain(
    node: ChainNode,
    scope: Scope,
    reached: number,
    affinity: boolean,
  ): Steps<boolean> {
    if (this.path.length > MAX_CHAIN_DEPTH) return true;
    const sticky = affinity || node.affinity;
    let left = reached;
    for (const step of node.steps) {
      if (++this.steps > MAX_STEPS) {
        this.exhausted = true;
        return true;
      }
      if (this.steps - this.interruptedAt >= STEPS_AT_ONCE) {
        this.interruptedAt = this.steps;
        yield;
      }
      const inner = scope.within(step);
      if (!inner) continue;
      const dice = step.stored !== -1;
      const conditional =
        step.conditional ||
        (step.local && scope.address !== undefined && scope.address !== 'local');
      const always = inner === scope && !conditional && !dice;
      if (step.kind === 'return') {
        if (always) return true;
        continue;
      }
      const share = dice ? (left * step.stored) / PROBABILITY_ONE : left;
      const { clients } = this;
      if (step.clients) this.clients = [[...(clients?.[0] ?? []), ...step.clients]];
      const comesBack = yield* this.act(step, inner, share, sticky);
      this.clients = clients;
      if (dice) left *= 1 - step.stored / PROBABILITY_ONE;
      if (conditional || dice) continue;
      if (always && step.kind === 'goto') return comesBack;
      if (comesBack) continue;
      if (always) return false;
      this.close(inner);
    }
    return true;
  }

  /** Does what a step says; false if no packet comes back from it. */
  private *act(step: Step, scope: Scope, share: number, affinity: boolean): Steps<boolean> {
    switch (step.kind) {
      case 'jump':
      case 'goto':
        return step.chain ? yield* this.enter(step.chain, scope, share, affinity) : true;
      case 'dnat':
        if (step.ip === undefined) scope.built ??= this.build(scope);
        else this.serve(scope, step.ip, step.port, share, affinity);
        return false;
      case 'reject':
      case 'drop':
        this.refuse(scope, step.comment ?? '', step.kind);
        return false;
      case 'mark-drop':
        this.refuse(scope, step.comment ?? '', 'drop');
        return true;
      case 'end':
        return false;
      case 'return':
        return true;
    }
  }

  private *enter(chain: ChainNode, scope: Scope, share: number, affinity: boolean): Steps<boolean> {
    const repeats = chain.repeats ? 1 : 0;
    this.path.push(chain);
    this.repeats += repeats;
    const { plain } = chain;
    const comesBack =
      plain && this.canTake(plain, scope)
        ? this.balance(plain, scope, share, affinity)
        : yield* this.chain(chain, scope, share, affinity);
    this.repeats -= repeats;
    this.path.pop();
    return comesBack;
  }

  /** Whether each step of a balancer would be taken, and lead to its endpoint. */
  private canTake(plain: PlainBalancer, scope: Scope): boolean {
    return (
      plain.protocol === scope.protocol &&
      this.path.length < MAX_CHAIN_DEPTH &&
      this.steps + 2 * (plain.to - plain.from) <= MAX_STEPS
    );
  }

  /** What `chain` does with a plain balancer, at once; false if no packet comes back from it. */
  private balance(plain: PlainBalancer, scope: Scope, share: number, affinity: boolean): boolean {
    // A rule a choice, and one in the chain of each endpoint.
    this.steps += 2 * (plain.to - plain.from);
    scope.built ??= this.build(scope);
    const prefix = scope.built.length === 0 ? [] : this.path.map(({ name }) => name);
    const { backend, clients, shares } = this;
    for (const { routes } of scope.built) {
      routes.addAll({
        plain,
        prefix,
        reached: share,
        affinity,
        backend,
        clients,
        shares,
        isRepeated: this.repeats > 0,
      });
    }
    return !plain.always;
  }

  private serve(
    scope: Scope,
    ip: string,
    port: number | undefined,
    probability: number,
    affinity: boolean,
  ): void {
    scope.built ??= this.build(scope);
    if (scope.built.length === 0) return;
    const path = this.path.map((chain) => chain.name);
    const { backend, clients } = this;
    const chance = affinity ? undefined : this.shares.rounded(probability);
    for (const { entry, routes } of scope.built) {
      const rule = rulePath(path, affinity, backend, chance);
      const to = port ?? entry.port;
      const route: EndpointRoute = clients
        ? { ip, port: to, rule, clients }
        : { ip, port: to, rule };
      routes.add(route, this.repeats > 0);
    }
  }

  /** The entries of a scope that names protocol, address and port, made or found. */
  private build(scope: Scope): Building[] {
    const { protocol, address, ports } = scope;
    if (protocol === 0 || address === undefined || !ports) return [];
    if (!this.path.some((chain) => SERVICE_CHAINS.test(chain.name))) return [];
    const found: Building[] = [];
    for (const port of ports) {
      const key = `${protocol} ${address} ${port}`;
      if (this.closed.has(key)) continue;
      let building = this.served.get(key);
      if (building) {
        building.routes.mayRepeat();
      } else {
        const routes = new Routes();
        const chain = this.balancer();
        const via = this.via(scope);
        const entry = new FoundEntry(
          {
            protocol,
            address,
            port,
            via,
            ...(scope.notLoopback && { notLoopback: true }),
            ...(via !== 'hostPort' && this.name([scope.label], scope.protocol)),
            ...(chain !== undefined && { chain }),
          },
          routes,
        );
        building = { entry, routes };
        this.served.set(key, building);
      }
      found.push(building);
    }
    return found;
  }

  private refuse(scope: Scope, comment: string, how: 'reject' | 'drop'): void {
    const { protocol, address, ports } = scope;
    if (protocol === 0 || address === undefined || !ports) return;
    const said = refusalIn(comment);
    if (!said) return;
    for (const port of ports) {
      const key = `${protocol} ${address} ${port}`;
      if (this.refused.has(key)) continue;
      const via = this.served.get(key)?.entry.via ?? this.via(scope);
      this.refused.set(key, {
        protocol,
        address,
        port,
        via,
        ...(scope.notLoopback && { notLoopback: true }),
        ...this.refusedName(said.name, comment, protocol),
        action: how,
        refusal: said.refusal,
        refusedBy: {
          mode: 'iptables',
          ...(this.backend !== undefined && { backend: this.backend }),
          path: this.path.map(({ name }) => name),
          affinity: false,
        },
        routes: [],
      });
    }
  }

  /** In filter no chain's name confirms a comment, and none denies it. */
  private refusedName(name: string, comment: string, protocol: number): Named {
    const hash = /KUBE-FW-([A-Z2-7]{16})$/.exec(comment)?.[1] ?? this.hash();
    if (hash !== undefined) return this.name([name], protocol, hash);
    const service = parseServicePortName(name);
    return service ? { service } : {};
  }

  private close(scope: Scope): void {
    const { protocol, address, ports } = scope;
    if (protocol === 0 || address === undefined || !ports) return;
    for (const port of ports) this.closed.add(`${protocol} ${address} ${port}`);
  }

  private via(scope: Scope): Via {
    const label = scope.label ?? '';
    for (const [suffix, via] of SUFFIXES) if (label.endsWith(suffix)) return via;
    const { path } = this;
    const through = (name: string): boolean => path.some((chain) => chain.name === name);
    if (path.some((chain) => HOST_PORT_CHAINS.test(chain.name))) return 'hostPort';
    if (through('KUBE-PROXY-FIREWALL')) return 'loadBalancerIP';
    if (scope.address === 'local' || through('KUBE-NODEPORTS')) return 'nodePort';
    // In filter, external IPs and load balancers' addresses stand in one chain, unmarked.
    if (through('KUBE-EXTERNAL-SERVICES')) return 'externalIP';
    return 'clusterIP';
  }

  /** The chain that holds one rule an endpoint. */
  private balancer(): string | undefined {
    for (let i = this.path.length - 1; i >= 0; i--) {
      const name = this.path[i]?.name ?? '';
      if (/^KUBE-(?:SVC|SVL|XLB)-/.test(name)) return name;
    }
    return undefined;
  }

  /** The hash in the names of the Service's chains on the path. */
  private hash(): string | undefined {
    for (const { name } of this.path) {
      const hash = hashOfServiceChain(name);
      if (hash !== undefined) return hash;
    }
    return undefined;
  }

  /**
   * The Service, from a comment that the hash confirms: one of those on rules that name it, else one inside
   * its own chains. One that nothing confirms is marked.
   */
  private name(
    comments: readonly (string | undefined)[],
    protocolNumber: number,
    hash = this.hash(),
  ): Named {
    let unverified: ServicePortName | undefined;
    const protocol = protocolName(protocolNumber);
    for (const comment of this.commentsAnd(comments)) {
      if (comment === undefined) continue;
      const service = parseServicePortName(withoutSuffix(comment));
      if (!service) continue;
      if (hash !== undefined && this.hashes(service, protocol).includes(hash)) return { service };
      unverified ??= service;
    }
    return unverified ? { service: unverified, nameUnverified: true } : {};
  }

  /** The comments given, then those inside the Service's chains: they are looked for only where those do not fit. */
  private *commentsAnd(
    comments: readonly (string | undefined)[],
  ): Generator<string | undefined, void> {
    yield* comments;
    // Chains before the Service's own hold comments on other Services.
    const first = this.path.findIndex((chain) => hashOfServiceChain(chain.name) !== undefined);
    if (first < 0) return;
    for (const chain of this.path.slice(first)) yield chain.comment;
    const last = this.path.at(-1);
    if (last?.plain) yield last.steps[0]?.chain?.comment;
  }

  /** The hashes of both spellings of a name. */
  private hashes(service: ServicePortName, protocol: string): string {
    const names = spellings(service);
    const key = `${names[0]} ${protocol}`;
    let hashes = this.verified.get(key);
    if (hashes === undefined) {
      hashes = names.map((name) => serviceChainHash(name, protocol)).join(' ');
      this.verified.set(key, hashes);
    }
    return hashes;
  }
}

function withoutSuffix(comment: string): string {
  for (const [suffix] of SUFFIXES) {
    if (comment.endsWith(suffix)) return comment.slice(0, -suffix.length);
  }
  const arrow = comment.indexOf(' -> ');
  return arrow < 0 ? comment : comment.slice(0, arrow);
}
