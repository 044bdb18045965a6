import { formatAddress, parseAddress } from '../../model/address.js';
import { protocolNumber } from '../../model/packet.js';
import type { Chain, Table } from '../../model/ruleset.js';
import type { ClientCondition, Refusal } from '../../model/services.js';
import { type PlainBalancer, PlainChains } from './plain-chains.js';
import { PROBABILITY_ONE } from './plain-line.js';
import {
  FREE_TEXT,
  LONG_OPTION,
  NEGATION,
  OPTION_D,
  OPTION_G,
  OPTION_I,
  OPTION_J,
  OPTION_M,
  OPTION_P,
  OPTION_S,
  Tokens,
} from './rule-text.js';
import { RuleTexts, SavedChain, SavedChains } from './saved-chains.js';
import { drain, type Steps } from './steps.js';

/**
 * What of a table matters for finding endpoints: of every chain the rules that lead to a DNAT or to a
 * refusal, with those of their conditions that say which connections they are for. Everything else
 * about a rule is `conditional`: it may match or not. Steps into chains that lead nowhere are left
 * out, so a walk never enters KUBE-MARK-MASQ and its like. Small, for there may be 100,000 of them.
 */
export interface ChainNode {
  readonly name: string;
  readonly steps: readonly Step[];
  /** Has `recent --rcheck` rules: kube-proxy's ClientIP affinity. */
  readonly affinity: boolean;
  /** Two rules lead to the same chain. */
  readonly repeats: boolean;
  /** The first comment in it. */
  readonly comment: string | undefined;
  /** Set if it does nothing but balance over endpoints: then there is no need to look at its steps. */
  readonly plain: PlainBalancer | undefined;
}

export interface Step {
  /** 6, 17, 132; 0: any. */
  readonly protocol: number;
  /** The one destination address that it is for. */
  readonly address: string | undefined;
  /** `-m addrtype --dst-type LOCAL`. */
  readonly local: boolean;
  /** With `local`: `! -d 127.0.0.0/8` or `! -d ::1/128`. */
  readonly notLoopback: boolean;
  /** Destination ports. */
  readonly ports: readonly number[] | undefined;
  /** There are conditions beside those above. */
  readonly conditional: boolean;
  /** Those of them that ask where the client is. */
  readonly clients: readonly ClientCondition[] | undefined;
  /** Probability as the kernel holds it, in 1/2^31; -1 without one; NaN where it cannot be known. */
  readonly stored: number;
  /** Kept where the rule names an address or port, or refuses. */
  readonly comment: string | undefined;
  readonly kind: StepKind;
  /** Of `jump` and `goto`. */
  readonly chain: ChainNode | undefined;
  /** Of `dnat`; absent where the dump does not tell it. */
  readonly ip: string | undefined;
  /** Of `dnat`; absent where the port stays as it is. */
  readonly port: number | undefined;
}

/**
 * `mark-drop`: marked in nat to be dropped in filter, while the walk goes on (Kubernetes up to 1.24).
 * `end`: leaves the table without a DNAT to one endpoint.
 */
type StepKind = 'jump' | 'goto' | 'dnat' | 'reject' | 'drop' | 'mark-drop' | 'end' | 'return';

/** nft's jump stack holds 16 (NFT_JUMP_STACK_SIZE); a chain deeper than this is no part of a rule set that a kernel took. */
export const MAX_CHAIN_DEPTH = 32;

/** A rule for more destination ports than this is for a range, not for a Service's port. */
const MAX_PORTS = 64;

/** Targets that end the walk through a table. */
const TERMINAL = new Set([
  'ACCEPT',
  'DROP',
  'REJECT',
  'DNAT',
  'SNAT',
  'MASQUERADE',
  'REDIRECT',
  'NETMAP',
  'QUEUE',
  'NFQUEUE',
]);

/**
 * kube-proxy's comments on rules that refuse (proxier.go): in filter, and up to 1.24 on jumps to
 * KUBE-MARK-DROP in nat.
 */
const REFUSED =
  /^(\S+) (?:has no (local )?endpoints|traffic not accepted by KUBE-FW-[A-Z2-7]{16}|loadbalancer IP)$/;

/** kube-proxy's chains that balance over endpoints; KUBE-XLB- does more. */
const BALANCER = /^KUBE-SV[CL]-/;

/** A node that other nodes lead to. */
interface Reached extends ChainNode {
  repeats: boolean;
  /** Leads to a DNAT or a refusal, or ends the walk of what it is for. */
  readonly matters: boolean;
  /** The chain that was last seen to lead here. */
  from: ChainNode | undefined;
}

/** A node while its chain is read; until `matters` is set nothing leads into it, so a loop ends there. */
class OpenNode implements Reached {
  readonly name: string;
  steps = NO_STEPS;
  affinity = false;
  repeats = false;
  comment: string | undefined = undefined;
  readonly plain = undefined;
  matters = false;
  from: ChainNode | undefined = undefined;

  constructor(name: string) {
    this.name = name;
  }
}

/** A plain balancer; what it is step by step is read only if it is asked for. */
class PlainNode implements Reached {
  readonly name: string;
  readonly affinity = false;
  repeats = false;
  readonly plain: PlainBalancer;
  readonly matters = true;
  from: ChainNode | undefined = undefined;
  private readonly read: () => ChainNode;
  private whole: ChainNode | undefined = undefined;

  constructor(name: string, plain: PlainBalancer, read: () => ChainNode) {
    this.name = name;
    this.plain = plain;
    this.read = read;
  }

  get steps(): readonly Step[] {
    this.whole ??= this.read();
    return this.whole.steps;
  }

  get comment(): string | undefined {
    this.whole ??= this.read();
    return this.whole.comment;
  }
}

/** Shared by chains without steps. */
const NO_STEPS: Step[] = [];

/** Most chains have one step, for which an array that is made to grow would be far too large. */
function push(node: OpenNode, step: Step): void {
  if (node.steps.length === 0) node.steps = [step];
  else node.steps.push(step);
}

/** Rules read between two places at which reading may be interrupted: about 0.1 ms. */
const RULES_AT_ONCE = 64;

/**
 * The chains of a table, each read when first asked for. Reading one may mean reading all that it leads to,
 * so it is done step by step: the generators yield where it may be interrupted.
 */
export class ChainGraph {
  /** DNAT rules of kube-proxy's endpoints that name no endpoint. */
  unreadable = 0;
  private readonly chains: ReadonlyMap<string, Chain>;
  private readonly nodes = new Map<string, OpenNode | PlainNode>();
  /** One a depth: a chain is entered while the rule that leads to it is being read. */
  private readonly readers: StepReader[] = [];
  private plain: PlainChains | undefined;
  private isPrepared = false;

  constructor(table: Table) {
    this.chains = table.chains;
  }

  /** The node of a chain; `undefined` if it does not exist or nothing in it matters. */
  *node(name: string): Steps<ChainNode | undefined> {
    if (!this.isPrepared) yield* this.prepare();
    const node = yield* this.find(name, 0);
    return node?.matters ? node : undefined;
  }

  /** Plain balancers are looked for only if their jumps to KUBE-MARK-MASQ lead nowhere, as in every known rule set. */
  private *prepare(): Steps<void> {
    this.isPrepared = true;
    if (!(this.chains instanceof SavedChains)) return;
    const masq = yield* this.find('KUBE-MARK-MASQ', 0);
    if (!masq?.matters) {
      this.plain = new PlainChains(this.chains);
      yield* this.plain.readEndpoints();
      return;
    }
    // Read again from where it is asked for, so that a loop through it ends where it did.
    this.nodes.clear();
    this.unreadable = 0;
  }

  private *find(name: string, depth: number): Steps<Reached | undefined> {
    const known = this.nodes.get(name);
    if (known !== undefined) return known;
    const chain = this.chains.get(name);
    if (chain === undefined || depth > MAX_CHAIN_DEPTH) return undefined;
    if (this.plain && chain instanceof SavedChain && BALANCER.test(name)) {
      const plain = this.plain.balancer(chain.number);
      if (plain) {
        const node = new PlainNode(name, plain, () => drain(this.read(chain, depth)));
        this.nodes.set(name, node);
        yield;
        return node;
      }
    }
    return yield* this.read(chain, depth);
  }

  private *read(chain: Chain, depth: number): Steps<OpenNode> {
    const node = new OpenNode(chain.name);
    if (!this.nodes.has(chain.name)) this.nodes.set(chain.name, node);
    this.readers[depth] ??= new StepReader();
    const read = this.readers[depth];
    const texts = new RuleTexts(chain);
    let matters = false;
    let count = 0;
    while (texts.next()) {
      if (++count % RULES_AT_ONCE === 0) yield;
      if (!read.rule(texts.text, texts.start, texts.end)) continue;
      node.comment ??= read.comment;
      matters = (yield* this.add(node, read, depth)) || matters;
    }
    node.matters = matters;
    return node;
  }

  /** Adds what a rule does to a node; whether that makes the chain matter. */
  private *add(node: OpenNode, read: StepReader, depth: number): Steps<boolean> {
    const { target } = read;
    if (TERMINAL.has(target)) {
      const to = target === 'DNAT' ? readDestination(read.destination) : undefined;
      const refuses =
        (target === 'REJECT' || target === 'DROP') && refusalIn(read.comment) !== undefined;
      const hidden = target === 'DNAT' && !to && node.name.startsWith('KUBE-SEP-');
      if (hidden) this.unreadable++;
      if (to || hidden) push(node, read.step('dnat', undefined, to));
      else if (refuses) push(node, read.step(target === 'REJECT' ? 'reject' : 'drop'));
      else push(node, read.step('end'));
      node.affinity ||= read.affinity;
      return to !== undefined || hidden || refuses || !read.conditional;
    }
    if (target === 'RETURN') {
      push(node, read.step('return'));
      return false;
    }
    if (target === 'KUBE-MARK-DROP') {
      if (refusalIn(read.comment) === undefined) return false;
      push(node, read.step('mark-drop'));
      return true;
    }
    const to = yield* this.find(target, depth + 1);
    if (!to?.matters) return false;
    node.repeats ||= to.from === node;
    to.from = node;
    node.affinity ||= read.affinity;
    push(node, read.step(read.goto ? 'goto' : 'jump', to));
    return true;
  }
}

/** The Service port's name in a comment on a rule that refuses, and why it does. */
export function refusalIn(
  comment: string | undefined,
): { readonly name: string; readonly refusal: Refusal } | undefined {
  const m = comment === undefined ? null : REFUSED.exec(comment);
  if (!m) return undefined;
  const [text, name = '', local] = m;
  if (!text.endsWith(' endpoints')) return { name, refusal: 'source-ranges' };
  return { name, refusal: local === undefined ? 'no-endpoints' : 'no-local-endpoints' };
}

/** Reads one rule after the other into the same fields. */
class StepReader {
  private readonly tokens = new Tokens();
  private protocol = 0;
  private address: string | undefined;
  private local = false;
  private notLoopback = false;
  /** Tokens that tell a client's network and interface, 0 for none; `sourceType`: 1 LOCAL, 2 not. */
  private network = 0;
  private notNetwork = false;
  private interface = 0;
  private notInterface = false;
  private sourceType = 0;
  private ports: readonly number[] | undefined;
  conditional = false;
  private stored = -1;
  comment: string | undefined;
  affinity = false;
  goto = false;
  target = '';
  destination = '';

  /** false: the rule has no target, or is for no protocol that Services have. */
  rule(text: string, start: number, end: number): boolean {
    this.protocol = 0;
    this.address = undefined;
    this.local = false;
    this.notLoopback = false;
    this.network = 0;
    this.interface = 0;
    this.sourceType = 0;
    this.ports = undefined;
    this.conditional = false;
    this.stored = -1;
    this.comment = undefined;
    this.affinity = false;
    this.goto = false;
    this.target = '';
    this.destination = '';
    const { tokens } = this;
    tokens.read(text, start, end);
    let negated = false;
    for (let i = 0; i < tokens.length; i++) {
      const sort = tokens.sort(i);
      switch (sort) {
        case 0:
          // A value of an option that was passed over.
          break;
        case NEGATION:
          negated = true;
          continue;
        case OPTION_M:
          i++;
          break;
        case OPTION_J:
        case OPTION_G:
          this.target = tokens.value(++i);
          this.goto = sort === OPTION_G;
          break;
        case OPTION_D: {
          const text = tokens.value(++i);
          const address = readHost(text);
          if (address === undefined || negated) {
            this.conditional = true;
            this.notLoopback ||= negated && LOOPBACK.has(text);
          } else {
            this.address = address;
          }
          break;
        }
        case OPTION_S:
          this.conditional = true;
          this.network = ++i;
          this.notNetwork = negated;
          break;
        case OPTION_I:
          this.conditional = true;
          this.interface = ++i;
          this.notInterface = negated;
          break;
        case OPTION_P:
          this.protocol = readProtocol(tokens.value(++i));
          if (negated) {
            this.conditional = true;
            this.protocol = 0;
          }
          if (this.protocol < 0) return false;
          break;
        case LONG_OPTION:
          i = this.option(tokens.value(i), i, negated);
          break;
        default:
          // -o, -f and what nobody knows.
          this.conditional = true;
      }
      negated = false;
    }
    if (this.local && this.address !== undefined) {
      this.local = false;
      this.conditional = true;
    }
    return this.target !== '';
  }

  /** Reads a long option at token `at`; the token that was read last. */
  private option(name: string, at: number, negated: boolean): number {
    const { tokens } = this;
    if (this.target !== '') {
      if (name !== '--to-destination') return at;
      this.destination = tokens.value(at + 1);
      return at + 1;
    }
    switch (name) {
      case '--comment':
        this.comment ??= tokens.value(at + 1);
        return at + 1;
      case '--dport':
      case '--dports':
      case '--destination-port':
      case '--destination-ports': {
        const ports = negated ? undefined : readPorts(tokens.value(at + 1));
        if (ports) this.ports = ports;
        else this.conditional = true;
        return at + 1;
      }
      case '--dst-type':
        if (negated || tokens.value(at + 1) !== 'LOCAL') this.conditional = true;
        else this.local = true;
        return at + 1;
      case '--src-type':
        this.conditional = true;
        if (tokens.value(at + 1) === 'LOCAL') this.sourceType = negated ? 2 : 1;
        return at + 1;
      case '--mode':
        if (tokens.value(at + 1) !== 'random') this.stored = Number.NaN;
        return at + 1;
      case '--probability': {
        const p = Number(tokens.value(at + 1));
        const stored = p >= 0 && p <= 1 ? Math.round(p * PROBABILITY_ONE) : Number.NaN;
        this.stored = negated ? PROBABILITY_ONE - stored : stored;
        return at + 1;
      }
      case '--every':
      case '--packet':
        return at + 1;
      case '--rcheck':
      case '--update':
        this.affinity = true;
        this.conditional = true;
        return at;
      // `recent --set` always matches, and so do the options that only go with the others of
      // `recent`, and nfacct, which counts.
      case '--set':
      case '--reap':
      case '--rsource':
      case '--rdest':
        return at;
      case '--seconds':
      case '--mask':
      case '--name':
      case '--nfacct-name':
        return at + 1;
      default:
        this.conditional = true;
        return FREE_TEXT.has(name) ? at + 1 : at;
    }
  }

  step(kind: StepKind, chain?: ChainNode, to?: Destination): Step {
    const { protocol, address, local, ports, conditional, stored } = this;
    const telling = address !== undefined || ports !== undefined || local || chain === undefined;
    return {
      protocol,
      address,
      local,
      notLoopback: local && this.notLoopback,
      ports,
      conditional,
      clients: conditional ? this.clients() : undefined,
      stored,
      comment: telling && kind !== 'dnat' ? this.comment : undefined,
      kind,
      chain,
      ip: to?.ip,
      port: to?.port,
    };
  }

  private clients(): readonly ClientCondition[] | undefined {
    if (this.network === 0 && this.interface === 0 && this.sourceType === 0) return undefined;
    const { tokens } = this;
    const all: ClientCondition[] = [];
    if (this.network !== 0) {
      all.push({ is: 'network', network: tokens.value(this.network), negated: this.notNetwork });
    }
    if (this.sourceType !== 0) all.push({ is: 'local', negated: this.sourceType === 2 });
    if (this.interface !== 0) {
      all.push({ is: 'interface', name: tokens.value(this.interface), negated: this.notInterface });
    }
    return all;
  }
}

/** Where the node's own processes call it, spelled as iptables-save does. */
const LOOPBACK = new Set(['127.0.0.0/8', '::1/128']);

interface Destination {
  readonly ip: string;
  readonly port: number | undefined;
}

const scratch = new Uint32Array(4);

/** `10.96.0.1/32` or `fd00::1/128` to the address; `undefined` for a network. */
function readHost(text: string): string | undefined {
  const slash = text.indexOf('/');
  const ip = slash < 0 ? text : text.slice(0, slash);
  const family = parseAddress(ip, scratch, 0);
  if (family === 4) return slash < 0 || text.endsWith('/32') ? ip : undefined;
  if (family === 6) {
    return slash < 0 || text.endsWith('/128') ? formatAddress(scratch, 0, 6) : undefined;
  }
  return undefined;
}

/** `10.244.1.4:80`, `[fd00::4]:80` or an address alone; `undefined` for a range or anything else. */
function readDestination(text: string): Destination | undefined {
  const bracket = text.indexOf(']');
  const colon = text.lastIndexOf(':');
  const bracketed = text.startsWith('[') && bracket > 0;
  const hasPort = bracketed ? colon === bracket + 1 : colon >= 0 && text.indexOf(':') === colon;
  const ipText = bracketed ? text.slice(1, bracket) : hasPort ? text.slice(0, colon) : text;
  const family = parseAddress(ipText, scratch, 0);
  if (family === 0) return undefined;
  const ip = family === 4 ? ipText : formatAddress(scratch, 0, 6);
  if (!hasPort)
    return bracketed && bracket !== text.length - 1 ? undefined : { ip, port: undefined };
  const port = readPort(text.slice(colon + 1));
  return port === undefined ? undefined : { ip, port };
}

function readPort(text: string): number | undefined {
  if (text.length === 0 || text.length > 5) return undefined;
  let port = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    port = port * 10 + digit;
  }
  return port <= 65_535 ? port : undefined;
}

/** `80`, `80,443:445`; `undefined` if it is not that or names too many. */
function readPorts(text: string): readonly number[] | undefined {
  const one = readPort(text);
  if (one !== undefined) return [one];
  const ports: number[] = [];
  for (const part of text.split(',')) {
    const colon = part.indexOf(':');
    const from = readPort(colon < 0 ? part : part.slice(0, colon));
    const to = colon < 0 ? from : readPort(part.slice(colon + 1));
    if (from === undefined || to === undefined) return undefined;
    if (to - from + ports.length >= MAX_PORTS) return undefined;
    for (let port = from; port <= to; port++) ports.push(port);
  }
  return ports;
}

/** 6, 17, 132; 0 for `all`; -1 for a protocol that Services do not have. */
function readProtocol(text: string): number {
  if (text === 'tcp') return 6;
  const number = protocolNumber(text);
  if (number !== 0) return number;
  if (text === 'all' || text === '0') return 0;
  return text === '6' || text === '17' || text === '132' ? Number(text) : -1;
}
