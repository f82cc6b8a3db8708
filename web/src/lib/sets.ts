// Sets of cells as masks, one byte a cell: put together, cut by a value, and read from a file of names.

import { atlas } from "./atlas.svelte";
import * as data from "./data";
import { shadeOf } from "./shade";

export type Mask = Uint8Array;
export const OPERATIONS = { or: "or", and: "and", not: "but not" } as const;
export type Operation = keyof typeof OPERATIONS;

export const size = (mask: Mask): number => mask.reduce((sum, one) => sum + one, 0);

export function join(a: Mask, operation: Operation, b: Mask): Mask {
  const does = { or: (x: number, y: number) => x | y, and: (x: number, y: number) => x & y, not: (x: number, y: number) => x & (1 - y) }[operation];
  return a.map((one, i) => does(one, b[i]));
}

export function positions(mask: Mask): Uint32Array {
  const rows = new Uint32Array(size(mask));
  for (let i = 0, at = 0; i < mask.length; i++) if (mask[i]) rows[at++] = i;
  return rows;
}

export function maskOf(rows: Iterable<number>, n: number): Mask {
  const mask = new Uint8Array(n);
  for (const row of rows) mask[row] = 1;
  return mask;
}

/** A threshold as it stands in the link: `c:12~ge~0.5`, `gene:LYZ~lt~1`. */
export interface Cut {
  spec: string;
  above: boolean;
  value: number;
}
export const packCut = ({ spec, above, value }: Cut): string => `${spec}~${above ? "ge" : "lt"}~${value}`;
export function unpackCut(text: string): Cut | null {
  const found = /^(.+)~(ge|lt)~(-?[\d.]+(?:e[-+]?\d+)?)$/i.exec(text);
  return found && Number.isFinite(Number(found[3])) ? { spec: found[1], above: found[2] === "ge", value: Number(found[3]) } : null;
}

/** The cells whose value is at least that of the cut, or below it; a cell without a value is in neither. And what it says. */
export async function cutCells({ spec, above, value }: Cut, n: number): Promise<{ mask: Mask; how: string }> {
  const shade = await shadeOf(spec);
  if (shade.kind !== "number") throw new data.DataError("Groups of a label are selected by their name, not by a value.");
  const mask = new Uint8Array(n);
  const fits = (one: number): boolean => (above ? one >= value : one < value);
  if (shade.dense) for (let i = 0; i < n; i++) mask[i] = Number(fits(shade.dense[i]));
  else {
    mask.fill(Number(fits(0)));
    const { cells, values } = shade.sparse!;
    for (let k = 0; k < cells.length; k++) mask[cells[k]] = Number(fits(values[k]));
  }
  return { mask, how: `${shade.title}${shade.unit ? ` (${shade.unit})` : ""} ${above ? "≥" : "<"} ${Number(value.toPrecision(6))}` };
}

/** What a line of a CSV holds in its first field. */
function first(line: string): string {
  const quoted = /^"((?:[^"]|"")*)"/.exec(line);
  const text = quoted ? quoted[1].replaceAll('""', '"') : line.split(/[,\t]/, 1)[0].trim();
  return /^'[=+\-@]/.test(text) ? text.slice(1) : text; // as a table that is kept from spreadsheets has it
}

/** The names of a file: one a line, or the first column of a CSV, whose heading "cell" or the like is no name. */
export function namesIn(text: string): string[] {
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/).filter((line) => line.trim() && !line.startsWith("#"));
  const names = lines.map(first).filter(Boolean);
  if (/^(cell|cells|barcode|barcodes|cell_?id|index)$/i.test(names[0] ?? "")) names.shift();
  return names;
}

export interface FoundNames {
  mask: Mask;
  found: number;
  /** names that no cell here has, and how often a name stood twice */
  missing: string[];
  twice: number;
}

/** The cells of some names. */
export async function withNames(names: string[], progress: (done: number, all: number) => void): Promise<FoundNames> {
  const wanted = new Set(names);
  const every = await namesOfAll(progress);
  const mask = new Uint8Array(every.length);
  const seen = new Set<string>();
  every.forEach((name, i) => {
    if (!name || !wanted.has(name)) return;
    mask[i] = 1;
    seen.add(name);
  });
  return { mask, found: size(mask), missing: [...wanted].filter((name) => !seen.has(name)), twice: names.length - wanted.size };
}

/** The name of each cell that is drawn; "" where a report leaves it out. */
export async function namesOfAll(progress: (done: number, all: number) => void = () => undefined): Promise<string[]> {
  const n = atlas.manifest!.n_cells;
  const shards = Math.ceil(n / data.NAMES_SHARD);
  const every: string[] = [];
  for (let shard = 0; shard < shards; shard++) {
    for (const name of await data.cellNames(shard)) every.push(name);
    progress(shard + 1, shards);
  }
  const drawn = await data.drawnCells();
  return drawn ? Array.from(drawn, (row) => every[row] ?? "") : every;
}
