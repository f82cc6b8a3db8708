// The atlas as the page reads it: one small file at a time, each kept for a while. Only relative paths, so that the same
// page works on the live server and in any folder of a static host; in a report the files are inside of the page.

import { holds, isReport, opened } from "./held";
import type { Card, CircuitListed, CircuitView, Concepts, FeatureDetails, GeneConcept, GeneGroups, GeneRow, Genes, HeatMap, Label, Manifest, Neurons, Prototype, Revision, Sparse, Term, TermConcept } from "./types";

/** What went wrong, in a sentence that a reader can act on. */
export class DataError extends Error {}

/** Fetches; whatever goes wrong becomes a DataError in plain words. */
async function fetched(path: string): Promise<Response> {
  if (isReport) {
    if (!holds(path)) throw new DataError(`To stay small, this report leaves this out (${path}). \`cellglass explore\` shows it.`);
    if (!("DecompressionStream" in window)) throw new DataError("This browser is too old to unpack the report. Update it, or open the report in another one.");
    return opened(path);
  }
  let answer: Response;
  try {
    answer = await fetch(path);
  } catch {
    const why = location.protocol === "file:" ? "A browser does not read data from a file that was opened directly; serve the folder, for instance with: python -m http.server." : "The server does not answer. Is `cellglass explore` still running?";
    throw new DataError(`${path} could not be read. ${why}`);
  }
  if (answer.status === 401 || answer.status === 403) throw new DataError("The server does not let this page in. Open the link that `cellglass explore` printed, with its token.");
  if (answer.status === 404) throw new DataError(`This atlas has no ${path}. If it was exported, the folder may not be whole: export it again.`);
  if (!answer.ok) {
    const told = (await answer.json().catch(() => null)) as { error?: string } | null;
    throw new DataError(told?.error ?? `${path}: the server answered with status ${answer.status}.`);
  }
  return answer;
}

async function json<T>(path: string): Promise<T> {
  const answer = await fetched(path);
  try {
    return (await answer.json()) as T;
  } catch {
    throw new DataError(`${path} is damaged: it is not JSON. Export the atlas again.`);
  }
}

const bytes = async (path: string): Promise<ArrayBuffer> => (await fetched(path)).arrayBuffer();

/** A function that asks once for each key and keeps the last `size` answers; what failed is asked again. */
function kept<T>(load: (key: string) => Promise<T>, size: number): (key: string) => Promise<T> {
  const all = new Map<string, Promise<T>>();
  return (key) => {
    const found = all.get(key);
    if (found) {
      all.delete(key);
      all.set(key, found);
      return found;
    }
    const asked = load(key);
    asked.catch(() => all.delete(key));
    all.set(key, asked);
    for (const oldest of all.keys()) {
      if (all.size <= size) break;
      all.delete(oldest);
    }
    return asked;
  };
}

const one = kept((path) => json<unknown>(path), 200);
const columns = kept(async (path) => unpack(await bytes(path), path), 96);

const LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** Files are little endian; so is nearly every machine. Where one is not, bytes are turned. */
function words(buffer: ArrayBuffer, width: number): ArrayBuffer {
  if (LITTLE || width === 1) return buffer;
  const turned = new Uint8Array(buffer.slice(0));
  for (let i = 0; i < turned.length; i += width) turned.subarray(i, i + width).reverse();
  return turned.buffer;
}

export function unpack(raw: ArrayBuffer, path: string): Sparse {
  if (raw.byteLength < 4 || raw.byteLength % 4) throw new DataError(`${path} is damaged: its length is wrong.`);
  const buffer = words(raw, 4);
  const n = new Uint32Array(buffer, 0, 1)[0];
  if (raw.byteLength !== 4 + 8 * n) throw new DataError(`${path} is damaged: its length is wrong.`);
  return { cells: new Uint32Array(buffer, 4, n), values: new Float32Array(buffer, 4 + 4 * n, n) };
}

export const manifest = (): Promise<Manifest> => one("data/manifest.json") as Promise<Manifest>;
export const concepts = (path: string): Promise<Concepts> => one(path) as Promise<Concepts>;
export const genes = (): Promise<Genes> => one("data/genes.json") as Promise<Genes>;
export const terms = (): Promise<Term[]> => one("data/terms.json") as Promise<Term[]>;
export const activation = (latent: number): Promise<Sparse> => columns(`data/activations/${latent}.bin`);
export const neurons = (): Promise<Neurons> => one("data/neurons.json") as Promise<Neurons>;
export const neuron = (number: number): Promise<Sparse> => columns(`data/neurons/${number}.bin`);
export const expression = (gene: number): Promise<Sparse> => columns(`data/expression/${gene}.bin`);
/** Whether the counts of all these genes can be drawn on the cells. */
export const drawable = (genes: number[]): boolean => genes.every((gene) => holds(`data/expression/${gene}.bin`));
export const drawableNeuron = (number: number): boolean => holds(`data/neurons/${number}.bin`);

/** Asked anew each time: circuits are written while the page is open. */
export const circuits = (): Promise<CircuitListed[]> => json<CircuitListed[]>("data/circuits.json");
export const circuit = kept((place) => json<CircuitView>(`data/circuits/${place}.json`), 12);
export const featureDetails = (number: number): Promise<FeatureDetails> => one(`data/circuit-features/${number}.json`) as Promise<FeatureDetails>;
/** A circuit to be saved: in cellglass's own format, or in Neuronpedia's. */
export const circuitFile = async (place: number, format: "circuit-files" | "neuronpedia"): Promise<Blob> => new Blob([await bytes(circuitPath(place, format))], { type: "application/json" });
export const hasCircuitFile = (place: number, format: "circuit-files" | "neuronpedia"): boolean => holds(circuitPath(place, format));
const circuitPath = (place: number, format: string): string => `data/${format}/${place}.json`;

export interface NotesFile {
  atlas: string | null;
  revisions: Revision[];
}
export const exportedNotes = (): Promise<NotesFile> => one("data/notes.json") as Promise<NotesFile>;

let layout: Promise<Uint16Array> | null = null;
export function xy(): Promise<Uint16Array> {
  layout ??= bytes("data/xy.bin").then((raw) => new Uint16Array(words(raw, 2)));
  layout.catch(() => (layout = null));
  return layout;
}

const TYPES = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };
export type Codes = Uint8Array | Uint16Array | Float32Array;
const labelFiles = kept(async (key) => {
  const [type, file] = key.split(" ", 2) as [keyof typeof TYPES, string];
  const Kind = TYPES[type];
  return new Kind(words(await bytes(file), Kind.BYTES_PER_ELEMENT)) as Codes;
}, 24);
export const labelCodes = (label: { file: string; type: string }): Promise<Codes> => labelFiles(`${label.type} ${label.file}`);

const mapOf = (label: Label): string => label.file.replace("labels", "heatmaps").replace(".bin", ".json");
export const heatmap = (label: Label): Promise<HeatMap> => one(mapOf(label)) as Promise<HeatMap>;
/** Whether a label has a heat map, here. */
export const hasHeatmap = ({ heatmaps }: Manifest) => (label: Label): boolean => heatmaps.some((place) => label.file === `data/labels/${place}.bin`) && holds(mapOf(label));

/** `latent` is that of the concept; shards are counted by latent number. */
export async function card(latent: number, shard: number): Promise<Card> {
  const cards = (await one(`data/cards/${Math.floor(latent / shard)}.json`)) as Record<string, Card>;
  const found = cards[String(latent)];
  if (!found) throw new DataError(`This atlas has no card for concept ${latent}.`);
  return found;
}

export const prototypes = (latent: number): Promise<Prototype[]> => one(`data/pairs/${latent}.json`) as Promise<Prototype[]>;

export async function conceptsOfGene(gene: number, shard: number): Promise<GeneConcept[]> {
  const rows = (await one(`data/gene-concepts/${Math.floor(gene / shard)}.json`)) as Record<string, GeneConcept[]>;
  return rows[String(gene)] ?? [];
}

export async function geneGroups(gene: number, shard: number): Promise<GeneGroups> {
  const rows = (await one(`data/gene-groups/${Math.floor(gene / shard)}.json`)) as Record<string, GeneGroups>;
  return rows[String(gene)] ?? {};
}
export const hasGeneGroups = (gene: number, shard: number): boolean => holds(`data/gene-groups/${Math.floor(gene / shard)}.json`);

/** All genes of a concept by method; null where they are left out of this page. */
export const allGenes = async (latent: number): Promise<Record<string, GeneRow[]> | null> => (holds(genesPath(latent)) ? json(genesPath(latent)) : null);
export const hasAllGenes = (latent: number): boolean => holds(genesPath(latent));
const genesPath = (latent: number): string => `data/all-genes/${latent}.json`;

export async function conceptsOfTerm(term: number, shard: number): Promise<TermConcept[]> {
  const rows = (await one(`data/term-concepts/${Math.floor(term / shard)}.json`)) as Record<string, TermConcept[]>;
  return rows[String(term)] ?? [];
}

export const NAMES_SHARD = 10_000;
export const cellNames = (shard: number): Promise<string[]> => (holds(`data/cells/${shard}.json`) ? (json(`data/cells/${shard}.json`) as Promise<string[]>) : Promise.resolve(new Array<string>(NAMES_SHARD).fill("")));
/** Which cells these are, and how many: a selection of others is refused. */
export const cellsId = (): Promise<{ cells: string; n: number }> => one("data/cells-id.json") as Promise<{ cells: string; n: number }>;
export async function cellName(cell: number): Promise<string> {
  const names = (await one(`data/cells/${Math.floor(cell / NAMES_SHARD)}.json`)) as string[];
  return names[cell % NAMES_SHARD] || `cell ${cell}`;
}

/** The name of the cell at a place of the map; a report may draw a sample of the cells. */
export async function nameAt(place: number): Promise<string> {
  return cellName((await drawnCells())?.[place] ?? place);
}
/** The numbers of the cells that a report draws, ascending; null where all are. */
export async function drawnCells(): Promise<Uint32Array | null> {
  if (!isReport) return null;
  drawn ??= bytes("data/drawn.bin").then((raw) => new Uint32Array(words(raw, 4)));
  return drawn;
}
let drawn: Promise<Uint32Array> | null = null;
