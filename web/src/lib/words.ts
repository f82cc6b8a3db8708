// How names are read: those that Python knows (vocabulary.gen.ts), and those that the atlas brings.

import type { AtlasFacts } from "./types";
import { CONFIDENCES as DEGREES, TITLES } from "./vocabulary.gen";

export { BASES, BRIEFS, FOLLOWS_DEPTH, ITEMS, SAYS, SIGNIFICANT, STATUSES } from "./vocabulary.gen";

// A map, since a name is data: an object would have a "constructor".
const titles = new Map(Object.entries(TITLES));

/** Take in the titles that an atlas states, such as of methods of other packages. */
export function learn(more: Record<string, string> = {}): void {
  for (const [name, title] of Object.entries(more)) if (!titles.has(name)) titles.set(name, title);
}

/** What every search and filter says that finds nothing. */
export const nothingHas = (asked: string): string => `Nothing has “${asked}” in its name.`;

export const title = (name: string): string => titles.get(name) ?? name;

/** What a mapping of Python says of a name, or nothing. */
export const said = (of: Record<string, string>, name: string): string | undefined => (Object.hasOwn(of, name) ? of[name] : undefined);

/** "path/activation" in words; what was watched is said only where a method was read on several things. */
export function blockName(key: string, keys: string[]): string {
  const [method, on] = key.split("/");
  const twice = keys.filter((other) => other.split("/")[0] === method).length > 1;
  return title(method) + (twice && on ? ` (${title(on)})` : "");
}

/** Whether "de/expression" or the like does not ask the model. */
export const ofCells = (key: string): boolean => key.endsWith("/expression");

export type Shape = "circle" | "diamond" | "square" | "triangle" | "down" | "cross" | "bar";

const SHAPES: Record<string, Shape> = { concepts: "circle", site: "diamond", counts: "square", neurons: "diamond", clusters: "down", pca: "square", ica: "triangle", nmf: "square", random: "cross", null: "bar" };
const COLOURED = ["concepts", "neurons", "clusters", "pca", "ica", "site", "counts"];

export const basisShape = (basis: string): Shape => (Object.hasOwn(SHAPES, basis) ? SHAPES[basis] : "square");
export const baseColour = (basis: string): string => `var(--b-${COLOURED.includes(basis) ? basis : "random"})`;

export function modelName(facts: AtlasFacts): string {
  const model = facts.model;
  const name = typeof model === "object" && model !== null ? String((model as Record<string, unknown>).kind ?? (model as Record<string, unknown>).name ?? "") : String(model ?? "");
  return titles.get(name.toLowerCase()) ?? (name || "a model");
}

/** By number; the first says nothing. */
export const CONFIDENCES = ["", ...DEGREES.map((degree, place) => `${place + 1} ${degree}`)];

/** Neurons are counted twice: first how far each axis lies above its mean, then how far below. */
export const neuronName = (number: number, axes: number): string => `neuron ${number % axes}${number < axes ? " (above its mean)" : " (below its mean)"}`;
