// The labels of categories that a card speaks of, and what a code of one means.

import type { Card, Manifest } from "./types";

export const categories = (manifest: Manifest, card: Card): string[] => manifest.labels.filter((label) => label.kind === "category" && card.labels[label.name]).map((label) => label.name);

/** 0: none, i + 1: value i. */
export const valueOf = (manifest: Manifest, name: string, code: number): string => (code ? (manifest.labels.find((label) => label.name === name)?.values?.[code - 1] ?? `value ${code}`) : "no value");
