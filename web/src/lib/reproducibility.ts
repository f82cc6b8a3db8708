// How often a latent comes back, what that means in words, and the order of lists that follows from it: concepts before residual
// latents, then by reproducibility, then by F1.

import { known, percent } from "./format";
import type { Concepts, Manifest } from "./types";

export type Rule = NonNullable<Manifest["reproducibility"]>;

/** Whether a latent helps to reconstruct and is no finding. */
export const residual = (c: Concepts, i: number): boolean => Boolean(c.residual?.[i]);
/** How many latents are residual and active in some cell. */
export const residuals = (c: Concepts): number => c.latent.filter((_, i) => residual(c, i) && c.density[i]).length;

/** Whether a concept comes back by the rule of the atlas. Shares are multiples of 1 / n, and reach the page rounded. */
export const comesBack = (c: Concepts, i: number, rule: Rule | null): boolean =>
  rule !== null && !residual(c, i) && (c.reproducibility?.[i] ?? 0) >= rule.least - 0.001;

/** Whether the rule asks halves of the cells, or of the donors, and not other seeds. */
export const halved = ({ by }: Rule): boolean => by !== "seeds";
/** What was halved. */
export const units = ({ by }: Rule): string => (by === "donors" ? "donors" : "cells");
/** What a share of a rule is of: “16 pairs of disjoint halves of the cells”. */
export const trials = (rule: Rule): string => (halved(rule) ? `${rule.n} pairs of disjoint halves of the ${units(rule)}` : `${rule.n} other seeds’ dictionaries`);
/** “found in both halves of 94 % of 16 pairs of disjoint halves of the cells” */
export const meaning = (share: string, rule: Rule): string => `found in ${halved(rule) ? "both halves of " : ""}${share} of ${trials(rule)}`;
export const meaningOf = (c: Concepts, i: number, rule: Rule): string =>
  known(c.reproducibility?.[i]) ? meaning(percent(c.reproducibility![i]), rule) : "not known";

/** In steps of a tenth, as finely as it is known; where nothing is known all are alike. */
const step = (c: Concepts, i: number): number => (c.reproducibility ? Math.floor(10 * (c.reproducibility[i] ?? 0) + 1e-6) : 0);

/** The order of lists, that of Python’s `leading_order`: silent latents last, residual ones after concepts. */
export const inOrder = (c: Concepts) => (a: number, b: number): number =>
  Number(!c.density[a]) - Number(!c.density[b]) || Number(residual(c, a)) - Number(residual(c, b)) || step(c, b) - step(c, a) || (c.f1[b] ?? -1) - (c.f1[a] ?? -1) || a - b;

/** Places of the live concepts in the order of lists, and after them those of residual latents where these are wanted too. */
export const leading = (c: Concepts, all = false): number[] =>
  c.latent.map((_, i) => i).filter((i) => c.density[i] && (all || !residual(c, i))).sort(inOrder(c));

/** Rows in their order, but first what is significant and comes back, and last what is of residual latents. */
export function leadFirst<T>(rows: T[], place: (row: T) => number, sure: (row: T) => boolean, c: Concepts, rule: Rule | null): T[] {
  const rank = (row: T): number => (residual(c, place(row)) ? 2 : comesBack(c, place(row), rule) && sure(row) ? 0 : 1);
  return rows.map((row, at) => ({ row, at, rank: rank(row) })).sort((a, b) => a.rank - b.rank || a.at - b.at).map(({ row }) => row);
}

/** Why lists begin as they do; nothing where nothing is known. */
export const whyFirst = (rule: Rule | null): string =>
  rule ? `What comes back most often stands first: what ${halved(rule) ? `other ${units(rule)} do not show again` : "no other seed finds"} may be an accident of one fit.` : "";
