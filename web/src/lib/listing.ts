// Which concepts the list shows, and in which order. Everything stands in the link: `#/concepts?q=plasma&sort=-f1`.

import { leads, significant } from "./evidence";
import { has, wordsOf } from "./find";
import { known } from "./format";
import type { Concepts, Revision } from "./types";

export const SORTS = ["latent", "name", "density", "f1", "term", "gene", "found", "note"] as const;
export type Sort = (typeof SORTS)[number];

export interface Asked {
  q: string;
  sort: Sort;
  down: boolean;
  label: string;
  f1: number | null;
  least: number | null;
  most: number | null;
  annotated: string;
  noted: string;
  rated: string;
  status: string;
  found: number | null;
  again: boolean;
  silent: boolean;
}

const decimal = (text: string | null): number | null => (text !== null && text !== "" && Number.isFinite(Number(text)) ? Number(text) : null);

export function asked(query: URLSearchParams): Asked {
  const sort = query.get("sort") ?? "-f1";
  const key = sort.replace(/^-/, "") as Sort;
  return {
    q: query.get("q") ?? "",
    sort: SORTS.includes(key) ? key : "f1",
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
  };
}

const yes = (wanted: string, is: boolean): boolean => !wanted || (wanted === "yes") === is;

/** Places of the concepts in the columns, in order. */
export function listed(c: Concepts, a: Asked, note: (latent: number) => Revision | null): number[] {
  const words = wordsOf(a.q);
  const fits = (i: number): boolean => {
    const mine = note(c.latent[i]);
    if (!a.silent && !(c.density[i] ?? 0)) return false;
    if (a.label && c.label[i] !== a.label) return false;
    if (a.f1 !== null && (c.f1[i] ?? 0) < a.f1) return false;
    if (a.least !== null && 100 * (c.density[i] ?? 0) < a.least) return false;
    if (a.most !== null && 100 * (c.density[i] ?? 0) > a.most) return false;
    if (a.found !== null && (c.found_in?.[i] ?? 0) < a.found) return false;
    if (a.again && !c.consensus?.[i]) return false;
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
    found: (i) => (c.found_in?.[i] ?? -1) + (c.stability?.[i] ?? 0) / 10,
    note: (i) => note(c.latent[i])?.when ?? "",
  };
  const of = value[a.sort];
  const keyed = c.latent.map((_, i) => i).filter(fits).map((i) => [of(i), i] as const);
  const sign = a.down ? -1 : 1;
  keyed.sort(([x, i], [y, j]) => {
    // What no other seed finds leads no list by merit, however well it fits.
    const first = a.sort === "f1" && a.down ? leads(c, i) - leads(c, j) : 0;
    if (first) return first;
    if (x === y) return c.latent[i] - c.latent[j];
    if (x === "" || y === "") return x === "" ? 1 : -1; // what is not known comes last
    return x < y ? -sign : sign;
  });
  return keyed.map(([, i]) => i);
}
