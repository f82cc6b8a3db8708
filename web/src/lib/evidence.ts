// What stands beside a concept’s label, gene set and gene wherever they are shown: null, threshold, count and q, in the same words.

import { count, known, number } from "./format";
import type { Concepts } from "./types";
import { SIGNIFICANT } from "./words";

export interface Said {
  /** as lists have it */
  short: string;
  /** in full words */
  full: string;
  /** whether it beats its null */
  sure: boolean;
}

const q = (value: number): string => (value < 1e-300 ? "0" : number(value, 3));
export const significant = (value: number | null | undefined): boolean => known(value) && value < SIGNIFICANT;

/** The F1 of the best label, with its null, threshold and count; null where the concept has no label. */
export function labelSaid(c: Concepts, i: number): Said | null {
  const [f1, zero, n, level, sure] = [c.f1[i], c.label_null?.[i], c.label_n?.[i], c.label_threshold?.[i], c.label_q?.[i]];
  if (!c.label[i] || !known(f1)) return null;
  const of = c.label_every?.[i] ?? true ? "calling every cell" : "shuffled labels";
  return {
    short: `F1 ${number(f1)} / ${number(zero)}, n ${count(n)}${known(level) ? `, from ${number(level)}` : ""}${known(sure) ? `, q ${q(sure)}` : ""}`,
    full: `F1 ${number(f1)} on held-out cells; null ${number(zero)} (${of}); ${known(level) ? `threshold: activation from ${number(level)}` : "threshold set on the other half of the cells"}; n = ${count(n)} ${c.label_every?.[i] === false ? "of these cells have" : "cells have"} this label${c.label_of?.[i] ? ` (${c.label_of[i]})` : ""}${known(sure) ? `; q ${q(sure)}` : ""}`,
    sure: known(sure) ? significant(sure) : f1 > (zero ?? 0),
  };
}

/** Whether a gene set or a gene counts by what is lost: below 0 in its statistic or score. */
export const lost = (value: number | null | undefined): boolean => known(value) && value < 0;

/** The best gene set, with the larger of its q and its q against random genes. */
export function termSaid(c: Concepts, i: number): Said | null {
  if (!c.term[i]) return null;
  const down = lost(c.term_statistic?.[i]);
  return {
    short: `${down ? "depleted, " : ""}q ${known(c.term_q[i]) ? q(c.term_q[i]!) : "unknown"}`,
    full: `${down ? "depleted: its genes drive the concept by their absence" : "enriched"}; q ${known(c.term_q[i]) ? `${q(c.term_q[i]!)}, the larger of q and null q (against random genes)` : "is not known"}`,
    sure: significant(c.term_q[i]),
  };
}

export function geneSaid(c: Concepts, i: number): Said | null {
  if (!c.gene[i]) return null;
  const [down, value] = [lost(c.gene_score?.[i]), c.gene_q?.[i]];
  return {
    short: `${down ? "absence, " : ""}q ${known(value) ? q(value) : "unknown"}`,
    full: `${down ? "its absence drives the concept" : "its presence drives the concept"}; q against the null ${known(value) ? q(value) : "is not known"}`,
    sure: significant(value),
  };
}

/** The gene as it is written: with a minus where its absence counts. */
export const geneText = (c: Concepts, i: number): string => (c.gene[i] && lost(c.gene_score?.[i]) ? `−${c.gene[i]}` : c.gene[i]);

/** What stands beside an automatic name: evidence for each of its parts. */
export function nameSaid(c: Concepts, i: number): Said {
  const parts = [labelSaid(c, i), termSaid(c, i), geneSaid(c, i)];
  const heads = ["", "set ", "gene "];
  const titles = [`Label ${c.label[i]}: `, `Gene set ${c.term[i].replaceAll("_", " ")}: `, `Gene ${c.gene[i]}: `];
  const there = parts.flatMap((part, p) => (part ? [{ ...part, p }] : []));
  return {
    short: there.map((part) => heads[part.p] + part.short).join(" · ") || "no label, gene set or gene",
    full: there.map((part) => titles[part.p] + part.full).join(". "),
    sure: there.some((part) => part.sure),
  };
}
