// The plain words for methods, tests and baselines.

import type { AtlasFacts } from "./types";

export const SIGNIFICANT = 0.05;

interface Method {
  name: string;
  brief: string;
  says: string;
}

export const METHODS: Record<string, Method> = {
  path: { name: "Path", brief: "Path", says: "Walking from a cell without the concept to one that has it, the share of the rise that each gene accounts for (integrated gradients)." },
  swap: { name: "Swap", brief: "Swap", says: "The share of the concept’s activation that is lost when this one gene takes the count of a similar cell without the concept." },
  knockout: { name: "Knock-out", brief: "KO", says: "The share of the concept’s activation that is lost when this one gene’s count is set to zero." },
  de: { name: "Expression", brief: "DE", says: "Differential expression between cells with and without the concept, as a comparison: it does not ask the model. Ranked by its t statistic." },
};

const ON: Record<string, string> = { activation: "activation", preactivation: "pre-activation", expression: "expression" };
export const TESTS: Record<string, string> = { gsea: "GSEA", ulm: "ULM", ora: "ORA" };

export const methodName = (method: string): string => METHODS[method]?.name ?? method;

/** "path/activation" in words; what was watched is said only where a method was read on several things. */
export function blockName(key: string, keys: string[]): string {
  const [method, on] = key.split("/");
  const twice = keys.filter((other) => other.split("/")[0] === method).length > 1;
  return methodName(method) + (twice && on ? ` (${ON[on] ?? on})` : "");
}

export type Shape = "circle" | "diamond" | "square" | "triangle" | "cross" | "bar";

export const BASES: Record<string, { name: string; shape: Shape }> = {
  concepts: { name: "concepts", shape: "circle" },
  site: { name: "the whole site", shape: "diamond" },
  counts: { name: "PCA of the counts, no model", shape: "square" },
  neurons: { name: "neurons", shape: "diamond" },
  pca: { name: "PCA", shape: "square" },
  ica: { name: "ICA", shape: "triangle" },
  nmf: { name: "NMF", shape: "square" },
  random: { name: "random directions", shape: "cross" },
  null: { name: "null", shape: "bar" },
};

export const basisName = (basis: string): string => BASES[basis]?.name ?? basis;
export const basisShape = (basis: string): Shape => BASES[basis]?.shape ?? "square";
export const baseColour = (basis: string): string => `var(--b-${["concepts", "neurons", "pca", "ica", "site", "counts"].includes(basis) ? basis : "random"})`;

const MODELS: Record<string, string> = { scvi: "scVI", embedding: "an embedding", geneformer: "Geneformer", scgpt: "scGPT", cell2sentence: "Cell2Sentence" };

export function modelName(facts: AtlasFacts): string {
  const model = facts.model;
  const name = typeof model === "object" && model !== null ? String((model as Record<string, unknown>).kind ?? (model as Record<string, unknown>).name ?? "") : String(model ?? "");
  return MODELS[name.toLowerCase()] ?? (name || "a model");
}

export const STATUSES = ["open", "agreed", "doubtful", "artefact"];
export const CONFIDENCES = ["", "1 a guess", "2 weak", "3 fair", "4 strong", "5 certain"];

/** Neurons are counted twice: first how far each axis lies above its mean, then how far below. */
export const neuronName = (number: number, axes: number): string => `neuron ${number % axes}${number < axes ? " (above its mean)" : " (below its mean)"}`;
