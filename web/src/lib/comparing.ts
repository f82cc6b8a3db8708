// Two concepts held against each other, from their activations and cards alone, so that live, exported and in a report the
// numbers are the same. A cell is "on" where its activation is not zero.

import type { Card, GeneRow, Sparse, TermRow } from "./types";

/** Of the cells of one group: how many are on for both, one and the other, and the correlation of the activations. */
export interface Overlap {
  n: number;
  both: number;
  onlyA: number;
  onlyB: number;
  neither: number;
  /** Pearson's, over all cells of the group, zeros too; null where one of them does not vary */
  correlation: number | null;
  /** cells on for both over cells on for any; null where there are none */
  jaccard: number | null;
  /** what it would be if the two had nothing to do with each other */
  expected: number | null;
}

/** Code of each cell: 1 both, 2 only the first, 3 only the second, 0 neither. */
export function fourWays(a: Sparse, b: Sparse, n: number): Uint8Array {
  const codes = new Uint8Array(n);
  for (const cell of a.cells) codes[cell] = 2;
  for (const cell of b.cells) codes[cell] = codes[cell] ? 1 : 3;
  return codes;
}

/** The overlap in each group of cells; `groups` gives the group of each cell, and there are `many`. */
export function overlaps(a: Sparse, b: Sparse, groups: ArrayLike<number>, many: number, cells: number): Overlap[] {
  const column = (): Float64Array => new Float64Array(many);
  const [n, onA, onB, both] = [column(), column(), column(), column()];
  const [sumA, sumB, squareA, squareB, product] = [column(), column(), column(), column(), column()];
  for (let i = 0; i < cells; i++) n[groups[i]]++;
  const dense = new Float32Array(cells);
  a.cells.forEach((cell, k) => {
    const [group, value] = [groups[cell], a.values[k]];
    dense[cell] = value;
    onA[group]++;
    sumA[group] += value;
    squareA[group] += value * value;
  });
  b.cells.forEach((cell, k) => {
    const [group, value] = [groups[cell], b.values[k]];
    onB[group]++;
    sumB[group] += value;
    squareB[group] += value * value;
    if (dense[cell]) both[group]++;
    product[group] += value * dense[cell];
  });
  return Array.from({ length: many }, (_, g) => {
    const [varA, varB] = [squareA[g] - sumA[g] ** 2 / n[g], squareB[g] - sumB[g] ** 2 / n[g]];
    const any = onA[g] + onB[g] - both[g];
    const chance = n[g] ? (onA[g] * onB[g]) / n[g] : 0;
    return {
      n: n[g], both: both[g], onlyA: onA[g] - both[g], onlyB: onB[g] - both[g], neither: n[g] - any,
      correlation: varA > 1e-9 * squareA[g] && varB > 1e-9 * squareB[g] ? (product[g] - (sumA[g] * sumB[g]) / n[g]) / Math.sqrt(varA * varB) : null,
      jaccard: any ? both[g] / any : null,
      expected: any ? chance / (onA[g] + onB[g] - chance) : null,
    };
  });
}

/** A gene that the card of either concept lists: its row on each, where it has one. */
export interface GenePair {
  gene: number;
  a: GeneRow | null;
  b: GeneRow | null;
}
export interface GenesCompared {
  rows: GenePair[];
  /** of the first `top` genes of each by presence, how many are of both, and how many would be by chance */
  top: number;
  shared: number;
  chance: number;
}

export const TOP = 30;

/** The genes of both by one method; first those that both list, by the smaller of their scores. `all`: genes that were measured. */
export function compareGenes(a: GeneRow[], b: GeneRow[], all: number): GenesCompared {
  const [inA, inB] = [a, b].map((rows) => new Map(rows.map((row) => [row[0], row])));
  const rows = [...new Set([...inA.keys(), ...inB.keys()])].map((gene) => ({ gene, a: inA.get(gene) ?? null, b: inB.get(gene) ?? null }));
  const score = (row: GeneRow | null): number => Math.abs(row?.[3] ?? 0);
  rows.sort((x, y) => Number(Boolean(y.a && y.b)) - Number(Boolean(x.a && x.b)) || (x.a && x.b && y.a && y.b ? Math.min(score(y.a), score(y.b)) - Math.min(score(x.a), score(x.b)) : Math.max(score(y.a), score(y.b)) - Math.max(score(x.a), score(x.b))));
  const first = (list: GeneRow[]): number[] => list.filter((row) => (row[3] ?? 0) > 0).slice(0, TOP).map((row) => row[0]);
  const [topA, topB] = [first(a), new Set(first(b))];
  const top = Math.min(topA.length, topB.size);
  return { rows, top, shared: topA.slice(0, top).filter((gene) => [...topB].slice(0, top).includes(gene)).length, chance: all ? (top * top) / all : 0 };
}

export interface TermPair {
  term: number;
  a: TermRow | null;
  b: TermRow | null;
}

/** The gene sets of both by one test of one ranking and source: significant in both first, then in one. */
export function compareTerms(a: Card, b: Card, of: { source: string; test: string; ranking: string }, sure: (row: TermRow | null) => boolean): TermPair[] {
  const [inA, inB] = [a, b].map((card) => new Map((card.pathways.find((one) => one.source === of.source && one.test === of.test && one.ranking === of.ranking)?.terms ?? []).map((row) => [row[0], row])));
  const pairs = [...new Set([...inA.keys(), ...inB.keys()])].map((term) => ({ term, a: inA.get(term) ?? null, b: inB.get(term) ?? null }));
  const rank = (pair: TermPair): number => 2 - Number(sure(pair.a)) - Number(sure(pair.b));
  const strength = (pair: TermPair): number => Math.max(Math.abs(pair.a?.[1] ?? 0), Math.abs(pair.b?.[1] ?? 0));
  return pairs.filter((pair) => rank(pair) < 2).sort((x, y) => rank(x) - rank(y) || strength(y) - strength(x));
}

/** Median, least and largest of what groups say; null of none. */
export function range(values: (number | null)[]): { n: number; median: number; low: number; high: number } | null {
  const some = values.filter((one): one is number => one !== null).sort((x, y) => x - y);
  if (!some.length) return null;
  const middle = some.length >> 1;
  return { n: some.length, median: some.length % 2 ? some[middle] : (some[middle - 1] + some[middle]) / 2, low: some[0], high: some.at(-1)! };
}
