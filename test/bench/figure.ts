/** What was measured in several rounds. */
export interface Figure {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly rounds: number;
}

export function figureOf(values: readonly number[]): Figure {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const at = (i: number): number => sorted[i] ?? Number.NaN;
  return {
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    min: at(0),
    max: at(sorted.length - 1),
    rounds: sorted.length,
  };
}

/** Each value of a figure through a falling or rising function, such as seconds to packets a second. */
export function mapFigure(figure: Figure, through: (value: number) => number): Figure {
  const [a, b] = [through(figure.min), through(figure.max)];
  return {
    median: through(figure.median),
    min: Math.min(a, b),
    max: Math.max(a, b),
    rounds: figure.rounds,
  };
}
