// Expression of a gene, or the score of several, on the groups of a label: how many cells have it, how strongly, and how it is
// spread among them. A score is the mean of the genes’ expression. The scale is that of the files, which the server made once
// (cellglass.atlas.normalised).

import { atlas } from "./atlas.svelte";
import * as data from "./data";
import { geneNamed } from "./find";
import { shownOrder } from "./order";
import type { Genes, Label, Sparse } from "./types";

export const BINS = 40;
/** Genes of one score at most. */
export const MOST_GENES = 200;

/** What was typed, with blanks or commas between: genes that are known, and names that are not. */
export function genesIn(g: Genes, text: string): { genes: number[]; missing: string[] } {
  const asked = text.split(/[\s,;]+/).filter(Boolean);
  const whole = geneNamed(g, text.trim()); // such as “hla dra”
  if (whole >= 0) return { genes: [whole], missing: [] };
  const found = asked.map((one) => [one, geneNamed(g, one)] as const);
  return { genes: [...new Set(found.flatMap(([, gene]) => (gene >= 0 ? [gene] : [])))], missing: found.flatMap(([one, gene]) => (gene < 0 ? [one] : [])) };
}

/** The mean of some genes in each cell that has any of them. */
export async function score(genes: number[]): Promise<Sparse> {
  if (genes.length === 1) return data.expression(genes[0]);
  const sums = new Float32Array(atlas.drawn);
  for (const gene of genes) {
    const { cells, values } = await data.expression(gene);
    for (let i = 0; i < cells.length; i++) sums[cells[i]] += values[i] / genes.length;
  }
  let n = 0;
  for (const sum of sums) if (sum > 0) n++;
  const [cells, values] = [new Uint32Array(n), new Float32Array(n)];
  for (let cell = 0, at = 0; cell < sums.length; cell++)
    if (sums[cell] > 0) {
      cells[at] = cell;
      values[at++] = sums[cell];
    }
  return { cells, values };
}

export interface Group {
  code: number;
  name: string;
  n: number;
  having: number;
  /** mean over all cells of the group, and over those that have it */
  mean: number | null;
  meanHaving: number | null;
  /** cells that have it by how strongly, `BINS` equal steps from 0 to `top`; empty where it is not known */
  bins: Float64Array;
}

const nameOf = (label: Label, code: number): string => (code ? label.values![code - 1] : "no value");

/** Groups in the order of the label. */
function ordered<T extends { code: number }>(label: Label, groups: T[]): T[] {
  const place = new Map(shownOrder(label.values!).map((value, at) => [value + 1, at]));
  return groups.sort((a, b) => (place.get(a.code) ?? Infinity) - (place.get(b.code) ?? Infinity));
}

/** How a column falls on the groups of a label, counted in the cells that the page draws. */
export async function grouped(label: Label, column: Sparse): Promise<{ groups: Group[]; top: number }> {
  const codes = await data.labelCodes(label);
  const top = 1.04 * column.values.reduce((most, value) => Math.max(most, value), 1e-9); // a little more, so that no violin ends at the edge
  const groups: Group[] = Array.from({ length: label.values!.length + 1 }, (_, code) => ({ code, name: nameOf(label, code), n: 0, having: 0, mean: 0, meanHaving: null, bins: new Float64Array(BINS) }));
  for (let i = 0; i < codes.length; i++) groups[codes[i]].n++;
  column.cells.forEach((cell, i) => {
    const [group, value] = [groups[codes[cell]], column.values[i]];
    group.having++;
    group.mean! += value;
    group.bins[Math.min(BINS - 1, Math.floor((BINS * value) / top))]++;
  });
  for (const group of groups) [group.meanHaving, group.mean] = [group.having ? group.mean! / group.having : null, group.n ? group.mean! / group.n : null];
  return { groups: ordered(label, groups.filter((group) => group.n)), top };
}

/** The same numbers of a gene over all cells of the atlas, without its spread. */
export async function counted(label: Label, gene: number): Promise<Group[]> {
  const rows = (await data.geneGroups(gene, atlas.manifest!.gene_shard))[label.name] ?? [];
  return ordered(label, rows.map(([code, having, n, mean, meanHaving]) => ({ code, name: nameOf(label, code), n, having, mean, meanHaving, bins: new Float64Array() })));
}

/** The outline of a violin, 0..1 upward for each of its steps: bins smoothed, with the area of the share of cells that have it. */
export function violin(group: Group): number[] {
  const KERNEL = [0.06, 0.24, 0.4, 0.24, 0.06];
  const shares = Array.from(group.bins, (n) => n / group.n);
  return shares.map((_, at) => KERNEL.reduce((sum, weight, k) => sum + weight * (shares[at + k - 2] ?? 0), 0));
}
