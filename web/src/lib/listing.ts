// Which concepts the list shows, and in which order. Everything stands in the link: `#/concepts?q=plasma&sort=-f1`. Without a
// wish they stand in the order of all lists (`inOrder`); residual latents come last in any order.

import { significant } from "./evidence";
import { has, wordsOf } from "./find";
import { known } from "./format";
import { byName } from "./order";
import { comesBack, inOrder, residual } from "./reproducibility";
import type { Rule } from "./reproducibility";
import type { Concepts, Revision } from "./types";

export const SORTS = ["latent", "name", "back", "density", "f1", "term", "gene", "note"] as const;
export type Sort = (typeof SORTS)[number];

export interface Asked {
  q: string;
  /** null: the order of all lists */
  sort: Sort | null;
  down: boolean;
  label: string;
  f1: number | null;
  least: number | null;
  most: number | null;
  annotated: string;
  noted: string;
  rated: string;
  status: string;
  /** least share, in percent, in which it comes back */
  found: number | null;
  again: boolean;
  silent: boolean;
  residual: boolean;
}

const decimal = (text: string | null): number | null => (text !== null && text !== "" && Number.isFinite(Number(text)) ? Number(text) : null);

export function asked(query: URLSearchParams): Asked {
  const sort = query.get("sort") ?? "";
  const key = sort.replace(/^-/, "") as Sort;
  return {
    q: query.get("q") ?? "",
    sort: SORTS.includes(key) ? key : null,
    down: sort.startsWith("-"),
    label: query.get("label") ?? "",
    f1: decimal(query.get("f1")),
    least: decimal(query.get("least")),
    most: decimal(query.get("most")),
    annotated: query.get("annotated") ?? "",
    noted: query.get("noted") ?? "",
    rated: query.get("rated") ?? "",
    status: query.get("status") ?? "",
    found: decimal(query.get("found")),
    again: query.has("again"),
    silent: query.has("silent"),
    residual: query.has("residual"),
  };
}

const yes = (wanted: string, is: boolean): boolean => !wanted || (wanted === "yes") === is;

/** Places of the concepts in the columns, in order. */
export function listed(c: Concepts, a: Asked, note: (latent: number) => Revision | null, rule: Rule | null): number[] {
  const words = wordsOf(a.q);
  const fits = (i: number): boolean => {
    const mine = note(c.latent[i]);
    if (!a.silent && !(c.density[i] ?? 0)) return false;
    if (a.label && c.label[i] !== a.label) return false;
    if (a.f1 !== null && (c.f1[i] ?? 0) < a.f1) return false;
    if (a.least !== null && 100 * (c.density[i] ?? 0) < a.least) return false;
    if (a.most !== null && 100 * (c.density[i] ?? 0) > a.most) return false;
    if (!a.residual && residual(c, i)) return false;
    if (a.found !== null && 100 * (c.reproducibility?.[i] ?? 0) < a.found - 0.1) return false;
    if (a.again && !comesBack(c, i, rule)) return false;
    if (!yes(a.annotated, Boolean(c.term[i]) && significant(c.term_q[i]))) return false;
    if (!yes(a.noted, mine !== null) || !yes(a.rated, known(mine?.confidence))) return false;
    if (a.status && mine?.status !== a.status) return false;
    if (!words.length) return true;
    const text = `#${c.latent[i]} ${c.latent[i]}\n${c.name[i]}\n${c.label[i]}\n${c.term[i]}\n${c.gene[i]}\n${mine ? `${mine.label}\n${mine.text}\n${mine.tags.join("\n")}` : ""}`;
    return has(text, words);
  };
  const value: Record<Sort, (i: number) => number | string> = {
    latent: (i) => c.latent[i],
    name: (i) => (note(c.latent[i])?.label || c.name[i]).toLowerCase(),
    density: (i) => c.density[i] ?? -1,
    f1: (i) => c.f1[i] ?? -1,
    term: (i) => c.term[i].toLowerCase(),
    gene: (i) => c.gene[i].toLowerCase(),
    back: (i) => c.reproducibility?.[i] ?? -1,
    note: (i) => note(c.latent[i])?.when ?? "",
  };
  const places = c.latent.map((_, i) => i).filter(fits);
  if (!a.sort) return places.sort(inOrder(c));
  const of = value[a.sort];
  const keyed = places.map((i) => [of(i), i] as const);
  const sign = a.down ? -1 : 1;
  keyed.sort(([x, i], [y, j]) => {
    const rest = Number(residual(c, i)) - Number(residual(c, j));
    if (rest) return rest;
    if (x === y) return c.latent[i] - c.latent[j];
    if (x === "" || y === "") return x === "" ? 1 : -1; // what is not known comes last
    return sign * (typeof x === "string" ? byName(x, y as string) : x < (y as number) ? -1 : 1) || c.latent[i] - c.latent[j];
  });
  return keyed.map(([, i]) => i);
}
