// Draws a circuit: one way to do it, and two pens to do it with, a canvas (screen, PNG) and SVG. Width is weight, colour is sign;
// weights into answers and into features have other units, and so each their own scale.

import type { Graph, Node } from "./circuit";
import { HIGH, shownLabel, textWidth } from "./circuitPlace";
import type { Box, Placed } from "./circuitPlace";
import { escaped } from "./xml";

export interface Look {
  up: string;
  down: string;
  ink: string;
  soft: string;
  band: string;
  card: string;
  gene: string;
  other: string;
  answer: string;
  accent: string;
}
const LIGHT: Look = { up: "#c94f00", down: "#0072b2", ink: "#1b1f24", soft: "#565e68", band: "#f1efea", card: "#ffffff", gene: "#e4eedd", other: "#e6e6e6", answer: "#fff2c4", accent: "#0a6a74" };
const DARK: Look = { up: "#f39a4d", down: "#6db7ef", ink: "#e9ebee", soft: "#a7b0bb", band: "#1d242c", card: "#171c22", gene: "#26382a", other: "#2f3843", answer: "#4a3f17", accent: "#5fd0cf" };
export const look = (dark: boolean): Look => (dark ? DARK : LIGHT);

const [THIN, THICK, FINE] = [0.7, 7, 6000];
export const FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif";

export interface Curve {
  x1: number;
  y1: number;
  x2: number;
  y2: number;
}
export interface Frame {
  fill: string;
  line: string;
  width: number;
  round: number;
  dashed?: boolean;
}
export interface Words {
  size: number;
  colour: string;
  bold?: boolean;
  italic?: boolean;
  middle?: boolean;
  /** the whole of a text that may be cut */
  said?: string;
}
export interface Pen {
  curves(curves: Curve[], colour: string, width: number, alpha: number): void;
  box(x: number, y: number, w: number, h: number, frame: Frame): void;
  text(x: number, y: number, text: string, words: Words): void;
}

export interface Scene {
  graph: Graph;
  placed: Placed;
  edges: number[];
  pinned: Set<number>;
  /** largest weights into answers, and into others */
  largest: [number, number];
}

/** The largest weights among edges: into answers, and into others. */
export function largestOf(graph: Graph, edges: number[]): [number, number] {
  const found: [number, number] = [0, 0];
  for (const e of edges) {
    const at = graph.nodes[graph.target[e]].kind === "answer" ? 0 : 1;
    found[at] = Math.max(found[at], Math.abs(graph.weight[e]));
  }
  return found;
}

/** Where an edge meets a box: its middle, or of a wide one nearer to the other end. */
function port(box: Box, other: Box, node: Node, across: number): number {
  const [free, middle] = [Math.max(0, box.w / 2 - 12), box.x + box.w / 2];
  const away = other.x + other.w / 2 - middle;
  return node.kind === "token" ? middle + Math.min(Math.max(away, -free), free) : middle + free * Math.min(Math.max((2 * away) / across, -1), 1);
}

/** `thick`: how much thicker than usual, where all is drawn small. */
export function drawEdges(pen: Pen, scene: Scene, edges: number[], look: Look, alpha: number, thick = 1): void {
  const { graph, placed, largest } = scene;
  const bins = new Map<number, Curve[]>();
  const fine = edges.length > FINE ? 4 : 12; // of many, curves of like width are drawn together
  for (const e of edges) {
    const [a, b] = [placed.boxes.get(graph.source[e]), placed.boxes.get(graph.target[e])];
    if (!a || !b) continue;
    const most = largest[graph.nodes[graph.target[e]].kind === "answer" ? 0 : 1] || 1;
    const width = Math.ceil(fine * Math.sqrt(Math.min(1, Math.abs(graph.weight[e]) / most)));
    const bin = 2 * width + (graph.weight[e] > 0 ? 1 : 0);
    if (!bins.has(bin)) bins.set(bin, []);
    const [x1, x2] = [port(a, b, graph.nodes[graph.source[e]], placed.width), port(b, a, graph.nodes[graph.target[e]], placed.width)];
    bins.get(bin)!.push(a.y > b.y ? { x1, y1: a.y, x2, y2: b.y + HIGH } : { x1, y1: a.y + HIGH, x2, y2: b.y });
  }
  for (const bin of [...bins.keys()].sort((x, y) => x - y)) {
    const share = (bin >> 1) / fine;
    pen.curves(bins.get(bin)!, bin & 1 ? look.up : look.down, thick * (THIN + (THICK - THIN) * share * share), alpha);
  }
}

export function drawNodes(pen: Pen, scene: Scene, shown: Iterable<number>, look: Look, words: boolean): void {
  for (const i of shown) {
    const box = scene.placed.boxes.get(i);
    if (!box) continue;
    const node = scene.graph.nodes[i];
    const frame: Frame = { fill: look.card, line: look.soft, width: 1, round: 4 };
    if (node.kind === "token") frame.fill = node.gene ? look.gene : look.other;
    else if (node.kind === "answer") [frame.fill, frame.line, frame.round] = [look.answer, look.ink, 11];
    else if (node.kind === "error") frame.dashed = true;
    else if (node.kind === "head") [frame.fill, frame.round] = [look.other, 11];
    else if (node.kind === "group") [frame.line, frame.width] = [look.ink, 2.5];
    if (scene.pinned.has(i)) [frame.line, frame.width] = [look.accent, 2.5];
    pen.box(box.x, box.y, box.w, HIGH, frame);
    const said = node.called ? `${node.label}: ${node.called} (automatic name)` : node.label;
    if (words) pen.text(box.x + box.w / 2, box.y + 15, shownLabel(node, scene.placed.text), { said, size: node.kind === "answer" ? 13 : 12, colour: look.ink, bold: node.kind === "answer" || node.kind === "group", italic: node.kind === "token" && node.gene, middle: true });
  }
}

export function drawRows(pen: Pen, placed: Placed, look: Look, words: boolean): void {
  for (const { text, top, bottom } of placed.rows) {
    pen.box(0, top - 8, placed.width, bottom - top + 16, { fill: look.band, line: "", width: 0, round: 0 });
    if (words) pen.text(12, (top + bottom) / 2 + 4, text, { size: 12, colour: look.soft });
  }
}

/** All of a picture. */
export function draw(pen: Pen, scene: Scene, look: Look, words = true, thick = 1): void {
  drawRows(pen, scene.placed, look, words);
  drawEdges(pen, scene, scene.edges, look, scene.edges.length > 2000 ? 0.3 : 0.6, thick);
  drawNodes(pen, scene, scene.placed.boxes.keys(), look, words);
}

export class CanvasPen implements Pen {
  constructor(readonly context: CanvasRenderingContext2D) {}

  curves(curves: Curve[], colour: string, width: number, alpha: number): void {
    const pen = this.context;
    [pen.strokeStyle, pen.lineWidth, pen.globalAlpha, pen.lineCap] = [colour, width, alpha, "butt"];
    for (let from = 0; from < curves.length; from += 64) {
      pen.beginPath();
      for (const { x1, y1, x2, y2 } of curves.slice(from, from + 64)) {
        const half = (y1 - y2) / 2;
        pen.moveTo(x1, y1);
        pen.bezierCurveTo(x1, y1 - half, x2, y2 + half, x2, y2);
      }
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  box(x: number, y: number, w: number, h: number, frame: Frame): void {
    const pen = this.context;
    pen.beginPath();
    if (frame.round) pen.roundRect(x, y, w, h, frame.round);
    else pen.rect(x, y, w, h);
    pen.fillStyle = frame.fill;
    pen.fill();
    if (!frame.width) return;
    [pen.strokeStyle, pen.lineWidth] = [frame.line, frame.width];
    if (frame.dashed) pen.setLineDash([4, 3]);
    pen.stroke();
    if (frame.dashed) pen.setLineDash([]);
  }

  text(x: number, y: number, text: string, words: Words): void {
    const pen = this.context;
    pen.font = `${words.italic ? "italic " : ""}${words.bold ? "bold " : ""}${words.size}px ${FONT}`;
    [pen.fillStyle, pen.textAlign] = [words.colour, words.middle ? "center" : "left"];
    pen.fillText(text, x, y);
  }
}

export class SvgPen implements Pen {
  readonly parts: string[] = [];

  curves(curves: Curve[], colour: string, width: number, alpha: number): void {
    this.parts.push(`<g fill="none" stroke="${colour}" stroke-width="${width.toFixed(2)}" stroke-opacity="${alpha}">`);
    for (const { x1, y1, x2, y2 } of curves) {
      const half = (y1 - y2) / 2;
      this.parts.push(`<path d="M${x1.toFixed(1)} ${y1.toFixed(1)}C${x1.toFixed(1)} ${(y1 - half).toFixed(1)} ${x2.toFixed(1)} ${(y2 + half).toFixed(1)} ${x2.toFixed(1)} ${y2.toFixed(1)}"/>`);
    }
    this.parts.push("</g>");
  }

  box(x: number, y: number, w: number, h: number, frame: Frame): void {
    const line = frame.width ? ` stroke="${frame.line}" stroke-width="${frame.width}"${frame.dashed ? ' stroke-dasharray="4 3"' : ""}` : "";
    this.parts.push(`<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${w.toFixed(1)}" height="${h.toFixed(1)}" rx="${frame.round}" fill="${frame.fill}"${line}/>`);
  }

  text(x: number, y: number, text: string, words: Words): void {
    const face = `${words.bold ? ' font-weight="bold"' : ""}${words.italic ? ' font-style="italic"' : ""}${words.middle ? ' text-anchor="middle"' : ""}`;
    this.parts.push(`<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" font-size="${words.size}" fill="${words.colour}"${face}>${words.said && words.said !== text ? `<title>${escaped(words.said)}</title>` : ""}${escaped(text)}</text>`);
  }
}

/** A picture for a paper: title, circuit, legend and what is left out, on white. */
export interface Sheet {
  scene: Scene;
  title: string;
  below: string;
  foot: string;
}

const [HEAD, FOOT_LINE] = [56, 15];

function compose(pen: Pen, sheet: Sheet, shift: (x: number, y: number, inside: () => void) => void): void {
  const { scene } = sheet;
  const look = LIGHT;
  const { width, height } = sizeOf(sheet);
  pen.box(0, 0, width, height, { fill: "#ffffff", line: "", width: 0, round: 0 });
  pen.text(14, 25, fit(sheet.title, width - 28, 16, true), { size: 16, colour: look.ink, bold: true });
  pen.text(14, 44, fit(sheet.below, width - 28, 12), { size: 12, colour: look.soft });
  shift(0, HEAD, () => draw(pen, scene, look));
  const y = HEAD + scene.placed.height + 22;
  let x = 14;
  for (const [text, colour] of [["raises its target", look.up], ["lowers it", look.down]]) {
    pen.box(x, y - 2, 28, 4, { fill: colour, line: "", width: 0, round: 2 });
    pen.text(x + 34, y + 4, text, { size: 12, colour: look.ink });
    x += 34 + textWidth(text) + 16;
  }
  wrapped(sheet.foot, width - 28).forEach((line, i) => pen.text(14, y + 28 + FOOT_LINE * i, line, { size: 11, colour: look.soft }));
}

export function sizeOf(sheet: Sheet): { width: number; height: number } {
  const width = Math.max(sheet.scene.placed.width, 460);
  return { width, height: HEAD + sheet.scene.placed.height + 22 + 28 + FOOT_LINE * wrapped(sheet.foot, width - 28).length };
}

function fit(text: string, most: number, size: number, bold = false): string {
  let shown = text;
  while (shown.length > 1 && textWidth(shown === text ? text : `${shown}…`, size, bold) > most) shown = shown.slice(0, -1);
  return shown === text ? text : `${shown}…`;
}

function wrapped(text: string, most: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines[lines.length - 1]} ${word}` : word;
    if (lines.length && textWidth(longer, 11) <= most) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

export function svg(sheet: Sheet): Blob {
  const pen = new SvgPen();
  compose(pen, sheet, (x, y, inside) => {
    pen.parts.push(`<g transform="translate(${x} ${y})">`);
    inside();
    pen.parts.push("</g>");
  });
  const { width, height } = sizeOf(sheet);
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${width.toFixed(0)}" height="${height.toFixed(0)}" viewBox="0 0 ${width.toFixed(0)} ${height.toFixed(0)}" role="img" font-family="${FONT}"><title>${escaped(sheet.title)}</title>`;
  return new Blob([head, ...pen.parts, "</svg>\n"], { type: "image/svg+xml" });
}

const LARGEST_SIDE = 8000;

export function png(sheet: Sheet): Promise<Blob> {
  const { width, height } = sizeOf(sheet);
  const scale = Math.min(2, LARGEST_SIDE / width, LARGEST_SIDE / height);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
  const context = canvas.getContext("2d")!;
  context.scale(scale, scale);
  compose(new CanvasPen(context), sheet, (x, y, inside) => {
    context.save();
    context.translate(x, y);
    inside();
    context.restore();
  });
  return new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("The picture is too large for this browser; save it as SVG."))), "image/png"));
}
