// A circuit as it is drawn: nodes folded (by gene, or by hand), the edges between them, and which of both are shown. Weights of
// what is folded are added up. It knows numbers and words, and nothing of pixels.

import { headKey, headName, readBy, seenBy, summed } from "./circuitHeads";
import type { CircuitKind, CircuitView } from "./types";

/** Nodes that were put together under a name, by their keys; `f1.7` is a feature at all tokens. */
export interface Group {
  name: string;
  keys: string[];
}

export interface Node {
  key: string;
  kind: CircuitKind | "head" | "group";
  /** of tokens -1; of answers the number of layers */
  layer: number;
  /** the gene above which it stands, or what stands in its place */
  column: string;
  gene: boolean;
  label: string;
  /** what a machine calls a feature, or "" */
  called: string;
  /** of a head its place among the view's, else -1 */
  head: number;
  /** nodes of the view; none of a head */
  members: number[];
  influence: number;
  /** of a group its place among the groups */
  group: number;
}

export interface Graph {
  nodes: Node[];
  /** edges by falling score; those of heads come last and score 0 */
  source: Int32Array;
  target: Int32Array;
  weight: Float64Array;
  score: Float64Array;
  into: number[][];
  outOf: number[][];
  byKey: Map<string, number>;
  /** the folded node of each node of the view */
  of: Int32Array;
}

export interface Folding {
  /** each token apart, instead of the tokens of a gene together */
  each: boolean;
  groups: Group[];
  heads: boolean;
  /** heads whose source tokens are shown, by key */
  open: Set<string>;
}

export interface Limits {
  features: number;
  genes: number;
  edges: number;
}

export const PROMPT = "prompt";
export const ERRORS = "errors";
export const HEADS = "heads";
const [MOST_HEADS, MOST_FED] = [16, 8];

/** What a node of the view is called in links; the same in another trace of the same question. */
export function keyOf(view: CircuitView, i: number): string {
  const { kind, layer, position, feature } = view.nodes;
  if (kind[i] === "feature") return `f${layer[i]}.${feature[i]}.${position[i]}`;
  if (kind[i] === "error") return `e${layer[i]}.${position[i]}`;
  if (kind[i] === "token") return `t${position[i]}`;
  return `a${view.answers.findIndex((one) => one.node === i)}`;
}

/** The groups that a graph came with. */
export const givenGroups = (view: CircuitView): Group[] => view.groups.map(({ name, features }) => ({ name, keys: features.map(([layer, feature]) => `f${layer}.${feature}`) }));

/** The number that stands for a feature of a layer in files (Cantor's pairing). */
export const featureNumber = (layer: number, feature: number): number => ((layer + feature) * (layer + feature + 1)) / 2 + feature;

export function fold(view: CircuitView, how: Folding): Graph {
  const { kind, layer, position, feature, influence, label } = view.nodes;
  const n = kind.length;
  const keys = kind.map((_, i) => keyOf(view, i));
  const place = new Map(keys.map((key, i) => [key, i]));
  const auto = keys.map((key, i) => {
    if (how.each || kind[i] === "answer") return key;
    if (kind[i] === "error") return `error ${layer[i]}`;
    const gene = view.genes[position[i]];
    return `${kind[i]} ${kind[i] === "feature" ? `${layer[i]}.${feature[i]}` : ""} ${gene ? `of ${gene}` : PROMPT}`;
  });
  const anywhere = new Map<string, number[]>();
  kind.forEach((one, i) => {
    const key = `f${layer[i]}.${feature[i]}`;
    if (one !== "feature") return;
    if (anywhere.has(key)) anywhere.get(key)!.push(i);
    else anywhere.set(key, [i]);
  });
  const byHand = new Map<string, number>();
  how.groups.forEach((group, g) => {
    for (const key of group.keys) {
      for (const i of place.has(key) ? [place.get(key)!] : (anywhere.get(key) ?? [])) if (kind[i] !== "answer" && !byHand.has(auto[i])) byHand.set(auto[i], g);
    }
  });

  const nodes: Node[] = [];
  const of = new Int32Array(n);
  const known = new Map<string, number>();
  for (let i = 0; i < n; i++) {
    const hand = byHand.get(auto[i]);
    const id = hand === undefined ? auto[i] : `\0${hand}`;
    let at = known.get(id);
    if (at === undefined) {
      at = nodes.length;
      known.set(id, at);
      const gene = position[i] >= 0 ? view.genes[position[i]] : "";
      const column = kind[i] === "answer" ? "" : kind[i] === "error" && !how.each ? ERRORS : gene || PROMPT;
      nodes.push({ key: hand === undefined ? keys[i] : `g${hand}`, kind: hand === undefined ? kind[i] : "group", layer: layer[i], column, gene: Boolean(gene) && column === gene, label: label[i], called: "", head: -1, members: [], influence: 0, group: hand ?? -1 });
    }
    const node = nodes[at];
    node.members.push(i);
    node.influence += influence[i];
    of[i] = at;
  }
  for (const node of nodes) name(view, node, how);
  const graph = join(view, nodes, of, how);
  for (const [key, some] of anywhere) graph.byKey.set(key, of[some[0]]);
  keys.forEach((key, i) => graph.byKey.set(key, of[i]));
  nodes.forEach((node, at) => { if (node.kind === "group" || node.kind === "head") graph.byKey.set(node.key, at); });
  return graph;
}

/** Say what a node is called, and where a group stands: in its highest layer, above its strongest member. */
function name(view: CircuitView, node: Node, how: Folding): void {
  const { layer, position, feature } = view.nodes;
  const [first, many] = [node.members[0], node.members.length];
  if (node.kind === "feature") [node.label, node.called] = [`L${node.layer}/${feature[first]}${many > 1 ? ` ×${many}` : ""}`, view.nodes.label[first]];
  else if (node.kind === "error") node.label = `error L${node.layer}${how.each ? "" : ` ×${many}`}`;
  else if (node.kind === "token") node.label = how.each ? `${view.tokens[position[first]].trim() || view.names[position[first]]} ·${position[first] + 1}` : node.gene ? node.column : `${PROMPT}: ${many} token${many > 1 ? "s" : ""}`;
  else if (node.kind === "group") {
    const strongest = node.members.reduce((a, b) => (view.nodes.influence[b] > view.nodes.influence[a] ? b : a));
    const gene = view.genes[position[strongest]] ?? "";
    node.layer = Math.max(...node.members.map((i) => layer[i]));
    node.label = how.groups[node.group].name;
    [node.column, node.gene] = [gene || PROMPT, Boolean(gene)];
  }
}

function join(view: CircuitView, nodes: Node[], of: Int32Array, how: Folding): Graph {
  const edges = view.edges;
  const sums = new Map<number, [number, number]>();
  const far = nodes.length + 2 * MOST_HEADS + 1;
  for (let e = 0; e < edges.source.length; e++) {
    const [a, b] = [of[edges.source[e]], of[edges.target[e]]];
    if (a === b) continue;
    const sum = sums.get(b * far + a);
    if (sum) {
      sum[0] += edges.weight[e];
      sum[1] += edges.score[e];
    } else sums.set(b * far + a, [edges.weight[e], edges.score[e]]);
  }
  const rows = [...sums].map(([pair, [weight, score]]) => ({ a: pair % far, b: Math.floor(pair / far), weight, score })).sort((x, y) => y.score - x.score);
  if (how.heads && view.answers.length) rows.push(...headRows(view, nodes, of, how));
  const graph: Graph = { nodes, of, byKey: new Map(), source: new Int32Array(rows.length), target: new Int32Array(rows.length), weight: new Float64Array(rows.length), score: new Float64Array(rows.length), into: nodes.map(() => []), outOf: nodes.map(() => []) };
  rows.forEach(({ a, b, weight, score }, e) => {
    [graph.source[e], graph.target[e], graph.weight[e], graph.score[e]] = [a, b, weight, score];
    graph.into[b].push(e);
    graph.outOf[a].push(e);
  });
  return graph;
}

/** Add the strongest heads as nodes; return what each feeds (its effect on the answer, where edges are not split by head) and,
 *  of those that are open, from which tokens and by which features. */
function headRows(view: CircuitView, nodes: Node[], of: Int32Array, how: Folding): { a: number; b: number; weight: number; score: number }[] {
  const heads = view.heads;
  const rows: { a: number; b: number; weight: number; score: number }[] = [];
  for (let i = 0; heads && i < Math.min(MOST_HEADS, heads.layer.length); i++) {
    const [at, key, layer] = [nodes.length, headKey(heads, i), heads.layer[i]];
    nodes.push({ key, kind: "head", layer, column: HEADS, gene: false, label: headName(heads, i), called: "", head: i, members: [], influence: 0, group: -1 });
    const put = (pairs: [number, number][], into: boolean): void => { for (const [node, weight] of pairs) rows.push({ a: into ? node : at, b: into ? at : node, weight, score: 0 }); };
    const to = summed(heads.to[i], of);
    put(to.length ? to.slice(0, MOST_FED) : [[of[view.answers[0].node], heads.effect[i] ?? 0]], false);
    if (how.open.has(key)) put([...seenBy(view, i, of), ...readBy(view, i, of, ["feature"])], true);
  }
  return rows;
}

/** The nodes that are shown: features, groups and errors of most influence, the genes below them and others of most influence, and
 *  whatever is asked for. */
export function shownNodes(graph: Graph, limits: Limits, forced: Iterable<number>): number[] {
  const { nodes } = graph;
  const order = nodes.map((_, i) => i).sort((a, b) => nodes[b].influence - nodes[a].influence || a - b);
  const kept = new Set<number>(forced);
  const inner = order.filter((i) => (nodes[i].kind === "feature" || nodes[i].kind === "error" || nodes[i].kind === "group") && nodes[i].influence > 0);
  for (const i of inner.slice(0, limits.features)) kept.add(i);
  for (const i of order) if (["answer", "head"].includes(nodes[i].kind)) kept.add(i);
  for (const i of [...kept]) if (nodes[i].kind === "head") for (const e of graph.into[i].slice(0, 6)) kept.add(graph.source[e]);
  const under = new Set([...kept].filter((i) => nodes[i].kind !== "answer").map((i) => `${nodes[i].gene} ${nodes[i].column}`));
  const tokens = order.filter((i) => nodes[i].kind === "token");
  for (const i of tokens) if (nodes[i].gene && under.has(`true ${nodes[i].column}`)) kept.add(i);
  const prompt = tokens.filter((i) => !nodes[i].gene);
  if (prompt.length === 1) kept.add(prompt[0]); // where all of its tokens are one node
  let room = limits.genes - tokens.filter((i) => kept.has(i)).length;
  for (const i of tokens) if (room > 0 && !kept.has(i)) [room] = [room - 1, kept.add(i)];
  return [...kept].sort((a, b) => a - b);
}

/** The edges that are drawn, the thin ones first; the strongest into and out of each node are taken before others. */
export function shownEdges(graph: Graph, shown: number[], most: number): number[] {
  const here = new Uint8Array(graph.nodes.length);
  for (const i of shown) here[i] = 1;
  const [first, later]: [number[], number[]] = [[], []];
  const [isRead, reads] = [new Uint8Array(here.length), new Uint8Array(here.length)];
  const extra: number[] = [];
  for (let e = 0; e < graph.source.length; e++) {
    const [a, b] = [graph.source[e], graph.target[e]];
    if (!here[a] || !here[b]) continue;
    if (!graph.score[e]) extra.push(e);
    else if (isRead[a] && reads[b]) later.push(e);
    else first.push(e);
    isRead[a] = reads[b] = 1;
  }
  const taken = [...first, ...later].slice(0, most);
  return [...taken, ...extra].sort((x, y) => Math.abs(graph.weight[x]) - Math.abs(graph.weight[y]) || x - y);
}

/** How much of the influence of features and errors the shown ones have, 0 to 1. */
export function covered(graph: Graph, shown: number[]): number {
  const inner = (node: Node): boolean => node.kind === "feature" || node.kind === "error" || node.kind === "group";
  let [some, all] = [0, 0];
  for (const node of graph.nodes) if (inner(node)) all += node.influence;
  for (const i of shown) if (inner(graph.nodes[i])) some += graph.nodes[i].influence;
  return all ? some / all : 1;
}

/** What a node adds to an answer over all paths; null where its members feed each other, so that sums would count paths twice. */
export function effectOf(view: CircuitView, node: Node, answer: number): number | null {
  const layers = new Set(node.members.map((i) => (view.nodes.kind[i] === "token" ? -1 : view.nodes.layer[i])));
  if (!node.members.length || layers.size > 1 || !view.effects[answer]) return null;
  return node.members.reduce((sum, i) => sum + (view.effects[answer][i] ?? 0), 0);
}

/** The sum of a column of numbers over the members of a node. */
export const sumOf = (column: (number | null)[], node: Node): number => node.members.reduce((sum, i) => sum + (column[i] ?? 0), 0);

/** Numbers that a slider stops at, up to `most`. */
export function stops(most: number): number[] {
  const found = [];
  for (let tens = 1; tens < most; tens *= 10) for (const step of [1, 1.5, 2, 3, 4, 6, 8]) if (Number.isInteger(step * tens) && step * tens < most) found.push(step * tens);
  return [...found, Math.max(1, most)];
}
