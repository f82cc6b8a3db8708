// The heat map of concepts and the values of a label: its measures, and what is said of one place of it.

import { count, number, percent } from "./format";
import type { HeatMap, Label, Manifest } from "./types";

export interface Measure {
  key: "mean" | "share" | "f1";
  name: string;
  /** what stands at the colour key */
  unit: string;
  says: string;
}

export const MEASURES: Measure[] = [
  { key: "mean", name: "Mean activation", unit: "of the concept’s largest mean", says: "Mean activation over all cells of the value, silent ones too, as a share of the largest mean of the concept: 1 stands in each row." },
  { key: "share", name: "Share of cells", unit: "of the value’s cells", says: "Share of the value’s cells in which the concept is on." },
  { key: "f1", name: "F1", unit: "F1", says: "F1 of “the concept is on” for “the cell has this value”, over all cells with a value. Grey: no better than with shuffled labels." },
];

/** The share of the full colour at each place of a map, 0 to 1. */
export function shares(map: HeatMap, measure: Measure["key"]): number[][] {
  return map.latents.map((_, r) => {
    const most = Math.max(1e-12, ...map.mean[r].map((v) => v ?? 0));
    return map.codes.map((_, c) => {
      if (measure === "mean") return (map.mean[r][c] ?? 0) / most;
      if (measure === "share") return map.counts[r][c] / map.sizes[c];
      const [f1, zero] = [map.f1[r][c] ?? 0, map.null[r][c] ?? 0];
      return f1 > zero ? f1 : 0;
    });
  });
}

/** What a place says, in full: all measures, the number of cells, and F1 beside its null. */
export function told(map: HeatMap, r: number, c: number): string {
  const most = Math.max(1e-12, ...map.mean[r].map((v) => v ?? 0));
  const [mean, f1, zero] = [map.mean[r][c] ?? 0, map.f1[r][c] ?? 0, map.null[r][c] ?? 0];
  return `on in ${percent(map.counts[r][c] / map.sizes[c])} of its ${count(map.sizes[c])} cells (${count(map.counts[r][c])}); mean activation ${number(mean)}, ${percent(mean / most)} of the concept’s largest; F1 ${number(f1)}, null ${number(zero)} (shuffled labels)${f1 > zero ? "" : ": no better"}`;
}

/** The label that views begin with: the first that concepts were compared with, or else the first of categories. */
export const mainLabel = (manifest: Manifest): Label | undefined =>
  manifest.labels.find((l) => l.kind === "category" && manifest.metrics.some((m) => m.metric.startsWith(`alignment.${l.name}.`))) ?? manifest.labels[0];
