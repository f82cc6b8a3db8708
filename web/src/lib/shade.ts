// What colours the cells: a concept, a label, a gene or the mean of several genes; and the colour of each cell by it.

import { atlas } from "./atlas.svelte";
import { category, ramp, rgb, zero } from "./colour";
import * as data from "./data";
import { geneNamed } from "./find";
import type { Label, Sparse } from "./types";
import { neuronName } from "./words";

/** The one scale of expression: that of the files, which Python makes (cellglass.atlas.normalised). */
export const EXPRESSION = "log(1 + counts per 10,000)";

export type Shade =
  | { kind: "category"; title: string; values: string[]; codes: Uint8Array | Uint16Array }
  | { kind: "number"; title: string; unit: string; low: number; sorted: Float32Array; sparse?: Sparse; dense?: Float32Array };

export interface Settings {
  dark: boolean;
  low?: number | null;
  high?: number | null;
  /** the percentile of the values that are not zero from which on all have the strongest colour */
  clip: number;
  hidden?: Set<number>;
  chosen?: Uint8Array | null;
}

const positive = (values: Float32Array): Float32Array => values.filter((v) => Number.isFinite(v)).sort();

async function ofConcept(latent: number): Promise<Shade> {
  const sparse = await data.activation(latent);
  return { kind: "number", title: atlas.name(latent), unit: "activation", low: 0, sorted: positive(sparse.values.slice()), sparse };
}

async function ofNeuron(number: number): Promise<Shade> {
  const { n, axes } = await data.neurons();
  if (!(number >= 0 && number < n)) throw new data.DataError(n ? `The site has no neuron ${number}.` : "The model’s activations are no longer kept in this atlas, so its neurons cannot be drawn.");
  const sparse = await data.neuron(number);
  return { kind: "number", title: neuronName(number, axes), unit: "activation", low: 0, sorted: positive(sparse.values.slice()), sparse };
}

async function ofGenes(numbers: number[], title: string): Promise<Shade> {
  if (!atlas.manifest?.has_expression) throw new data.DataError("This atlas was made without its counts, so genes cannot be drawn on the cells. Make it again with the counts kept.");
  const uncounted = numbers.find((gene) => gene >= atlas.manifest!.n_expression);
  if (uncounted !== undefined) throw new data.DataError(`The atlas has no counts of ${atlas.symbol(uncounted)}.`);
  const n = atlas.drawn;
  const sums = new Float32Array(n);
  for (const gene of numbers) {
    const { cells, values } = await data.expression(gene);
    for (let i = 0; i < cells.length; i++) sums[cells[i]] += values[i] / numbers.length;
  }
  let some = 0;
  for (let i = 0; i < n; i++) if (sums[i] > 0) some++;
  const [cells, values] = [new Uint32Array(some), new Float32Array(some)];
  for (let i = 0, at = 0; i < n; i++)
    if (sums[i] > 0) {
      cells[at] = i;
      values[at++] = sums[i];
    }
  const unit = numbers.length > 1 ? `mean of ${EXPRESSION} over ${numbers.length} genes` : EXPRESSION;
  return { kind: "number", title, unit, low: 0, sorted: positive(values.slice()), sparse: { cells, values } };
}

async function ofLabel(label: Label): Promise<Shade> {
  const codes = await data.labelCodes(label);
  if (label.kind === "category") return { kind: "category", title: label.name, values: label.values ?? [], codes: codes as Uint8Array };
  const dense = codes as Float32Array;
  const sorted = positive(dense.slice());
  return { kind: "number", title: label.name, unit: "", low: sorted[0] ?? 0, sorted, dense };
}

async function geneNumber(id: string): Promise<number> {
  const found = geneNamed(await atlas.loadGenes(), id);
  if (found < 0) throw new data.DataError(`The atlas has no gene ${id}.`);
  return found;
}

/** `c:12`, `n:3` (a neuron), `label:NAME`, `gene:ID`, `genes:ID,ID` or `set:number of a term`. */
export async function shadeOf(spec: string): Promise<Shade> {
  const [kind, rest] = spec.split(/:(.*)/s) as [string, string];
  const manifest = atlas.manifest;
  if (!manifest) throw new data.DataError("The atlas is not read yet.");
  if (kind === "c") {
    if (atlas.place(Number(rest)) < 0) throw new data.DataError(`The atlas has no concept ${rest}.`);
    return ofConcept(Number(rest));
  }
  if (kind === "n") return ofNeuron(Number(rest));
  if (kind === "label") {
    const label = manifest.labels.find((one) => one.name === rest);
    if (!label) throw new data.DataError(`The cells have no label ${rest}.`);
    return ofLabel(label);
  }
  if (kind === "gene") {
    const gene = await geneNumber(rest);
    return ofGenes([gene], atlas.symbol(gene));
  }
  if (kind === "genes") {
    const numbers = await Promise.all(rest.split(",").filter(Boolean).slice(0, 200).map(geneNumber));
    return ofGenes(numbers, numbers.slice(0, 4).map(atlas.symbol).join(", ") + (numbers.length > 4 ? ` and ${numbers.length - 4} more` : ""));
  }
  if (kind === "set") {
    const term = (await atlas.loadTerms())[Number(rest)];
    if (!term?.genes?.length) throw new data.DataError("The atlas does not say which genes this set has; only the leading edge on a concept’s card can be drawn.");
    await atlas.loadGenes();
    return ofGenes(term.genes, term.term);
  }
  throw new data.DataError(`${spec}: cells cannot be coloured by this.`);
}

/** The values that get the weakest and the strongest colour. */
export function reach(shade: Shade, settings: Settings): [number, number] {
  if (shade.kind === "category") return [0, 1];
  const { sorted } = shade;
  const top = sorted.length ? sorted[Math.max(0, Math.min(sorted.length - 1, Math.ceil((settings.clip / 100) * sorted.length) - 1))] : 1;
  const low = settings.low ?? shade.low;
  const high = settings.high ?? top;
  return high > low ? [low, high] : [low, low + 1e-6];
}

const word = ([r, g, b]: [number, number, number], order: number): number => (r | (g << 8) | (b << 16) | (order << 24)) >>> 0;

/** The value of each cell; zero where a sparse column has none. */
export function valueAt(shade: Shade, cell: number): number {
  if (shade.kind === "category") return shade.codes[cell];
  if (shade.dense) return shade.dense[cell];
  const { cells, values } = shade.sparse!;
  let [from, to] = [0, cells.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (cells[middle] < cell) from = middle + 1;
    else to = middle;
  }
  return cells[from] === cell ? values[from] : 0;
}

/** How a number is coloured: a word as `paint` has it. */
function colouring(shade: Shade, settings: Settings): (value: number) => number {
  const [low, high] = reach(shade, settings);
  const words = Uint32Array.from({ length: 240 }, (_, step) => word(ramp(step / 239, settings.dark), 2 + step));
  return (value) => words[Math.max(0, Math.min(239, Math.floor(((value - low) / (high - low)) * 240)))];
}

/** A word for each cell that a sparse shade names, in its order; 0 where it keeps the colour of zero. */
export function paintSparse(shade: Shade & { sparse?: Sparse }, settings: Settings): Uint32Array {
  const { values } = shade.sparse!;
  const [low] = reach(shade, settings);
  const of = colouring(shade, settings);
  const out = new Uint32Array(values.length);
  for (let i = 0; i < values.length; i++) if (values[i] > 0 && values[i] >= low) out[i] = of(values[i]);
  return out;
}

/** One word for each cell: red, green, blue, and its place in the order of drawing (0: not drawn, 255: on top). */
export function paint(shade: Shade | null, n: number, settings: Settings): Uint32Array {
  const grey = zero(settings.dark);
  const out = new Uint32Array(n).fill(word(grey, 1));
  if (shade?.kind === "category") {
    const words = Uint32Array.from({ length: shade.values.length + 1 }, (_, code) => (code && !settings.hidden?.has(code) ? word(rgb(category(code - 1)), 128) : word(grey, 1)));
    for (let i = 0; i < n; i++) out[i] = words[shade.codes[i]];
  } else if (shade?.dense) {
    const of = colouring(shade, settings);
    for (let i = 0; i < n; i++) if (Number.isFinite(shade.dense[i])) out[i] = of(shade.dense[i]);
  } else if (shade) {
    const words = paintSparse(shade, settings);
    const { cells } = shade.sparse!;
    for (let i = 0; i < cells.length; i++) if (words[i]) out[cells[i]] = words[i];
  }
  const { chosen } = settings;
  if (chosen) {
    const back = rgb(settings.dark ? "#20262d" : "#ebe9e5");
    for (let i = 0; i < n; i++) if (!chosen[i]) out[i] = word(back, 1);
  }
  return out;
}
