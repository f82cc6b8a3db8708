// What every view needs of the atlas: the manifest, the columns of concepts, and the genes once somebody asks.

import * as data from "./data";
import { notes } from "./notes.svelte";
import type { Concepts, Genes, Manifest, Term } from "./types";
import { learn } from "./words";

class Atlas {
  manifest = $state.raw<Manifest | null>(null);
  concepts = $state.raw<Concepts | null>(null);
  genes = $state.raw<Genes | null>(null);
  terms = $state.raw<Term[] | null>(null);
  error = $state("");
  private places = new Map<number, number>();

  async load(): Promise<void> {
    this.error = "";
    try {
      const manifest = await data.manifest();
      if (manifest.schema > 1) throw new data.DataError(`This data has schema ${manifest.schema}, which this page does not know. Use the page of the cellglass that wrote it.`);
      const columns = await data.concepts(manifest.concept_columns);
      this.places = new Map(columns.latent.map((latent, place) => [latent, place]));
      this.concepts = columns;
      learn(manifest.titles);
      this.manifest = manifest;
      document.title = `${manifest.title} · cellglass`;
      void notes.load(manifest);
    } catch (error) {
      this.error = (error as Error).message;
    }
  }

  /** How many cells are drawn: all, but for the report of a large atlas. */
  get drawn(): number {
    return this.manifest!.report?.cells ?? this.manifest!.n_cells;
  }

  async loadGenes(): Promise<Genes> {
    this.genes ??= await data.genes();
    return this.genes;
  }

  async loadTerms(): Promise<Term[]> {
    this.terms ??= await data.terms();
    return this.terms;
  }

  /** Position of a latent in the columns; -1: there is none. */
  place = (latent: number): number => this.places.get(latent) ?? -1;

  /** What a person called it, or the name from the atlas. */
  name = (latent: number): string => notes.person(latent)?.label || this.concepts?.name[this.place(latent)] || `concept ${latent}`;

  symbol = (gene: number): string => this.genes?.symbol[gene] || this.genes?.id[gene] || `gene ${gene}`;
}

export const atlas = new Atlas();
