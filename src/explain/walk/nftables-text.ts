import type { NftJson, NftRule } from '../../model/ruleset.js';
import { field, isList, listOf, pairsOf, single, unwrapped } from './nftables-json.js';

/** Anonymous sets and maps of more elements are told by their number. */
const MAX_LISTED = 4;
/** What is not understood is shown up to here. */
const MAX_RAW = 120;
/** Marks are listed with eight hexadecimal digits (nft src/meta.c, src/ct.c: mark_type). */
const MARK_DIGITS = 8;
/** meta_key_is_unqualified, nft src/meta.c */
const UNQUALIFIED = new Set(['iif', 'oif', 'iifname', 'oifname', 'iifgroup', 'oifgroup']);
const OPERATORS = new Set(['&', '|', '^', '<<', '>>']);

/** A rule as `nft -s list ruleset` prints it, long anonymous sets and maps collapsed. */
export function ruleText({ expressions, comment }: NftRule): string {
  const words = expressions.map(statementText);
  if (comment !== undefined) words.push(`comment "${comment}"`);
  return words.join(' ');
}

/** What a match asks, without its operator being `!=`. */
export function expressionText(value: NftJson, style: Style = 'plain'): string {
  if (typeof value === 'number' && style === 'mark') return mark(value);
  if (typeof value === 'string') return style === 'name' ? `"${value}"` : value;
  if (typeof value !== 'object' || value === null) return String(value);
  if (isList(value)) return value.map((one) => expressionText(one, style)).join(',');
  const said = single(value);
  if (!said) return '';
  const [kind, inner] = said;
  if (OPERATORS.has(kind)) {
    const parts = listOf(inner);
    const within = parts.some((part) => styleOf(part) === 'mark') ? 'mark' : style;
    const glue = within === 'plain' && kind === '|' ? ' | ' : ` ${kind} `;
    return parts.map((part) => grouped(part, kind, within)).join(glue);
  }
  switch (kind) {
    case 'payload':
      return payloadText(inner);
    case 'meta': {
      const key = String(field(inner, 'key'));
      return UNQUALIFIED.has(key) ? key : `meta ${key}`;
    }
    case 'ct': {
      const direction = field(inner, 'dir');
      return `ct ${direction === undefined ? '' : `${String(direction)} `}${String(field(inner, 'key'))}`;
    }
    case 'fib':
      return `fib ${listOf(field(inner, 'flags')).map(String).join(' . ')} ${String(field(inner, 'result'))}`;
    case 'numgen': {
      const offset = field(inner, 'offset');
      const more = typeof offset === 'number' && offset !== 0 ? ` offset ${offset}` : '';
      return `numgen ${String(field(inner, 'mode'))} mod ${String(field(inner, 'mod'))}${more}`;
    }
    case 'jhash':
    case 'symhash':
      return hashText(kind, inner);
    case 'concat':
      return listOf(inner)
        .map((part) => expressionText(part, style))
        .join(' . ');
    case 'prefix':
      return `${String(field(inner, 'addr'))}/${String(field(inner, 'len'))}`;
    case 'range':
      return listOf(inner)
        .map((end) => expressionText(end, style))
        .join('-');
    case 'set':
      return setText(inner, style);
    case 'map':
      return `${expressionText(field(inner, 'key') ?? null)} map ${mapText(inner, style)}`;
    case 'elem':
      return expressionText(unwrapped(value), style);
    default:
      return raw(value);
  }
}

/** `10.96.0.10 . tcp . 80 : goto service-X`. */
export function elementText(
  key: NftJson,
  value: NftJson | undefined,
  style: Style = 'plain',
  values: Style = 'plain',
): string {
  const left = expressionText(unwrapped(key), style);
  return value === undefined ? left : `${left} : ${resultText(value, values)}`;
}

/** How numbers and names of one side of a comparison are printed follows from the other side. */
type Style = 'plain' | 'mark' | 'name';

function styleOf(left: NftJson | undefined): Style {
  const key = field(field(left, 'meta'), 'key');
  if (key === 'mark' || field(field(left, 'ct'), 'key') === 'mark') return 'mark';
  if (key === 'iifname' || key === 'oifname' || key === 'iif' || key === 'oif') return 'name';
  for (const op of OPERATORS) {
    const parts = field(left, op);
    if (parts !== undefined && listOf(parts).some((part) => styleOf(part) === 'mark'))
      return 'mark';
  }
  return 'plain';
}

export function statementText(statement: NftJson): string {
  const said = single(statement);
  if (!said) return raw(statement);
  const [kind, inner] = said;
  switch (kind) {
    case 'match':
      return matchText(inner);
    case 'vmap':
      return `${expressionText(field(inner, 'key') ?? null)} vmap ${mapText(inner)}`;
    case 'mangle': {
      const key = field(inner, 'key') ?? null;
      return `${expressionText(key)} set ${expressionText(field(inner, 'value') ?? null, styleOf(key))}`;
    }
    case 'jump':
    case 'goto':
      return `${kind} ${String(field(inner, 'target'))}`;
    case 'accept':
    case 'drop':
    case 'return':
    case 'continue':
    case 'notrack':
    case 'queue':
      return kind;
    case 'reject':
      return rejectText(inner);
    case 'dnat':
    case 'snat':
    case 'masquerade':
    case 'redirect':
      return natText(kind, inner);
    case 'counter':
      return typeof inner === 'string' ? `counter name "${inner}"` : kind;
    case 'quota':
    case 'ct count':
    case 'limit':
      return typeof inner === 'string' ? `${kind} name "${inner}"` : boundText(kind, inner);
    case 'log': {
      const prefix = field(inner, 'prefix');
      return typeof prefix === 'string' ? `log prefix "${prefix}"` : 'log';
    }
    case 'set':
    case 'map': {
      const target = String(field(inner, kind));
      return `${String(field(inner, 'op'))} ${target} { ${expressionText(field(inner, 'elem') ?? null)} }`;
    }
    default:
      return raw(statement);
  }
}

export function matchText(match: NftJson | undefined): string {
  const left = field(match, 'left') ?? null;
  const right = expressionText(field(match, 'right') ?? null, styleOf(left));
  const op = field(match, 'op');
  // Of an equation only that of a calculation is printed with its operator.
  const isCalculated = single(left) !== undefined && OPERATORS.has(single(left)?.[0] ?? '');
  const between = op === 'in' || (op === '==' && !isCalculated) ? ' ' : ` ${String(op)} `;
  return `${expressionText(left)}${between}${right}`;
}

function resultText(value: NftJson, style: Style): string {
  const said = typeof value === 'object' ? single(value) : undefined;
  if (said && ['jump', 'goto', 'accept', 'drop', 'return', 'continue'].includes(said[0])) {
    return statementText(value);
  }
  return expressionText(value, style);
}

function payloadText(payload: NftJson): string {
  const base = field(payload, 'base');
  if (base !== undefined) {
    return `@${String(base)},${String(field(payload, 'offset'))},${String(field(payload, 'len'))}`;
  }
  return `${String(field(payload, 'protocol'))} ${String(field(payload, 'field'))}`;
}

function setText(inner: NftJson, style: Style): string {
  const members = listOf(inner);
  if (members.length > MAX_LISTED) return `{ set of ${members.length} }`;
  return `{ ${members.map((one) => expressionText(unwrapped(one), style)).join(', ')} }`;
}

function mapText(map: NftJson, values: Style = 'plain'): string {
  const data = field(map, 'data');
  if (typeof data === 'string') return data;
  const pairs = pairsOf(data);
  if (pairs.length > MAX_LISTED) return `{ map of ${pairs.length} }`;
  const style = styleOf(field(map, 'key'));
  return `{ ${pairs.map(([key, value]) => elementText(key, value, style, values)).join(', ')} }`;
}

/** `jhash ip saddr mod 3 seed 0x7 offset 2`, `symhash mod 4`. */
function hashText(kind: string, inner: NftJson): string {
  const [seed, offset] = [field(inner, 'seed'), field(inner, 'offset')];
  const words = [kind];
  if (kind === 'jhash') words.push(expressionText(field(inner, 'expr') ?? null));
  words.push('mod', String(field(inner, 'mod')));
  if (typeof seed === 'number') words.push('seed', `0x${seed.toString(16)}`);
  if (typeof offset === 'number' && offset !== 0) words.push('offset', String(offset));
  return words.join(' ');
}

/** `limit rate over 10 kbytes/second`, `quota over 10 mbytes`, `ct count over 20`. */
function boundText(kind: string, inner: NftJson): string {
  const words = [kind === 'limit' ? 'limit rate' : kind];
  if (field(inner, 'inv') === true) words.push('over');
  words.push(String(field(inner, 'rate') ?? field(inner, 'val')));
  const unit = field(inner, 'rate_unit') ?? field(inner, 'val_unit');
  if (typeof unit === 'string' && unit !== 'packets') words.push(unit);
  const per = field(inner, 'per');
  return `${words.join(' ')}${per === undefined ? '' : `/${String(per)}`}`;
}

/** With the type that nft assumes, none is printed (nft src/statement.c, reject_stmt_print). */
function rejectText(inner: NftJson): string {
  const type = field(inner, 'type');
  const code = field(inner, 'expr');
  if (type === 'tcp reset') return 'reject with tcp reset';
  if (type === undefined || code === 'port-unreachable') return 'reject';
  return `reject with ${String(type)} ${String(code)}`;
}

function natText(kind: string, inner: NftJson): string {
  const words = [kind];
  const [addr, port] = [field(inner, 'addr'), field(inner, 'port')];
  const family = field(inner, 'family');
  if (typeof family === 'string') words.push(family);
  if (addr !== undefined || port !== undefined) {
    const to = addr === undefined ? '' : expressionText(addr);
    const isBracketed = port !== undefined && to.includes(':');
    const suffix = port === undefined ? '' : `:${expressionText(port)}`;
    words.push('to', `${isBracketed ? `[${to}]` : to}${suffix}`);
  }
  words.push(listOf(field(inner, 'flags')).map(String).join(','));
  return words.filter((word) => word !== '').join(' ');
}

/** Parentheses where an operator of another kind stands inside. */
function grouped(part: NftJson, around: string, style: Style): string {
  const text = expressionText(part, style);
  const inner = single(part)?.[0] ?? '';
  // & binds more tightly than ^, and that more than |: as in C.
  const order = ['|', '^', '&'];
  return OPERATORS.has(inner) && order.indexOf(inner) < order.indexOf(around) ? `(${text})` : text;
}

function mark(value: number): string {
  return `0x${value.toString(16).padStart(MARK_DIGITS, '0')}`;
}

function raw(value: NftJson): string {
  const text = JSON.stringify(value);
  return text.length > MAX_RAW ? `${text.slice(0, MAX_RAW)}…` : text;
}
