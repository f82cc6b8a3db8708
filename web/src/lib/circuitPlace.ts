// Where the nodes of a circuit stand: layers upward, genes across in the order in which the model reads them, the prompt, errors
// and heads beside them, answers on top. As `cellglass.circuits.draw_graph` places them.

import { ERRORS, HEADS, PROMPT } from "./circuit";
import type { Graph, Node } from "./circuit";

export interface Box {
  node: number;
  x: number;
  y: number;
  w: number;
}
export interface Row {
  text: string;
  top: number;
  bottom: number;
}
export interface Placed {
  /** how many characters of a name are shown */
  text: number;
  boxes: Map<number, Box>;
  rows: Row[];
  width: number;
  height: number;
}

export const HIGH = 22;
const [STEP, GAP, WIDEST_GAP, EDGE, LEFT, TOP] = [30, 64, 150, 14, 66, 16];
const ROWS = [1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 40]; // rows that a layer has at most
const DEEP = [1, 2, 3]; // genes below one another, where no feature stands above them
const TEXTS: [number, number][] = [[24, 0], [18, 60], [13, 180], [9, 400]]; // characters of a name, and the height that longer ones are worth
const READABLE = 0.8; // of the size that words are drawn in
const LITTLE = 1.05;
const FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif";
const pen = document.createElement("canvas").getContext("2d")!;
const widths = new Map<string, number>();

export function textWidth(text: string, size = 12, bold = false): number {
  const font = `${bold ? "bold " : ""}${size}px ${FONT}`;
  let found = widths.get(font + text);
  if (found === undefined) {
    pen.font = font;
    found = pen.measureText(text).width;
    if (widths.size > 20_000) widths.clear();
    widths.set(font + text, found);
  }
  return found;
}

/** A text in one line, with … where it is longer. */
export function cut(text: string, most: number): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length <= most ? line : `${line.slice(0, most - 1)}…`;
}

/** What stands in a node: its label, of a feature with what a machine calls it, no longer than `most`. */
export function shownLabel(node: Node, most: number): string {
  if (node.kind === "answer") return cut(node.label, 60);
  if (node.kind === "token") return cut(node.label, Math.max(most, 18));
  return cut(node.called ? `${node.label} ${node.called.replace(/^(fires on|genes of) /, "")}` : node.label, most);
}

const labelWidth = (node: Node, most: number): number => textWidth(shownLabel(node, most), node.kind === "answer" ? 13 : 12, node.kind === "answer") + 14;

/** Where nodes stand so that words can be read at the width of a room, in pixels, with names as long and layers as low as that
 *  allows; a layer with many nodes has several rows, and the whole may then be higher than the room. */
export function place(graph: Graph, shown: number[], position: number[], room: { w: number; h: number }): Placed {
  const many = shown.length > 500;
  const made = (many ? TEXTS.slice(-1) : TEXTS).flatMap(([text, worth]) => (many ? DEEP.slice(-1) : DEEP).flatMap((deep) => (many ? ROWS.slice(-2) : ROWS).map((most) => ({ most, deep, worth, is: placeWith(graph, shown, position, text, most, deep, GAP) }))));
  // Of what can be read, or is nearly as narrow as it can be, the lowest on the screen.
  const most = Math.max(room.w / READABLE, LITTLE * Math.min(...made.map((one) => one.is.width)));
  const fits = made.filter((one) => one.is.width <= most);
  const cost = (one: (typeof made)[number]): number => one.is.height * Math.min(1, room.w / one.is.width) + one.worth;
  const best = fits.reduce((a, b) => (cost(b) < cost(a) ? b : a));
  const { width, height, rows, text } = best.is;
  const widest = WIDEST_GAP / Math.min(1, room.w / width); // as large on the screen, however wide it is
  const free = ((room.h / room.w) * width - height) / Math.max(1, rows.length - 1);
  return free > 1 ? placeWith(graph, shown, position, text, best.most, best.deep, GAP + Math.min(widest - GAP, free)) : best.is;
}

function placeWith(graph: Graph, shown: number[], position: number[], text: number, most: number, deep: number, gap: number): Placed {
  const wide = new Map(shown.map((i) => [i, labelWidth(graph.nodes[i], text)]));
  const { nodes } = graph;
  const cells = new Map<string, Map<number, number[]>>();
  const first = new Map<string, number>();
  for (const i of shown) {
    const node = nodes[i];
    if (node.kind === "answer") continue;
    const column = `${node.gene ? "g" : "o"}${node.column}`;
    if (!cells.has(column)) cells.set(column, new Map());
    const inside = cells.get(column)!;
    if (!inside.has(node.layer)) inside.set(node.layer, []);
    inside.get(node.layer)!.push(i);
    const at = Math.min(...node.members.map((m) => position[m]).filter((p) => p >= 0), Infinity);
    first.set(column, Math.min(first.get(column) ?? Infinity, at));
  }
  const last = [`o${PROMPT}`, `o${ERRORS}`, `o${HEADS}`];
  const ordered = [...cells.keys()].sort((a, b) => last.indexOf(a) - last.indexOf(b) || first.get(a)! - first.get(b)!);
  const columns: string[] = [];
  let run = 0;
  for (const column of ordered) {
    const bare = column.startsWith("g") && [...cells.get(column)!.values()].every((inside) => inside.every((i) => nodes[i].kind === "token"));
    if (bare && run++ % deep) {
      const home = cells.get(columns[columns.length - 1])!;
      for (const [layer, inside] of cells.get(column)!) home.set(layer, [...(home.get(layer) ?? []), ...inside]);
      cells.delete(column);
      continue;
    }
    if (!bare) run = 0;
    columns.push(column);
  }
  const each = new Map(columns.map((column) => [column, Math.max(50, ...[...cells.get(column)!.values()].flat().filter((i) => nodes[i].kind === "feature" || nodes[i].kind === "error").map((i) => wide.get(i)!))]));
  const columnOf = new Map(columns.flatMap((column) => [...cells.get(column)!.values()].flat().map((i): [number, string] => [i, column])));
  const across = new Map(columns.map((column) => [column, Math.max(1, ...[...cells.get(column)!].map(([layer, inside]) => (layer < 0 ? 1 : Math.ceil(inside.length / most))))]));
  // Tokens of genes that share a column stand below one another; tokens of one gene, each apart, in two rows or more.
  const beside = (inside: number[], column: string): number => (inside.every((i) => nodes[i].kind === "token") && column.startsWith("g") && new Set(inside.map((i) => nodes[i].column)).size > 1 ? 1 : inside.every((i) => nodes[i].kind === "token") ? Math.max(across.get(column)!, Math.ceil(Math.sqrt(2 * inside.length))) : across.get(column)!);

  const boxes = new Map<number, Box>();
  const spans = new Map<string, [number, number]>();
  let x = LEFT;
  for (const column of columns) {
    let width = 0;
    for (const inside of cells.get(column)!.values()) for (let at = 0, by = beside(inside, column); at < inside.length; at += by) width = Math.max(width, lineWidth(inside.slice(at, at + by)));
    spans.set(column, [x, width]);
    x += width + EDGE;
  }
  function widthOf(i: number): number {
    return nodes[i].kind === "feature" || nodes[i].kind === "error" ? each.get(columnOf.get(i)!)! : wide.get(i)!;
  }
  function lineWidth(line: number[]): number {
    return line.reduce((sum, i) => sum + widthOf(i) + 6, -6);
  }
  const answers = shown.filter((i) => nodes[i].kind === "answer");
  const total = answers.reduce((sum, i) => sum + wide.get(i)! + 12, -12);
  const width = Math.max(x, total + LEFT + EDGE, 300);
  let at = LEFT + (width - LEFT - EDGE - total) / 2;
  for (const i of answers) {
    boxes.set(i, { node: i, x: at, y: TOP, w: wide.get(i)! });
    at += wide.get(i)! + 12;
  }
  const rows: Row[] = answers.length ? [{ text: "answer", top: TOP, bottom: TOP + HIGH }] : [];
  let y = answers.length ? TOP + STEP + gap : TOP;
  const layers = [...new Set([...cells.values()].flatMap((inside) => [...inside.keys()]))].sort((a, b) => b - a);
  for (const layer of layers) {
    const here = columns.filter((column) => cells.get(column)!.has(layer));
    const high = Math.max(...here.map((column) => Math.ceil(cells.get(column)!.get(layer)!.length / beside(cells.get(column)!.get(layer)!, column))));
    for (const column of here) {
      const some = cells.get(column)!.get(layer)!;
      const [start, span] = spans.get(column)!;
      const by = beside(some, column);
      for (let from = 0; from < some.length; from += by) {
        const line = some.slice(from, from + by);
        const alone = line.length === 1 && nodes[line[0]].kind === "token";
        let left = alone ? start : start + (span - lineWidth(line)) / 2;
        for (const i of line) {
          const w = alone ? span : widthOf(i);
          boxes.set(i, { node: i, x: left, y: y + (high - 1 - from / by) * STEP, w });
          left += w + 6;
        }
      }
    }
    rows.push({ text: layer >= 0 ? `layer ${layer}` : "input", top: y, bottom: y + (high - 1) * STEP + HIGH });
    y += high * STEP + gap;
  }
  return { text, boxes, rows, width, height: Math.max(y - gap, TOP + STEP) + 6 };
}

/** The node at a point, or -1; nearly meeting one is enough for a finger. */
export function nodeAt(placed: Placed, x: number, y: number, near: number): number {
  let [best, far] = [-1, near];
  for (const box of placed.boxes.values()) {
    const dx = Math.max(box.x - x, 0, x - box.x - box.w);
    const dy = Math.max(box.y - y, 0, y - box.y - HIGH);
    const away = Math.hypot(dx, dy);
    if (away < far || (away === 0 && best < 0)) [best, far] = [box.node, Math.max(away, 1e-9)];
  }
  return best;
}

/** The node that an arrow leads to: beside it in its row, or the nearest of the next row up or down. */
export function neighbour(placed: Placed, from: number, arrow: "left" | "right" | "up" | "down"): number {
  const here = placed.boxes.get(from);
  if (!here) return placed.boxes.keys().next().value ?? -1;
  const middle = here.x + here.w / 2;
  const others = [...placed.boxes.values()].filter((box) => {
    if (arrow === "left") return box.y === here.y && box.x < here.x;
    if (arrow === "right") return box.y === here.y && box.x > here.x;
    return arrow === "up" ? box.y < here.y : box.y > here.y;
  });
  const away = (box: Box): number => Math.abs(box.x + box.w / 2 - middle) + (arrow === "up" || arrow === "down" ? 1e5 * Math.abs(box.y - here.y) : 0);
  return others.length ? others.reduce((a, b) => (away(b) < away(a) ? b : a)).node : from;
}
