// The search: concepts, genes (symbol, alias, Ensembl id), gene sets and labels whose names have all words that were typed.

import type { Concepts, Genes, Label, Revision, Term } from "./types";

const MOST = 50;

/** Exact first, then those that begin so, then those that only have it; shorter names before longer ones. */
function rank(text: string, asked: string): number {
  const low = text.toLowerCase();
  return (low === asked ? 0 : low.startsWith(asked) ? 1000 : 2000) + Math.min(999, low.length);
}

function best<T>(all: { item: T; rank: number }[]): T[] {
  return all.sort((a, b) => a.rank - b.rank).slice(0, MOST).map((one) => one.item);
}

export const wordsOf = (q: string): string[] => q.toLowerCase().replaceAll("_", " ").split(/\s+/).filter(Boolean);
/** “plasma cells” also finds “plasma cell”. */
const has = (text: string, words: string[]): boolean => words.every((word) => text.includes(word) || (word.length > 3 && word.endsWith("s") && text.includes(word.slice(0, -1))));

export function findConcepts(c: Concepts, q: string, note: (latent: number) => Revision | null): number[] {
  const words = wordsOf(q);
  const asked = words.join(" ");
  const found = c.latent.flatMap((latent, i) => {
    const mine = note(latent);
    const text = [`#${latent}`, mine?.label ?? "", c.name[i], c.label[i], c.term[i], c.gene[i], mine?.text ?? "", ...(mine?.tags ?? [])].join("\n").toLowerCase().replaceAll("_", " ");
    if (!has(text, words)) return [];
    const named = mine && has(mine.label.toLowerCase(), words) ? 0 : has(c.label[i].toLowerCase(), words) ? 1 : 2;
    return [{ item: i, rank: text.startsWith(`#${asked}\n`) || String(latent) === asked ? -1 : named * 10 - (c.f1[i] ?? 0) + (c.density[i] ? 0 : 100) }];
  });
  return best(found);
}

export function findGenes(g: Genes, q: string): number[] {
  const asked = q.trim().toLowerCase();
  if (!asked) return [];
  const parts = new Set(asked.split(/[\s,;]+/));
  const found: { item: number; rank: number }[] = [];
  for (let i = 0; i < g.id.length; i++) {
    const alias = g.alias?.[i];
    const names = [g.symbol[i], g.id[i], g.ensembl?.[i] ?? "", ...(Array.isArray(alias) ? alias : alias ? [alias] : [])];
    let least = Infinity;
    for (const name of names) {
      const low = name.toLowerCase();
      if (low && (low.includes(asked) || parts.has(low))) least = Math.min(least, parts.has(low) ? 0 : rank(low, asked));
    }
    if (least < Infinity) found.push({ item: i, rank: least });
  }
  return best(found);
}

export function findTerms(all: Term[], q: string): number[] {
  const words = wordsOf(q);
  return best(all.flatMap(({ term, source }, i) => (has(`${term} ${source}`.toLowerCase().replaceAll("_", " "), words) ? [{ item: i, rank: rank(term.replaceAll("_", " "), words.join(" ")) }] : [])));
}

export function findLabels(labels: Label[], q: string): { label: Label; code: number | null }[] {
  const words = wordsOf(q);
  return labels.flatMap((label) => {
    const values = (label.values ?? []).flatMap((value, v) => (has(value.toLowerCase(), words) ? [{ label, code: v + 1 }] : []));
    return has(label.name.toLowerCase(), words) ? [{ label, code: null }, ...values] : values;
  }).slice(0, MOST);
}
