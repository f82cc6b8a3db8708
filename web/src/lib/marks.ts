// Which concepts mark a set of cells, worked out in the browser: what an export can do without a server. The same test as the
// server's (Wilcoxon rank sum with ties, Benjamini and Hochberg), over as many concepts as are worth fetching.

import { activation } from "./data";
import type { ConceptMark, Marks } from "./types";

/** More concepts than this are not fetched for one question. */
export const MOST = 400;

/** The two tails of the normal distribution beyond |z|: erfc(|z| / sqrt 2), by its power series near zero, and else by its
 *  continued fraction (Abramowitz and Stegun 7.1.5 and 7.1.14); relative error below 1e-12. */
export function twoSided(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  if (x < 2) {
    let [term, sum] = [x, x];
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= -(x * x) / n;
      sum += term / (2 * n + 1);
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * sum;
  }
  let below = 0;
  for (let k = 60; k > 0; k--) below = k / 2 / (x + below);
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * (x + below));
}

export function adjusted(p: number[]): number[] {
  const order = p.map((_, i) => i).sort((a, b) => p[b] - p[a]);
  let least = 1;
  const q = new Array<number>(p.length);
  order.forEach((i, k) => (q[i] = least = Math.min(least, (p[i] * p.length) / (p.length - k))));
  return q;
}

function one(cells: Uint32Array, values: Float32Array, chosen: Uint8Array, n: number, N: number): { auc: number; z: number; difference: number; active: number } {
  const order = Uint32Array.from(values, (_, i) => i).sort((a, b) => values[a] - values[b]);
  const zeros = N - cells.length;
  let [inside, sumIn, sum] = [0, 0, 0];
  for (let i = 0; i < cells.length; i++) {
    sum += values[i];
    if (chosen[cells[i]]) {
      inside++;
      sumIn += values[i];
    }
  }
  let ranks = ((n - inside) * (zeros + 1)) / 2;
  let ties = zeros ** 3 - zeros;
  for (let i = 0; i < order.length; ) {
    let to = i;
    while (to < order.length && values[order[to]] === values[order[i]]) to++;
    const rank = zeros + (i + 1 + to) / 2;
    for (let k = i; k < to; k++) if (chosen[cells[order[k]]]) ranks += rank;
    ties += (to - i) ** 3 - (to - i);
    i = to;
  }
  const u = ranks - (n * (n + 1)) / 2;
  const s = Math.sqrt(((n * (N - n)) / 12) * (N + 1 - ties / (N * (N - 1))));
  const z = s > 0 ? Math.max(0, Math.abs(u - (n * (N - n)) / 2) - 0.5) / s : 0;
  return { auc: u / (n * (N - n)), z, difference: sumIn / n - (sum - sumIn) / (N - n), active: inside };
}

export async function localMarks(chosen: Uint8Array, n: number, latents: number[], progress: (done: number, all: number) => void): Promise<Marks> {
  const some = latents.slice(0, MOST);
  const N = chosen.length;
  const rows: ConceptMark[] = [];
  const p: number[] = [];
  for (let from = 0; from < some.length; from += 8) {
    const together = some.slice(from, from + 8);
    for (const [i, { cells, values }] of (await Promise.all(together.map(activation))).entries()) {
      const { auc, z, difference, active } = one(cells, values, chosen, n, N);
      rows.push({ latent: together[i], auc, difference, share_in: active / n, share_out: (cells.length - active) / (N - n), q: null });
      p.push(twoSided(z));
    }
    progress(Math.min(some.length, from + 8), some.length);
  }
  adjusted(p).forEach((q, i) => (rows[i].q = q));
  rows.sort((a, b) => Math.abs((b.auc ?? 0.5) - 0.5) - Math.abs((a.auc ?? 0.5) - 0.5));
  return { concepts: rows.slice(0, 200), genes: null, tried: some.length };
}
