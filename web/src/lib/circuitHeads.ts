// Attention heads of a circuit: what they are called, where they look, what they read, and which of them an edge passes.

import type { CircuitHeads, CircuitKind, CircuitView } from "./types";

export const headKey = (heads: CircuitHeads, i: number): string => `h${heads.layer[i]}.${heads.head[i]}`;
export const headName = (heads: CircuitHeads, i: number): string => `L${heads.layer[i]} head ${heads.head[i]}`;

/** Weights by folded node, the largest first. */
export function summed(pairs: [number, number][], of: ArrayLike<number>): [number, number][] {
  const sums = new Map<number, number>();
  for (const [node, weight] of pairs) sums.set(of[node], (sums.get(of[node]) ?? 0) + weight);
  return [...sums].sort((x, y) => Math.abs(y[1]) - Math.abs(x[1]));
}

const tokensOf = new WeakMap<CircuitView, Map<number, number>>();

/** Where a head looks: folded nodes of tokens, and the head's effect by way of them. */
export function seenBy(view: CircuitView, i: number, of: ArrayLike<number>): [number, number][] {
  let tokens = tokensOf.get(view);
  if (!tokens) {
    tokens = new Map();
    for (let node = 0; node < view.nodes.kind.length; node++) if (view.nodes.kind[node] === "token") tokens.set(view.nodes.position[node], node);
    tokensOf.set(view, tokens);
  }
  const there = view.heads!.seen[i].flatMap(([token, effect]): [number, number][] => (tokens.has(token) ? [[tokens.get(token)!, effect]] : []));
  return summed(there, of);
}

/** What a head reads: folded nodes of some kinds, and what of its effect they make. */
export function readBy(view: CircuitView, i: number, of: ArrayLike<number>, kinds: CircuitKind[]): [number, number][] {
  return summed(view.heads!.reads[i].filter(([node]) => kinds.includes(view.nodes.kind[node])), of);
}

type Parts = Map<number, [number, number][]>;
const partsOf = new WeakMap<CircuitView, Parts>();

/** The heads that an edge between folded nodes passes last, in words with their parts, the largest first; "" is the stream alone. */
export function splitOf(view: CircuitView, target: number[], source: number[]): { text: string; weight: number }[] {
  const heads = view.heads;
  if (!heads) return [];
  const n = view.nodes.kind.length;
  let known = partsOf.get(view);
  if (!known) {
    known = new Map();
    heads.parts.target.forEach((to, e) => {
      const key = to * n + heads.parts.source[e];
      const part: [number, number] = [heads.parts.head[e], heads.parts.weight[e]];
      if (known!.has(key)) known!.get(key)!.push(part);
      else known!.set(key, [part]);
    });
    partsOf.set(view, known);
  }
  const sums = new Map<number, number>();
  for (const to of target) for (const from of source) for (const [head, weight] of known.get(to * n + from) ?? []) sums.set(head, (sums.get(head) ?? 0) + weight);
  return [...sums].map(([head, weight]) => ({ text: head < 0 ? "" : headName(heads, head), weight })).sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
}
