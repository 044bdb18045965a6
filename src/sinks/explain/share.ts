import { NONE, plus, toNumber } from '../../model/share.js';
import type { Share } from '../../model/walk.js';

/** Digits of an exact share that a person still reads; beyond it the percentage must do (JSON has all of them). */
const MAX_DIGITS = 12;

/** In lowest terms: 2^29 / 2^31 is 1 / 2^2. */
const lowest = (share: Share): Share => plus(share, NONE);

/** `25%`; `33.3333%` and `25.0000%` where that is not all of it; never 0% or 100% for what is neither. */
export function percent(share: Share): string {
  const value = toNumber(share) * 100;
  const { parts, bits } = lowest(share);
  if (parts === 0n) return '0%';
  if (bits === 0) return '100%';
  if (value < 0.0001) return '<0.0001%';
  const text = value.toFixed(4);
  if (text === '100.0000') return '>99.9999%';
  return `${Number(text) === value ? Number(text) : text}%`;
}

/** `1/4`, `715827883/2^31`: the very number; '' where it is too long to be read, or whole. */
export function exactShare(share: Share): string {
  const { parts, bits } = lowest(share);
  if (bits === 0) return '';
  const text = String(parts);
  if (text.length > MAX_DIGITS) return '';
  return bits <= 10 ? `${text}/${2 ** bits}` : `${text}/2^${bits}`;
}
