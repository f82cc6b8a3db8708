// Differences with donors as the unit, as Python's `markers/donors.py` has them: the mean of each donor's cells on a side, then a
// paired t test over donors with cells on both, or Welch's over the donors of each.

import type { DonorTest } from "./types";

export const FEWEST_CELLS = 5;
export const FEWEST_DONORS = 3;

/** ln gamma (Lanczos). */
function lnGamma(x: number): number {
  const terms = [76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 0.1208650973866179e-2, -0.5395239384953e-5];
  const sum = terms.reduce((total, c, i) => total + c / (x + 1 + i), 1.000000000190015);
  return -(x + 5.5) + (x + 0.5) * Math.log(x + 5.5) + Math.log((2.5066282746310005 * sum) / x);
}

/** The regularised incomplete beta function, by its continued fraction (Lentz). */
function beta(x: number, a: number, b: number): number {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - beta(1 - x, b, a);
  const front = Math.exp(lnGamma(a + b) - lnGamma(a) - lnGamma(b) + a * Math.log(x) + b * Math.log(1 - x)) / a;
  const tiny = 1e-300;
  let [f, c, d] = [1, 1, 0];
  for (let i = 0; i <= 500; i++) {
    const m = i >> 1;
    const part = i === 0 ? 1 : i % 2 ? (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)) : (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / (Math.abs(1 + part * d) < tiny ? tiny : 1 + part * d);
    c = Math.abs(1 + part / c) < tiny ? tiny : 1 + part / c;
    f *= c * d;
    if (Math.abs(1 - c * d) < 1e-12) break;
  }
  return front * (f - 1);
}

/** Both tails of Student's t beyond |t|. */
export const student = (t: number, freedom: number): number => beta(freedom / (freedom + t * t), freedom / 2, 0.5);

const mean = (values: number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length;
const variance = (values: number[], middle: number): number => values.reduce((sum, one) => sum + (one - middle) ** 2, 0) / (values.length - 1);

export interface DonorResult {
  difference: number;
  t: number;
  p: number;
}

export class Donors {
  readonly test: DonorTest;
  private readonly used: number[];
  private readonly sizes: [Float64Array, Float64Array];

  /** `side`: 1 or 2 for each cell, 0 for one of neither; `donor`: its donor, 0 for none. */
  constructor(label: string, private readonly side: Uint8Array, private readonly donor: ArrayLike<number>) {
    let most = 0;
    for (let i = 0; i < side.length; i++) most = Math.max(most, donor[i]);
    this.sizes = [new Float64Array(most + 1), new Float64Array(most + 1)];
    for (let i = 0; i < side.length; i++) if (side[i] && donor[i]) this.sizes[side[i] - 1][donor[i]]++;
    const every = Array.from({ length: most + 1 }, (_, d) => d);
    const enough = (of: number, d: number): boolean => this.sizes[of][d] >= FEWEST_CELLS;
    const both = every.filter((d) => enough(0, d) && enough(1, d));
    const n: [number, number] = [0, 1].map((of) => every.filter((d) => enough(of, d)).length) as [number, number];
    const paired = both.length >= FEWEST_DONORS;
    const few = !paired && Math.min(...n) < FEWEST_DONORS;
    this.used = paired ? both : every;
    this.test = {
      label,
      test: paired ? "paired" : few ? "none" : "unpaired",
      n: paired ? [both.length, both.length] : n,
      why: few ? `too few donors: ${n[0]} have at least ${FEWEST_CELLS} cells in the set and ${n[1]} in the other; a test needs ${FEWEST_DONORS} with both, or ${FEWEST_DONORS} on each side` : "",
    };
  }

  /** What donors say of a column, whose cells without an entry are zero. */
  of(cells: Uint32Array, values: Float32Array): DonorResult {
    const sums = [new Float64Array(this.sizes[0].length), new Float64Array(this.sizes[0].length)];
    for (let k = 0; k < cells.length; k++) {
      const side = this.side[cells[k]];
      if (side) sums[side - 1][this.donor[cells[k]]] += values[k];
    }
    const means = [0, 1].map((of) => this.used.map((d) => (this.sizes[of][d] >= FEWEST_CELLS ? sums[of][d] / this.sizes[of][d] : NaN)));
    if (this.test.test === "paired") {
      const change = means[0].map((one, i) => one - means[1][i]);
      const middle = mean(change);
      return tested(middle, variance(change, middle) / change.length, change.length, 0, change.length);
    }
    const [a, b] = means.map((some) => some.filter(Number.isFinite));
    return tested(mean(a) - mean(b), variance(a, mean(a)) / a.length, a.length, variance(b, mean(b)) / b.length, b.length);
  }
}

function tested(difference: number, first: number, n: number, second: number, m: number): DonorResult {
  const error = first + second;
  if (!(error > 0)) return { difference, t: 0, p: difference === 0 ? 1 : 0 };
  const t = difference / Math.sqrt(error);
  const freedom = error ** 2 / (first ** 2 / (n - 1) + second ** 2 / (m - 1));
  return { difference, t, p: student(t, freedom) };
}
