// Which concepts mark a set of cells, worked out in the browser: what an export can do without a server. The same test as the
// server's (Wilcoxon rank sum with ties, Benjamini and Hochberg), over as many concepts as are worth fetching.

import { activation } from "./data";
import type { DonorResult, Donors } from "./donors";
import type { ConceptMark, Marks, Sparse } from "./types";

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

/** `side`: 1 for each cell of the set, 2 for each that it is held against, 0 for any other; n and N: of the set, and of both. */
function one({ cells, values }: Sparse, side: Uint8Array, n: number, N: number): { auc: number; z: number; difference: number; active: number; others: number } {
  const within: number[] = [];
  for (let i = 0; i < cells.length; i++) if (side[cells[i]]) within.push(i);
  const order = Uint32Array.from(within).sort((a, b) => values[a] - values[b]);
  const zeros = N - order.length;
  let [inside, sumIn, sum] = [0, 0, 0];
  for (const i of within) {
    sum += values[i];
    if (side[cells[i]] === 1) {
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
    for (let k = i; k < to; k++) if (side[cells[order[k]]] === 1) ranks += rank;
    ties += (to - i) ** 3 - (to - i);
    i = to;
  }
  const u = ranks - (n * (n + 1)) / 2;
  const s = Math.sqrt(((n * (N - n)) / 12) * (N + 1 - ties / (N * (N - 1))));
  const z = s > 0 ? Math.max(0, Math.abs(u - (n * (N - n)) / 2) - 0.5) / s : 0;
  return { auc: u / (n * (N - n)), z, difference: sumIn / n - (sum - sumIn) / (N - n), active: inside, others: order.length - inside };
}

export async function localMarks(side: Uint8Array, latents: number[], donors: Donors | null, progress: (done: number, all: number) => void): Promise<Marks> {
  const some = latents.slice(0, MOST);
  let [n, N] = [0, 0];
  for (const of of side) {
    if (of) N++;
    if (of === 1) n++;
  }
  const rows: ConceptMark[] = [];
  const p: number[] = [];
  const byDonor: DonorResult[] = [];
  const ask = donors && !donors.test.why;
  for (let from = 0; from < some.length; from += 8) {
    const together = some.slice(from, from + 8);
    for (const [i, sparse] of (await Promise.all(together.map(activation))).entries()) {
      const { auc, z, difference, active, others } = one(sparse, side, n, N);
      rows.push({ latent: together[i], auc, difference, share_in: active / n, share_out: others / (N - n), q: null });
      p.push(twoSided(z));
      if (ask) byDonor.push(donors.of(sparse.cells, sparse.values));
    }
    progress(Math.min(some.length, from + 8), some.length);
  }
  adjusted(p).forEach((q, i) => (rows[i].q = q));
  if (ask) adjusted(byDonor.map((one) => one.p)).forEach((q, i) => Object.assign(rows[i], { donor_difference: byDonor[i].difference, donor_q: q }));
  const order = rows.map((row, i) => ({ row, strength: ask ? Math.abs(byDonor[i].t) : Math.abs((row.auc ?? 0.5) - 0.5) }));
  order.sort((a, b) => b.strength - a.strength);
  return { concepts: order.slice(0, 200).map(({ row }) => row), genes: null, tried: some.length, donors: donors?.test ?? null };
}
