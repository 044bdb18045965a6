/** Terms of the series and of the fraction: both need about sqrt(a) + a few dozen for full precision. */
const MAX_TERMS = 100_000;
const EPSILON = 1e-15;
/** The smallest divisor of the fraction (modified Lentz), where it would be 0. */
const TINY = 1e-300;

/**
 * How likely a chi-squared variable with so many degrees of freedom is at least so large: the regularised upper
 * incomplete gamma function Q(degrees / 2, x / 2) (NIST DLMF 8.2.4). Exact to about 12 digits.
 */
export function chiSquaredTail(x: number, degrees: number): number {
  if (!(x > 0) || degrees < 1) return 1;
  return upperGamma(degrees / 2, x / 2);
}

function upperGamma(a: number, x: number): number {
  const scale = Math.exp(-x + a * Math.log(x) - logGamma(a));
  // Each converges quickly on its side (DLMF 8.11.4 and 8.9.2).
  return x < a + 1 ? 1 - scale * series(a, x) : scale * fraction(a, x);
}

/** Sum of x^n / (a (a+1) … (a+n)). */
function series(a: number, x: number): number {
  let term = 1 / a;
  let sum = term;
  for (let n = 1; n < MAX_TERMS && term > sum * EPSILON; n++) {
    term *= x / (a + n);
    sum += term;
  }
  return sum;
}

/** 1/(x+1-a- 1(1-a)/(x+3-a- 2(2-a)/(x+5-a- …))). */
function fraction(a: number, x: number): number {
  let b = x + 1 - a;
  let c = 1 / TINY;
  let d = 1 / b;
  let value = d;
  for (let n = 1; n < MAX_TERMS; n++) {
    const numerator = n * (a - n);
    b += 2;
    d = 1 / nonZero(b + numerator * d);
    c = nonZero(b + numerator / c);
    value *= c * d;
    if (Math.abs(c * d - 1) < EPSILON) break;
  }
  return value;
}

const nonZero = (value: number): number => (Math.abs(value) < TINY ? TINY : value);

/** Stirling's series (DLMF 5.11.1) behind a shift to where it is exact to the last digit or two. */
function logGamma(z: number): number {
  let shift = 0;
  let x = z;
  for (; x < 15; x++) shift += Math.log(x);
  const y = 1 / (x * x);
  const tail = (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y / 1188)))) / x;
  return (x - 0.5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + tail - shift;
}
