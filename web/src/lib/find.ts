// The search: concepts, genes (symbol, other names, Ensembl id with or without version), gene sets and labels. Hyphens, underscores
// and blanks are alike, “cells” is “cell”, and a word of one or two letters must stand by itself: “B-cell” finds “CD19+ B”.

import { significant } from "./evidence";
import { known } from "./format";
import { inOrder, residual } from "./reproducibility";
import type { Concepts, Genes, Label, Revision, Term } from "./types";

const MOST = 50;

/** Exact first, then those that begin so, then those that only have it; shorter names before longer ones. */
function rank(text: string, asked: string): number {
  return (text === asked ? 0 : text.startsWith(asked) ? 1000 : 2000) + Math.min(999, text.length);
}

function best<T>(all: { item: T; rank: number }[]): T[] {
  return all.sort((a, b) => a.rank - b.rank).slice(0, MOST).map((one) => one.item);
}

/** “B-cells”, “b_cell”, “Bcell” -> b cell. Plurals lose their s where a word is long enough to have one. */
function plainWords(text: string): string[] {
  const parts = text.toLowerCase().split(/[^\p{L}\p{N}+#]+/u).filter(Boolean);
  return parts.flatMap((part) => {
    const joined = /^([a-z]{1,2})(cells?)$/.exec(part);
    return joined ? [joined[1], "cell"] : [part.length > 3 && part.endsWith("s") ? part.slice(0, -1) : part];
  });
}
const signs = (word: string): string => word.replace(/\+/g, "");

/** Names of the data, cut into words once. */
const held = new Map<string, string[]>();
function wordsIn(text: string): string[] {
  let found = held.get(text);
  if (!found) {
    if (held.size > 60_000) held.clear();
    held.set(text, (found = plainWords(text)));
  }
  return found;
}

/** Whether a text has all words that were typed; “cell” says little, so a text need not have it where other words were typed too. */
export function has(text: string, words: string[]): boolean {
  const wanted = words.length > 1 ? words.filter((word) => word !== "cell") : words;
  const there = wordsIn(text);
  return (wanted.length ? wanted : words).every((word) => {
    const bare = signs(word);
    return bare.length <= 2 ? there.some((one) => one === word || signs(one) === bare) : there.some((one) => one.includes(word) || signs(one).includes(bare));
  });
}

export const wordsOf = (q: string): string[] => plainWords(q);

/** Places of the concepts that a text finds, and after them of residual latents where `all` are wanted. By its number each is found. */
export function findConcepts(c: Concepts, q: string, note: (latent: number) => Revision | null, all = false): number[] {
  const places = new Map(c.latent.map((_, i) => i).sort(inOrder(c)).map((i, at) => [i, at / c.latent.length]));
  const words = wordsOf(q);
  if (!words.length) return [];
  const number = /^#?(\d+)$/.exec(q.trim())?.[1];
  return best(
    c.latent.flatMap((latent, i) => {
      const mine = note(latent);
      // A gene set or a gene that is not significant is no reason to find a concept.
      const [term, gene] = [known(c.term_q[i]) && !significant(c.term_q[i]) ? "" : c.term[i], known(c.gene_q?.[i]) && !significant(c.gene_q![i]) ? "" : c.gene[i]];
      const text = [`#${latent} ${latent}`, mine?.label ?? "", c.name[i], c.label[i], term, gene, mine?.text ?? "", ...(mine?.tags ?? [])].join("\n");
      if (String(latent) === number) return [{ item: i, rank: -1 }];
      if ((residual(c, i) && !all) || !has(text, words)) return [];
      const named = mine && has(mine.label, words) ? 0 : c.label[i] && has(c.label[i], words) ? 1 : 2;
      return [{ item: i, rank: named + places.get(i)! + (residual(c, i) ? 10 : 0) + (c.density[i] ? 0 : 100) }];
    }),
  );
}

/** A gene’s name as it is compared: “HLA-DRA”, “hla dra” and “HLADRA” are one; an Ensembl id loses its version. */
export const geneKey = (name: string): string => name.trim().toLowerCase().replace(/^(ens[a-z]*g\d{6,})\.\d+$/, "$1").replace(/[\s_-]+/g, "");

interface Names {
  symbol: string;
  id: string;
  others: string[];
}
let indexed: { of: Genes; names: Names[]; exact: Map<string, number> } | null = null;

/** Every gene’s names, and the gene that each name means: a symbol before an id, and both before an alias. */
function index(g: Genes): { names: Names[]; exact: Map<string, number> } {
  if (indexed?.of === g) return indexed;
  const exact = new Map<string, number>();
  const claim = (name: string, gene: number): void => { if (name && !exact.has(name)) exact.set(name, gene); };
  const names = g.id.map((id, i) => {
    const alias = g.alias?.[i];
    return { symbol: geneKey(g.symbol[i]), id: geneKey(id), others: [g.ensembl?.[i] ?? "", ...(Array.isArray(alias) ? alias : alias ? [alias] : [])].map(geneKey).filter(Boolean) };
  });
  names.forEach(({ symbol }, i) => claim(symbol, i));
  names.forEach(({ id }, i) => claim(id, i));
  names.forEach(({ others }, i) => others.forEach((name) => claim(name, i)));
  indexed = { of: g, names, exact };
  return indexed;
}

/** The gene that a name means: its symbol, id, Ensembl id or another name; -1 if none. */
export function geneNamed(g: Genes, name: string): number {
  const literal = g.id.indexOf(name);
  return literal >= 0 ? literal : (index(g).exact.get(geneKey(name)) ?? -1);
}

/** By which of its other names a gene was found; nothing where its symbol or id was typed. */
export function foundBy(g: Genes, gene: number, q: string): string {
  const asked = geneKey(q);
  const { symbol, id } = index(g).names[gene];
  if (!asked || symbol.includes(asked) || id === asked) return "";
  const alias = g.alias?.[gene];
  return [g.ensembl?.[gene] ?? "", ...(Array.isArray(alias) ? alias : alias ? [alias] : [])].find((name) => geneKey(name).includes(asked)) ?? "";
}

export function findGenes(g: Genes, q: string): number[] {
  const asked = geneKey(q);
  if (!asked) return [];
  const { names } = index(g);
  const parts = q.split(/[\s,;]+/).filter((one) => one.length > 2);
  const listed = new Set(parts.map((one) => geneNamed(g, one)).filter((gene) => gene >= 0));
  const whole = geneNamed(g, q);
  const found: { item: number; rank: number }[] = [];
  names.forEach(({ symbol, id, others }, i) => {
    if (i === whole) return void found.push({ item: i, rank: -2 });
    if (listed.has(i)) return void found.push({ item: i, rank: -1 });
    let least = Infinity;
    if (symbol.includes(asked)) least = rank(symbol, asked);
    else if (asked.length > 2 && id.startsWith(asked)) least = rank(id, asked);
    else if (asked.length > 2) for (const name of others) if (name.startsWith(asked)) least = Math.min(least, 500 + rank(name, asked));
    if (least < Infinity) found.push({ item: i, rank: least });
  });
  return best(found);
}

export function findTerms(all: Term[], q: string): number[] {
  const words = wordsOf(q);
  if (!words.length) return [];
  const asked = words.join(" ");
  return best(all.flatMap(({ term, source }, i) => (has(`${term} ${source}`, words) ? [{ item: i, rank: rank(wordsIn(term).join(" "), asked) }] : [])));
}

export function findLabels(labels: Label[], q: string): { label: Label; code: number | null }[] {
  const words = wordsOf(q);
  if (!words.length) return [];
  return labels.flatMap((label) => {
    const values = (label.values ?? []).flatMap((value, v) => (has(value, words) ? [{ label, code: v + 1 }] : []));
    return has(label.name, words) ? [{ label, code: null }, ...values] : values;
  }).slice(0, MOST);
}
