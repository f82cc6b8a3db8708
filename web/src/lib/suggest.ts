// What the search suggests while one types: genes, labels, concepts and gene sets, the best few of each.

import { atlas } from "./atlas.svelte";
import { labelSaid, nameSaid } from "./evidence";
import { findConcepts, findGenes, findLabels, findTerms, foundBy } from "./find";
import { notes } from "./notes.svelte";
import { leading, residual } from "./reproducibility";
import { conceptLink, link } from "./route";

export interface Found {
  kind: string;
  text: string;
  note?: string;
  key: string;
}

export function suggestGenes(q: string, most = 6, among: (gene: number) => boolean = () => true): Found[] {
  const g = atlas.genes;
  if (!g) return [];
  return findGenes(g, q).filter(among).slice(0, most).map((gene) => {
    const by = foundBy(g, gene, q);
    const id = g.id[gene] !== atlas.symbol(gene) ? g.id[gene] : "";
    return { kind: "gene", text: atlas.symbol(gene), note: by ? `also ${by}` : id, key: `gene:${g.id[gene]}` };
  });
}

export function suggestConcepts(q: string, most = 4): Found[] {
  const c = atlas.concepts!;
  const places = q.trim() ? findConcepts(c, q, notes.person) : leading(c);
  return places.slice(0, most).map((i) => ({ kind: residual(c, i) ? "residual" : "concept", text: atlas.name(c.latent[i]), note: nameSaid(c, i).short, key: `c:${c.latent[i]}` }));
}

/** The concepts whose best label is this value, those that come back most often first. */
export function conceptsOfLabel(value: string): number[] {
  const c = atlas.concepts!;
  return leading(c).filter((i) => c.label[i] === value);
}

export function suggest(q: string): Found[] {
  const c = atlas.concepts!;
  const genes = suggestGenes(q);
  const labels = findLabels(atlas.manifest!.labels, q).filter(({ code }) => code !== null).slice(0, 4).map(({ label, code }) => {
    const value = label.values![code! - 1];
    const mine = conceptsOfLabel(value)[0];
    return { kind: "label", text: value, note: mine === undefined ? label.name : `concept ${c.latent[mine]}, ${labelSaid(c, mine)!.short}`, key: `label:${label.name}~${code}` };
  });
  const terms = atlas.terms ? findTerms(atlas.terms, q).slice(0, 3).map((t) => ({ kind: "gene set", text: atlas.terms![t].term.replaceAll("_", " "), note: atlas.terms![t].source, key: `term:${t}` })) : [];
  return [...genes.slice(0, genes.length && labels.length ? 4 : 6), ...labels, ...suggestConcepts(q), ...terms];
}

/** Where a suggestion leads. */
export function placeOf(key: string): string {
  const [kind, rest] = key.split(/:(.*)/s) as [string, string];
  if (kind === "gene") return link("search", { gene: rest });
  if (kind === "c") return conceptLink(Number(rest));
  if (kind === "term") return link("search", { term: rest });
  return link("cells", { colour: `label:${rest.slice(0, rest.lastIndexOf("~"))}`, pick: rest });
}

/** Where Enter leads without a choice: to the gene of that name, or to all that was found. */
export const resultsOf = (text: string): string => link("search", { q: text });

/** Read genes and gene sets before they are asked for; what fails is told by the view that needs them. */
export const wake = (): void => void Promise.all([atlas.loadGenes(), atlas.loadTerms()]).catch(() => undefined);
