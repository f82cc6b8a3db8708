// A change that is tried in the real model: what it is of a selected node, what became of it in words, and how far it is. The numbers
// are the server's.

import type { Node } from "./circuit";
import { count, known, number, percent } from "./format";
import type { CircuitView, Maybe } from "./types";

/** What the server says of a circuit before anything is tried. */
export interface TryOffer {
  ready: boolean;
  /** how to start the explorer so that it is */
  command: string;
  /** whether transcoders are there */
  features: boolean;
  /** names of cells that the circuit is of */
  cells: string[];
  /** the column of labels, and the label that the circuit is about */
  column: string | null;
  label: string;
  most: { cells: number; factor: number; count: number };
}

export type TryChange = { features: [number, number][]; factor: number; gene: string | null } | { gene: string; count: number };

export interface TryAsked {
  circuit: string;
  changes: TryChange[];
  cell: string | null;
  label: string | null;
  /** of labels; of a label alone */
  column: string | null;
  n: number;
}

/** Of one cell, or means over cells of a label. */
export interface TryResult {
  cell?: string;
  label?: string;
  n?: number;
  sd?: Maybe;
  before: Maybe;
  after: Maybe;
  change: Maybe;
  /** the change in each random draw */
  control: Maybe[];
  share: Maybe;
  /** activations and counts that were changed; of many cells, cells in which there were some */
  touched: number;
  words: { word: string; before: Maybe; after: Maybe; control: Maybe }[];
  left_out?: number;
  reason?: string;
}

export interface TryState {
  state: "running" | "done" | "stopped" | "wrong";
  what: string;
  done: number;
  total: number;
  result: TryResult | null;
  error: string;
}

/** Layer and number of the features of a node, each once. */
export function featuresOf(view: CircuitView, node: Node | null): [number, number][] {
  const { kind, layer, feature } = view.nodes;
  const found = new Map((node?.members ?? []).filter((i) => kind[i] === "feature").map((i) => [`${layer[i]}/${feature[i]}`, [layer[i], feature[i]] as [number, number]]));
  return [...found.values()];
}

/** The one gene at which a node stands, "" for tokens of no gene, null where it stands at several. */
export function placeOf(view: CircuitView, node: Node | null): string | null {
  const genes = new Set((node?.members ?? []).map((i) => view.genes[view.nodes.position[i]] ?? null));
  return genes.size === 1 ? [...genes][0] : null;
}

export const times = (factor: number): string => (factor === 0 ? "taken out" : factor === 1 ? "unchanged" : `× ${factor}`);
export const signed = (value: Maybe, digits = 3): string => (known(value) && value > 0 ? `+${number(value, digits)}` : number(value, digits));

/** What was changed, as the beginning of a sentence. */
export function said(change: TryChange, name: string): string {
  if ("count" in change) return `${change.gene} at a count of ${count(change.count)}`;
  const at = change.gene === null ? "at all tokens" : change.gene ? `at ${change.gene} alone` : "at the prompt alone";
  return `${name} ${times(change.factor)} ${at}`;
}

export interface Control {
  n: number;
  /** draws whose change is at least as large */
  larger: number;
  mean: number;
  /** of the sizes without sign */
  size: number;
  largest: number;
}

export function controlOf(result: TryResult): Control {
  const drawn = result.control.filter(known);
  const sizes = drawn.map(Math.abs);
  const mean = (of: number[]): number => (of.length ? of.reduce((sum, one) => sum + one, 0) / of.length : NaN);
  return { n: drawn.length, larger: Math.round((result.share ?? 0) * drawn.length), mean: mean(drawn), size: mean(sizes), largest: Math.max(0, ...sizes) };
}

/** What became of a change, in sentences. */
export function told(result: TryResult, what: string, answer: string, ofFeatures: boolean): string[] {
  const many = result.label !== undefined;
  const found: string[] = [];
  if (!result.touched) found.push(ofFeatures ? "There was nothing to change: none of these features is active there." : "There was nothing to change: the count is that already.");
  const way = !known(result.change) || result.change === 0 ? "stays" : result.change > 0 ? "rises" : "falls";
  const where = many ? `over ${count(result.n)} cells of ${result.label}, on average` : `in ${result.cell}`;
  const numbers = way === "stays" ? `at ${signed(result.before)}` : `from ${signed(result.before)} to ${signed(result.after)} (${signed(result.change)}${many ? `; sd over cells ${number(result.sd, 3)}` : ""})`;
  found.push(`${what}: ${where}, the answer ${answer} ${way} ${numbers}.`);
  const control = controlOf(result);
  if (control.n) {
    const same = ofFeatures ? `As much added in ${control.n} random directions` : `The same count of ${control.n} other genes of like expression`;
    found.push(`${same} changes it by ${number(control.size, 3)} on average, at most ${number(control.largest, 3)}: ${control.larger} of ${control.n} change it at least as much.`);
  }
  if (many && result.touched < (result.n ?? 0)) found.push(`In ${count((result.n ?? 0) - result.touched)} of the cells there was nothing to change.`);
  if (result.left_out) found.push(`${count(result.left_out)} cells cannot be asked and are left out: ${result.reason}.`);
  return found;
}

/** A probability as a reader says it. */
export const chance = (value: Maybe): string => (known(value) && value > 0 && value < 0.1 ? (value < 0.00005 ? "< 0.01 %" : `${(100 * value).toFixed(2)} %`) : percent(value));

/** How many digits behind the point tell the ticks of an axis apart. */
export const digitsOf = (ticks: number[]): number => (ticks.length > 1 ? Math.max(0, Math.ceil(-Math.log10(Math.abs(ticks[1] - ticks[0])) - 1e-9)) : 1);
