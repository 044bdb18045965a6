import type { NftElement, NftJson, NftRule } from '../../model/ruleset.js';
import { ONE, ofPart, rest, times } from '../../model/share.js';
import type { Effect, Share } from '../../model/walk.js';
import { evaluate, type Got, type Scene, valuesText } from './nftables-evaluate.js';
import { field, isList, listOf, setName, single, textOf, wholeOf } from './nftables-json.js';
import {
  type Answer,
  answer,
  type Choice,
  choose,
  holdsText,
  lacksText,
  remarkTurn,
  type Sets,
  type Unknown,
} from './nftables-match.js';
import { elementText, expressionText, statementText } from './nftables-text.js';
import { ADDRESS_4, ADDRESS_6, type Kind, MARK, PORT } from './nftables-values.js';

/** What a rule says about where the packet goes next. */
export type Verdict =
  | { readonly kind: 'jump' | 'goto'; readonly chain: string; readonly map?: string }
  | { readonly kind: 'return' | 'drop' | 'unknown'; readonly map?: string }
  | { readonly kind: 'accept' | 'reject'; readonly map?: string };

/** One way in which a packet can leave a rule. */
export interface Passage {
  readonly scene: Scene;
  readonly met: 'matched' | 'passed' | 'unknown';
  readonly because?: string;
  readonly chance?: Share;
  readonly effects: readonly Effect[];
  readonly counted?: { readonly packets: number; readonly bytes: number };
  /** Absent: the next rule. */
  readonly verdict?: Verdict;
  /** By the set of an affinity. */
  readonly affinity: boolean;
  /** The dynamic set that was taken not to hold the client. */
  readonly lacking?: { readonly name: string; readonly key: string };
}

/** A rule half done. */
interface Progress {
  readonly scene: Scene;
  readonly effects: readonly Effect[];
  readonly counted?: { readonly packets: number; readonly bytes: number };
  readonly chance?: Share;
  readonly chosen: readonly string[];
  /** Matches of which nobody knows whether they hold; asked for once something depends on it. */
  readonly open: readonly Unknown[];
  /** What was assumed to hold. */
  readonly assumed: readonly string[];
  readonly affinity: boolean;
  /** Into how many it was divided. */
  readonly ways: number;
}

/** Set of an affinity, as kube-proxy names it (kubernetes pkg/proxy/nftables/proxier.go). */
const AFFINITY = 'affinity-';
/** Statements that have no part in where a packet goes. */
const IDLE = new Set([
  'counter',
  'log',
  'comment',
  'last',
  'secmark',
  'dup',
  'flow',
  'ct helper',
  'ct timeout',
  'ct expectation',
]);
/** Statements that let some packets pass to the next one, by what is not in the packet. */
const GATES = new Set(['limit', 'quota', 'ct count', 'meter']);
/** Ways through one rule; a Service with 10,000 endpoints has so many in Kubernetes 1.36. */
const MAX_WAYS = 16_384;
/** A random number that is not looked up in a map is followed for each of so many values. */
const MAX_VALUES = 64;

/** All ways that a packet can take through one rule. `isNat`: translations are done here. */
export class RuleWalk {
  private readonly rule: NftRule;
  private readonly sets: Sets;
  private readonly isNat: boolean;
  private readonly passages: Passage[] = [];

  constructor(rule: NftRule, sets: Sets, isNat: boolean) {
    this.rule = rule;
    this.sets = sets;
    this.isNat = isNat;
  }

  take(scene: Scene): readonly Passage[] {
    const start = {
      scene,
      effects: [],
      chosen: [],
      open: [],
      assumed: [],
      affinity: false,
      ways: 1,
    };
    this.from(0, start);
    return this.passages;
  }

  private from(at: number, progress: Progress): void {
    const statement = this.rule.expressions[at];
    if (statement === undefined) {
      this.end(progress);
      return;
    }
    const [kind, inner] = single(statement) ?? ['', null];
    if (kind === 'match') this.match(at, inner, progress);
    else if (IDLE.has(kind) || isComment(kind, inner)) this.idle(at, kind, inner, progress);
    else if (GATES.has(kind) || (kind === 'xt' && field(inner, 'type') === 'match')) {
      const what =
        kind === 'xt' ? `xt match ${String(field(inner, 'name'))}` : statementText(statement);
      // Two rules never share an answer: other packets move what they ask of.
      const where = this.rule.handle === undefined ? '' : ` (handle ${this.rule.handle})`;
      const open = {
        is: 'unknown',
        holds: `${what} holds${where}`,
        fails: `${what} does not hold${where}`,
      } as const;
      this.from(at + 1, { ...progress, open: [...progress.open, open] });
    } else this.resolved(progress, (settled) => this.act(at, kind, inner, settled));
  }

  private match(at: number, inner: NftJson, progress: Progress): void {
    const said: Answer = answer(inner, progress.scene, this.sets);
    switch (said.is) {
      case 'yes': {
        const affinity =
          progress.affinity ||
          (field(inner, 'op') !== '!=' &&
            setName(field(inner, 'right'))?.startsWith(AFFINITY) === true);
        this.from(at + 1, affinity === progress.affinity ? progress : { ...progress, affinity });
        return;
      }
      case 'no':
        this.pass(progress, said.because);
        return;
      case 'chance': {
        const { share } = said;
        if (share.parts > 0n) this.from(at + 1, likely(progress, share));
        if (rest(share).parts > 0n) this.pass(likely(progress, rest(share)), 'by chance');
        return;
      }
      case 'unknown':
        this.from(at + 1, { ...progress, open: [...progress.open, said] });
        return;
    }
  }

  /** Goes on for each way in which the open matches can turn out: where one does not hold, the rule is over. */
  private resolved(progress: Progress, go: (settled: Progress) => void): void {
    let reached: Progress = { ...progress, open: [] };
    const failed: Passage[] = [];
    for (const one of progress.open) {
      if (!one.set) progress.scene.at.remark?.(`whether ${one.holds} cannot be told`);
      const hint = one.hint === undefined ? '' : ` (${one.hint})`;
      failed.unshift({
        scene: assume(reached.scene, one.fails, one.set === undefined),
        met: 'unknown',
        because: `assumed: ${one.fails}${hint}`,
        effects: reached.effects,
        affinity: reached.affinity,
        ...(one.set && { lacking: one.set }),
      });
      reached = {
        ...reached,
        scene: assume(reached.scene, one.holds, true),
        assumed: [...reached.assumed, `${one.holds}${hint}`],
        affinity: reached.affinity || one.set?.name.startsWith(AFFINITY) === true,
      };
    }
    go(reached);
    this.passages.push(...failed);
  }

  private idle(at: number, kind: string, inner: NftJson, progress: Progress): void {
    const packets = wholeOf(field(inner, 'packets'));
    const bytes = wholeOf(field(inner, 'bytes'));
    const counts = kind === 'counter' && packets !== undefined && bytes !== undefined;
    this.from(at + 1, counts ? { ...progress, counted: { packets, bytes } } : progress);
  }

  /** A statement that does something. */
  private act(at: number, kind: string, inner: NftJson, progress: Progress): void {
    switch (kind) {
      case 'accept':
      case 'drop':
      case 'return':
      case 'reject':
        this.done(progress, { kind }, { does: kind });
        return;
      case 'continue':
        this.from(at + 1, progress);
        return;
      case 'jump':
      case 'goto': {
        const chain = textOf(field(inner, 'target'));
        if (chain === undefined) this.lost(progress, `${kind} to nowhere`);
        else this.done(progress, { kind, chain }, { does: kind, chain });
        return;
      }
      case 'vmap':
        this.verdictMap(at, inner, progress);
        return;
      case 'mangle':
        this.mangle(at, inner, progress);
        return;
      case 'set':
      case 'map':
        this.remember(at, inner, kind, progress);
        return;
      case 'dnat':
      case 'snat':
      case 'masquerade':
      case 'redirect':
        this.translate(kind, inner, progress);
        return;
      case 'notrack':
        this.untrack(at, progress);
        return;
      default:
        this.lost(progress, expressionText({ [kind]: inner }));
    }
  }

  /** Only before conntrack has seen the packet (nft_notrack_eval, linux/net/netfilter/nft_ct.c). */
  private untrack(at: number, progress: Progress): void {
    const { scene } = progress;
    const isEarly = scene.tracked === 'not yet';
    const branch = isEarly ? ({ ...scene.branch, untracked: true } as const) : scene.branch;
    const after: Scene = isEarly ? { ...scene, tracked: 'never', branch } : scene;
    const effects: readonly Effect[] = [...progress.effects, { does: 'nothing' }];
    this.from(at + 1, { ...progress, scene: after, effects });
  }

  private verdictMap(at: number, inner: NftJson, progress: Progress): void {
    const found = choose(inner, progress.scene, this.sets);
    if (found.is === 'missing') {
      this.pass(progress, found.because);
      return;
    }
    if (found.is === 'unknown') {
      this.lost(progress, found.what);
      return;
    }
    if (this.tooMany(progress, found.choices.length)) return;
    const map = setName(field(inner, 'data'));
    for (const choice of found.choices) {
      const chosen = taken(progress, choice, found.choices.length);
      if (!choice.element) {
        this.pass(chosen, missed(inner, progress.scene));
        continue;
      }
      const [kind, target] = single(choice.element.value ?? null) ?? ['', null];
      const through = map === undefined ? {} : { map };
      switch (kind) {
        case 'continue':
          this.from(at + 1, chosen);
          break;
        case 'accept':
        case 'drop':
        case 'return':
          this.done(chosen, { kind, ...through }, { does: kind });
          break;
        case 'jump':
        case 'goto': {
          const chain = textOf(field(target, 'target'));
          if (chain === undefined) this.lost(chosen, `${kind} to nowhere`);
          else this.done(chosen, { kind, chain, ...through }, { does: kind, chain });
          break;
        }
        default:
          this.lost(chosen, `a verdict ${kind}`);
      }
    }
  }

  private mangle(at: number, inner: NftJson, progress: Progress): void {
    const key = field(inner, 'key') ?? null;
    const value = field(inner, 'value') ?? null;
    const isOwn = field(field(key, 'meta'), 'key') === 'mark';
    const isConntrack = field(field(key, 'ct'), 'key') === 'mark';
    if (!isOwn && !isConntrack) {
      // Where a packet's header is changed, it goes where nobody said.
      if (field(key, 'payload') === undefined) this.from(at + 1, progress);
      else this.lost(progress, `${expressionText(key)} is set`);
      return;
    }
    if (isConntrack && progress.scene.tracked !== 'yes') {
      this.from(at + 1, progress);
      return;
    }
    this.each(value, MARK, progress, (got, next) => {
      const read = got.is === 'known' ? got.values[0] : undefined;
      const { scene, effects } = next;
      if (typeof read === 'bigint') {
        const mark = Number(read);
        const effect: Effect = isOwn ? { does: 'mark', mark } : { does: 'nothing' };
        const branch = { ...scene.branch, ...(isOwn ? { mark } : { connmark: mark }) };
        this.from(at + 1, { ...next, scene: { ...scene, branch }, effects: [...effects, effect] });
        return;
      }
      const what = `${expressionText(key)} is set to ${expressionText(value)}, which is not known`;
      scene.at.remark?.(what);
      const effect: Effect = { does: 'unknown', what };
      const stays = assume(scene, `${expressionText(key)} stays as it is`, true);
      this.from(at + 1, { ...next, scene: stays, effects: [...effects, effect] });
    });
  }

  private remember(at: number, inner: NftJson, kind: string, progress: Progress): void {
    const list = setName(field(inner, kind));
    const elem = field(inner, 'elem') ?? null;
    const got = evaluate(field(field(elem, 'elem'), 'val') ?? elem, progress.scene);
    if (got.is === 'missing') {
      this.pass(progress, got.because);
      return;
    }
    if (list === undefined) {
      this.from(at + 1, progress);
      return;
    }
    const isGone = field(inner, 'op') === 'delete';
    const text = isGone ? lacksText : holdsText;
    const scene: Scene =
      got.is === 'known'
        ? { ...progress.scene, settled: settle(progress.scene, text(list, valuesText(got))) }
        : progress.scene;
    const effect: Effect = isGone ? { does: 'nothing' } : { does: 'remember', list };
    this.from(at + 1, { ...progress, scene, effects: [...progress.effects, effect] });
  }

  private translate(kind: string, inner: NftJson, progress: Progress): void {
    const { hook } = progress.scene;
    const isSource = kind === 'snat' || kind === 'masquerade';
    const hooks = isSource
      ? kind === 'snat'
        ? ['postrouting', 'input']
        : ['postrouting']
      : ['prerouting', 'output'];
    if (!this.isNat || !hooks.includes(hook)) {
      this.lost(progress, `${kind} in a chain that cannot translate`);
      return;
    }
    const flags = listOf(field(inner, 'flags'));
    if (kind === 'masquerade') {
      const effect: Effect = { does: kind, randomFully: flags.includes('fully-random') };
      const branch = { ...progress.scene.branch, masquerade: 'yes', source: '' } as const;
      this.done({ ...progress, scene: { ...progress.scene, branch } }, { kind: 'accept' }, effect);
      return;
    }
    const family = progress.scene.family === 4 ? ADDRESS_4 : ADDRESS_6;
    const addr = field(inner, 'addr');
    const port = field(inner, 'port');
    if (flags.includes('netmap') || field(inner, 'type_flags') === 'prefix') {
      this.lost(progress, `${kind} to a network`);
      return;
    }
    const withPort = (next: Progress, ip: string | undefined, given?: number): void => {
      if (port === undefined) this.translated(kind, next, ip, given);
      else {
        this.each(port, PORT, next, (got, last) => {
          const value = got.is === 'known' ? got.values[0] : undefined;
          // Of a range of ports nobody knows which.
          this.translated(kind, last, ip, typeof value === 'bigint' ? Number(value) : 0);
        });
      }
    };
    if (addr === undefined) {
      withPort(progress, undefined);
      return;
    }
    this.each(addr, family, progress, (got, next) => {
      const [ip, number] = got.is === 'known' ? got.values : [];
      const isRead = got.is === 'known' && got.kinds[0] === family && ip !== undefined;
      if (!isRead) this.lost(next, `${kind} to ${expressionText(addr)}`);
      else
        withPort(next, family.write(ip), typeof number === 'bigint' ? Number(number) : undefined);
    });
  }

  private translated(kind: string, progress: Progress, ip?: string, port?: number): void {
    const { scene } = progress;
    const { branch } = scene;
    if (kind === 'snat') {
      const moved = {
        ...branch,
        masquerade: 'yes',
        ...(ip !== undefined && { source: ip }),
      } as const;
      const effect: Effect = { does: 'snat', ...(ip !== undefined && { ip }) };
      this.done({ ...progress, scene: { ...scene, branch: moved } }, { kind: 'accept' }, effect);
      return;
    }
    // nf_nat_redirect (linux/net/netfilter): by whichever interface it came, an address of that.
    const loopback = scene.family === 4 ? '127.0.0.1' : '::1';
    const redirected = scene.hook === 'output' ? loopback : '';
    const to = {
      ip: kind === 'redirect' ? redirected : (ip ?? branch.destination),
      port: port ?? branch.port,
    };
    const moved = { ...branch, destination: to.ip, port: to.port, dnat: to };
    this.done(
      { ...progress, scene: { ...scene, branch: moved } },
      { kind: 'accept' },
      {
        does: 'dnat',
        ...(to.ip !== '' && (ip !== undefined || kind === 'redirect') && { ip: to.ip }),
        ...(port !== undefined && port !== 0 && { port }),
      },
    );
  }

  /** Evaluates what may be a look-up, and goes on for each of its results; where there is none, the rule is over. */
  private each(
    value: NftJson,
    kind: Kind,
    progress: Progress,
    go: (got: Got, next: Progress) => void,
  ): void {
    const map = field(value, 'map');
    if (map === undefined) {
      const got = evaluate(value, progress.scene, kind);
      if (got.is === 'missing') this.pass(progress, got.because);
      else if (got.is === 'spread' && got.drawn !== 'unknown' && got.count <= MAX_VALUES) {
        if (this.tooMany(progress, got.count)) return;
        remarkTurn(got, progress.scene);
        for (let i = 0; i < got.count; i++) {
          const share = ofPart(i, got.count);
          const number: Got = { is: 'known', values: [BigInt(got.first + i)], kinds: [kind] };
          go(number, { ...likely(progress, share), ways: progress.ways * got.count });
        }
      } else go(got, progress);
      return;
    }
    const found = choose(map, progress.scene, this.sets);
    if (found.is === 'missing') this.pass(progress, found.because);
    else if (found.is === 'unknown') this.lost(progress, found.what);
    else if (!this.tooMany(progress, found.choices.length)) {
      for (const choice of found.choices) {
        const chosen = taken(progress, choice, found.choices.length);
        if (!choice.element) this.pass(chosen, missed(map, progress.scene));
        else go(resultOf(choice.element, kind), chosen);
      }
    }
  }

  private tooMany(progress: Progress, ways: number): boolean {
    if (progress.ways * ways <= MAX_WAYS) return false;
    this.lost(progress, 'there are too many ways through this rule');
    return true;
  }

  private end(progress: Progress): void {
    const { open, scene, effects, counted, chance } = progress;
    const effect: readonly Effect[] = effects.length > 0 ? effects : [{ does: 'nothing' }];
    const words = open.map(({ holds }) => holds);
    this.passages.push({
      scene,
      met: open.length > 0 || progress.assumed.length > 0 ? 'unknown' : 'matched',
      ...reason([
        ...progress.assumed.map((one) => `assumed: ${one}`),
        ...words.map((one) => `whether ${one} is not known`),
        ...progress.chosen,
      ]),
      ...(chance && { chance }),
      effects: effect,
      ...(counted && { counted }),
      affinity: progress.affinity,
    });
  }

  private done(progress: Progress, verdict: Verdict, effect: Effect): void {
    const { scene, effects, counted, chance, assumed, affinity, chosen } = progress;
    this.passages.push({
      scene,
      met: assumed.length > 0 ? 'unknown' : 'matched',
      ...reason([...assumed.map((one) => `assumed: ${one}`), ...chosen]),
      ...(chance && { chance }),
      effects: [...effects, effect],
      ...(counted && { counted }),
      verdict,
      affinity,
    });
  }

  /** From here on nobody can follow. */
  private lost(progress: Progress, what: string): void {
    progress.scene.at.remark?.(`${what}: what comes behind is not known`);
    this.done(progress, { kind: 'unknown' }, { does: 'unknown', what });
  }

  private pass(progress: Progress, because: string): void {
    const { scene, effects, affinity, assumed, chance } = progress;
    this.passages.push({
      scene,
      met: assumed.length > 0 ? 'unknown' : 'passed',
      because: [...assumed.map((one) => `assumed: ${one}`), because].join('; '),
      // How likely it was to be taken instead.
      ...(chance && { chance: rest(chance) }),
      effects,
      affinity,
    });
  }
}

function isComment(kind: string, inner: NftJson): boolean {
  return kind === 'xt' && field(inner, 'type') === 'match' && field(inner, 'name') === 'comment';
}

function reason(words: readonly string[]): { readonly because?: string } {
  return words.length === 0 ? {} : { because: words.join('; ') };
}

function settle(scene: Scene, text: string): NonNullable<Scene['settled']> {
  return { text, ...(scene.settled && { before: scene.settled }) };
}

/** `isTold`: among what the ending rests on. */
function assume(scene: Scene, text: string, isTold: boolean): Scene {
  const { branch } = scene;
  const settled = settle(scene, text);
  if (!isTold || branch.assuming.includes(text)) return { ...scene, settled };
  return { ...scene, settled, branch: { ...branch, assuming: [...branch.assuming, text] } };
}

/** What happens with a rule once chance has had its say. */
function likely(progress: Progress, share: Share): Progress {
  const { scene, chance = ONE } = progress;
  const branch = { ...scene.branch, share: times(scene.branch.share, share) };
  return { ...progress, scene: { ...scene, branch }, chance: times(chance, share) };
}

/** The rule's way by one choice of a look-up. */
function taken(progress: Progress, choice: Choice, of: number): Progress {
  let next: Progress = { ...progress, ways: progress.ways * of };
  const { element, share, assuming } = choice;
  if (share) next = likely(next, share);
  if (assuming !== undefined) {
    next = {
      ...next,
      scene: assume(next.scene, assuming, true),
      assumed: [...next.assumed, assuming],
    };
  }
  if (!element) return next;
  const { key, value } = element;
  return { ...next, chosen: [...next.chosen, `{ ${elementText(key, value)} }`] };
}

function missed(map: NftJson, scene: Scene): string {
  const key = field(map, 'key') ?? null;
  const name = textOf(field(map, 'data')) ?? 'the map';
  const got = evaluate(key, scene);
  return got.is === 'known'
    ? `${name} has nothing for ${valuesText(got)}`
    : `${name} has nothing for what ${expressionText(key)} gives`;
}

/** A value that a map leads to: an address, a port, a mark, or address and port. */
function resultOf(element: NftElement, kind: Kind): Got {
  const value = element.value ?? null;
  const concat = field(value, 'concat');
  const parts = isList(concat) ? concat : [value];
  const kinds = parts.length === 2 ? [kind, PORT] : [kind];
  const values = parts.map((one, i) => (kinds[i] ?? kind).read(one));
  const read = values.filter((one) => one !== undefined);
  return read.length === kinds.length && parts.length === kinds.length
    ? { is: 'known', values: read, kinds }
    : { is: 'unknown', values: kinds.map(() => undefined), kinds };
}
