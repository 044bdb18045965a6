/** How much room a column wants, in columns of the terminal. */
export interface Shape {
  /** Below this it says nothing any more. */
  readonly min: number;
  /** What most rows need: where a stream's columns stand from its first row on. */
  readonly usual: number;
  readonly max: number;
  /** 1 is the most important. Each number once. */
  readonly rank: number;
  /** Shown even if other columns must be shortened for it. */
  readonly essential: boolean;
}

export const GAP = 2;
/** A column grows by this much at a time, so that a stream is not laid out anew for every longer name. */
const STEP = 4;

/**
 * The width of each column, 0 for one that is left out, for the widest cells `seen` so far. Which columns are
 * shown depends on `available` alone, so that a stream keeps its columns. Without `available` all have what
 * they want. The sum with gaps is never more than `available`.
 */
export function layOut(
  shapes: readonly Shape[],
  seen: readonly number[],
  available: number | undefined,
): number[] {
  const included = available === undefined ? shapes.map(() => true) : choose(shapes, available);
  const widths = shapes.map((shape, i) => (included[i] ? wanted(shape, seen[i] ?? 0) : 0));
  if (available === undefined) return widths;
  // What nobody has filled yet goes first, then what is beyond the usual, then all but the least.
  const least = byRank(shapes).reverse();
  shrink(widths, available, least, (i) => Math.max(shapes[i]?.min ?? 0, seen[i] ?? 0));
  shrink(widths, available, least, (i) => shapes[i]?.usual ?? 0);
  shrink(widths, available, least, (i) => shapes[i]?.min ?? 0);
  shrink(widths, available, least, () => 1);
  return widths;
}

/** The columns' numbers, the most important first. */
function byRank(shapes: readonly Shape[]): number[] {
  const order = shapes.map((_, i) => i);
  return order.sort((a, b) => (shapes[a]?.rank ?? 0) - (shapes[b]?.rank ?? 0));
}

function wanted(shape: Shape, seen: number): number {
  if (seen <= shape.usual) return shape.usual;
  return Math.min(shape.max, shape.usual + Math.ceil((seen - shape.usual) / STEP) * STEP);
}

/** By rank: the first two always, essential ones while the least widths fit, others while the usual widths fit. */
function choose(shapes: readonly Shape[], available: number): boolean[] {
  const included = shapes.map(() => false);
  let least = -GAP;
  let usual = -GAP;
  for (const i of byRank(shapes)) {
    const shape = shapes[i];
    if (!shape) continue;
    const fits = shape.essential
      ? shape.rank <= 2 || least + GAP + shape.min <= available
      : usual + GAP + shape.usual <= available;
    if (!fits) continue;
    included[i] = true;
    least += GAP + shape.min;
    usual += GAP + shape.usual;
  }
  return included;
}

/** Brings columns down to their floors, one after the other in this order, until all fit. */
function shrink(
  widths: number[],
  available: number,
  order: readonly number[],
  floor: (i: number) => number,
): void {
  let excess = total(widths) - available;
  for (const i of order) {
    const width = widths[i] ?? 0;
    const less = Math.min(excess, width - floor(i));
    if (width === 0 || less <= 0) continue;
    widths[i] = width - less;
    excess -= less;
  }
}

function total(widths: readonly number[]): number {
  let sum = -GAP;
  for (const width of widths) if (width > 0) sum += width + GAP;
  return sum;
}
