// A picture of the cells for a paper: what the plot shows, in its aspect, on white, with title, names of groups and a legend or
// a bar of colours. `compose` lays it out once; it is then written on a canvas (PNG) or as elements (SVG). Above some number of
// cells an SVG holds its dots as one picture, and its words stay words.

import { ticks } from "./axis";
import { category, css, hex, ramp } from "./colour";
import { number } from "./format";
import { aside, crowd } from "./layout";
import type { Layout, Point } from "./layout";
import { shownOrder } from "./order";
import { dotSize, fit } from "./points";
import type { Camera } from "./points";
import { paint, reach } from "./shade";
import type { Settings, Shade } from "./shade";
import { escaped } from "./xml";

const WIDE = 1000;
const EDGE = 24;
const MAX_DOTS = 30_000;
const SCALE = 3;
const FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif";
const [TITLE, PLAIN, SMALL] = [26, 18, 15];
const INK = "#1b1f24";

export interface Figure {
  layout: Layout;
  shade: Shade | null;
  settings: Settings;
  camera: Camera;
  factor: number;
  /** width of the plot by its height */
  aspect: number;
  names: { text: string; at: Point }[];
  note: string;
}

interface Text {
  x: number;
  y: number;
  text: string;
  size: number;
  bold?: boolean;
  halo?: boolean;
  middle?: boolean;
}
interface Shape {
  x: number;
  y: number;
  w: number;
  h: number;
  fill: string;
  kind: "disc" | "box" | "frame";
}
interface Sheet {
  wide: number;
  high: number;
  /** the frame of the plot */
  plot: { x: number; y: number; w: number; h: number };
  texts: Text[];
  shapes: Shape[];
}

const pen = document.createElement("canvas").getContext("2d")!;

function widthOf(text: string, size: number, bold = false): number {
  pen.font = `${bold ? "bold " : ""}${size}px ${FONT}`;
  return pen.measureText(text).width;
}

/** As much of a text as fits. */
function short(text: string, most: number, size: number, bold = false): string {
  if (widthOf(text, size, bold) <= most) return text;
  let cut = text;
  while (cut.length > 1 && widthOf(`${cut}…`, size, bold) > most) cut = cut.slice(0, -1);
  return `${cut.trimEnd()}…`;
}

/** Lines of words no wider than `most`. */
function wrapped(text: string, most: number, size: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines[lines.length - 1]} ${word}` : word;
    if (lines.length && widthOf(longer, size) <= most) lines[lines.length - 1] = longer;
    else lines.push(short(word, most, size));
  }
  return lines;
}

/** The groups in as many columns as they need; returns how wide all of it is. */
function groups(f: Figure, shade: Shade & { kind: "category" }, x: number, y: number, high: number, sheet: Sheet): number {
  const shown = shownOrder(shade.values).flatMap((v) => (f.settings.hidden?.has(v + 1) ? [] : [{ value: shade.values[v], v }]));
  const [row, most] = [26, 3];
  const rows = Math.max(4, Math.floor((high - 10) / row));
  const listed = shown.slice(0, shown.length > rows * most ? rows * most - 1 : rows * most);
  let left = x;
  for (let from = 0; from < listed.length; from += rows) {
    const column = listed.slice(from, from + rows).map(({ value, v }) => ({ v, text: short(value, 330, PLAIN) }));
    column.forEach(({ v, text }, i) => {
      sheet.shapes.push({ x: left, y: y + i * row + 2, w: 15, h: 15, fill: category(v), kind: "disc" });
      sheet.texts.push({ x: left + 24, y: y + i * row + 16, text, size: PLAIN });
    });
    left += 24 + Math.max(...column.map(({ text }) => widthOf(text, PLAIN))) + 26;
  }
  if (listed.length < shown.length) sheet.texts.push({ x, y: y + rows * row + 16, text: `and ${shown.length - listed.length} more`, size: PLAIN });
  return left - x - 26;
}

function bar(f: Figure, shade: Shade & { kind: "number" }, x: number, y: number, high: number, sheet: Sheet): number {
  const [low, top] = reach(shade, f.settings);
  const [tall, steps] = [Math.min(300, high - 70), 100];
  for (let i = 0; i < steps; i++) sheet.shapes.push({ x, y: y + (i * tall) / steps, w: 24, h: tall / steps + 0.4, fill: css(ramp(1 - i / (steps - 1), false)), kind: "box" });
  const digits = Math.max(0, Math.min(4, 1 - Math.floor(Math.log10(top - low))));
  const marks = ticks([low, top], 4).filter((value) => value - low > (top - low) * 0.06 && top - value > (top - low) * 0.06);
  const clipped = shade.sorted.length && shade.sorted[shade.sorted.length - 1] > top * 1.0001;
  const written: [number, string][] = [[low, number(low, digits)], ...marks.map((value): [number, string] => [value, number(value, digits)]), [top, (clipped ? "≥ " : "") + number(top, digits)]];
  for (const [value, text] of written) {
    const at = y + tall * (1 - (value - low) / (top - low));
    sheet.shapes.push({ x: x + 24, y: at - 0.75, w: 6, h: 1.5, fill: INK, kind: "box" });
    sheet.texts.push({ x: x + 36, y: at + 6, text, size: PLAIN });
  }
  if (shade.sparse) {
    sheet.shapes.push({ x: x + 4, y: y + tall + 22, w: 15, h: 15, fill: "#d9d8d6", kind: "disc" });
    sheet.texts.push({ x: x + 36, y: y + tall + 36, text: "zero", size: PLAIN });
  }
  return 36 + Math.max(60, ...written.map(([, text]) => widthOf(text, PLAIN)));
}

function named(f: Figure, plot: Sheet["plot"]): Text[] {
  const unit = fit(f.layout, plot.w, plot.h) * f.camera.zoom;
  const places = f.names.flatMap(({ text, at }) => {
    const cut = short(text, 300, PLAIN, true);
    const wide = widthOf(cut, PLAIN, true) / 2 + 4;
    const [x, y] = [plot.w / 2 + (at[0] - f.camera.x) * unit, plot.h / 2 - (at[1] - f.camera.y) * unit];
    if (x < 0 || y < 0 || x > plot.w || y > plot.h) return [];
    return [{ text: cut, wide, x, y }];
  });
  const cells = crowd(f.layout);
  const back = (x: number, y: number): [number, number] => [f.camera.x + (x - plot.w / 2) / unit, f.camera.y - (y - plot.h / 2) / unit];
  const covered = (x0: number, y0: number, x1: number, y1: number): number => cells(back(x0, y1)[0], back(x0, y1)[1], ...back(x1, y0));
  return aside(places, PLAIN, plot.w, plot.h, covered).map(({ x, y, text }) => ({ x: plot.x + x, y: plot.y + y + 6, text, size: PLAIN, bold: true, halo: true, middle: true }));
}

export function compose(f: Figure): Sheet {
  const high = Math.round(WIDE / Math.max(0.6, Math.min(2.4, f.aspect)));
  const plot = { x: EDGE, y: 66, w: WIDE, h: high };
  const sheet: Sheet = { wide: 0, high: plot.y + high + 50, plot, texts: [], shapes: [] };
  const left = EDGE + WIDE + 30;
  let top = plot.y + 6;
  const heading = f.shade?.kind === "number" ? f.shade.unit : "";
  for (const line of heading ? wrapped(heading, 240, PLAIN) : []) {
    sheet.texts.push({ x: left, y: top + 12, text: line, size: PLAIN, bold: true });
    top += 24;
  }
  const legend = !f.shade ? -30 : f.shade.kind === "category" ? groups(f, f.shade, left, top + 6, plot.y + high - top, sheet) : bar(f, f.shade, left, top + 10, plot.y + high - top, sheet);
  const headed = Math.max(0, ...sheet.texts.filter((t) => t.bold).map((t) => widthOf(t.text, PLAIN, true)));
  sheet.wide = Math.ceil(left + Math.max(legend, headed) + EDGE);
  sheet.texts.unshift({ x: EDGE, y: 44, text: short(f.shade?.title ?? "Cells", sheet.wide - 2 * EDGE, TITLE, true), size: TITLE, bold: true });
  sheet.texts.push({ x: EDGE, y: plot.y + high + 30, text: short(f.note, sheet.wide - 2 * EDGE, SMALL), size: SMALL }, ...named(f, plot));
  sheet.shapes.push({ ...plot, fill: "none", kind: "frame" });
  return sheet;
}

/** Colour and cells of each run, what is strong last; groups of a label in the order of their cells, so that none hides another. */
function* runs(f: Figure): Generator<[number, Uint32Array]> {
  const words = paint(f.shade, f.layout.n, f.settings);
  const starts = new Uint32Array(257);
  for (const word of words) starts[(word >>> 24) + 1]++;
  for (let i = 0; i < 256; i++) starts[i + 1] += starts[i];
  const first = starts[1];
  const cells = new Uint32Array(words.length);
  for (let i = 0; i < words.length; i++) cells[starts[words[i] >>> 24]++] = i;
  for (let from = first; from < cells.length; ) {
    let to = from + 1;
    while (to < cells.length && words[cells[to]] === words[cells[from]]) to++;
    yield [words[cells[from]], cells.subarray(from, to)];
    from = to;
  }
}

/** Calls `each` with the colour and the places of dots, in the frame of the plot. */
function dots(f: Figure, plot: Sheet["plot"], each: (fill: string, places: number[], r: number) => void): void {
  const unit = fit(f.layout, plot.w, plot.h) * f.camera.zoom;
  const r = (dotSize(f.layout.n, plot.w, plot.h, f.camera.zoom) / 2) * f.factor;
  for (const [word, cells] of runs(f)) {
    const places: number[] = [];
    for (const i of cells) {
      const x = plot.w / 2 + (f.layout.xy[2 * i] - f.camera.x) * unit;
      const y = plot.h / 2 - (f.layout.xy[2 * i + 1] - f.camera.y) * unit;
      if (x > -r && x < plot.w + r && y > -r && y < plot.h + r) places.push(plot.x + x, plot.y + y);
    }
    if (places.length) each(hex([word & 255, (word >> 8) & 255, (word >> 16) & 255]), places, r);
  }
}

function drawDots(context: CanvasRenderingContext2D, f: Figure, plot: Sheet["plot"]): void {
  context.save();
  context.beginPath();
  context.rect(plot.x, plot.y, plot.w, plot.h);
  context.clip();
  dots(f, plot, (fill, places, r) => {
    context.fillStyle = fill;
    context.beginPath();
    for (let i = 0; i < places.length; i += 2) {
      if (f.layout.n > 200_000) context.rect(places[i] - r, places[i + 1] - r, 2 * r, 2 * r);
      else {
        context.moveTo(places[i] + r, places[i + 1]);
        context.arc(places[i], places[i + 1], r, 0, 2 * Math.PI);
      }
    }
    context.fill();
  });
  context.restore();
}

function canvasOf(wide: number, high: number): CanvasRenderingContext2D {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [wide * SCALE, high * SCALE];
  const context = canvas.getContext("2d")!;
  context.scale(SCALE, SCALE);
  return context;
}

const blob = (canvas: HTMLCanvasElement): Promise<Blob> =>
  new Promise((done, fail) => canvas.toBlob((made) => (made ? done(made) : fail(new Error("The picture is too large for this browser."))), "image/png"));

export async function png(figure: Figure): Promise<Blob> {
  const f = { ...figure, settings: { ...figure.settings, dark: false } };
  const { wide, high, plot, shapes, texts } = compose(f);
  const context = canvasOf(wide, high);
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, wide, high);
  drawDots(context, f, plot);
  for (const s of shapes) {
    context.fillStyle = s.fill;
    context.beginPath();
    if (s.kind === "disc") context.arc(s.x + s.w / 2, s.y + s.h / 2, s.w / 2, 0, 7);
    else context.rect(s.x, s.y, s.w, s.h);
    if (s.kind !== "frame") context.fill();
    else {
      [context.strokeStyle, context.lineWidth] = ["#b9bdc3", 1.2];
      context.stroke();
    }
  }
  for (const t of texts) {
    context.font = `${t.bold ? "bold " : ""}${t.size}px ${FONT}`;
    context.textAlign = t.middle ? "center" : "start";
    [context.lineWidth, context.lineJoin, context.strokeStyle] = [5, "round", "#ffffff"];
    if (t.halo) context.strokeText(t.text, t.x, t.y);
    context.fillStyle = INK;
    context.fillText(t.text, t.x, t.y);
  }
  return blob(context.canvas);
}

function drawnSvg(f: Figure, plot: Sheet["plot"]): string {
  if (f.layout.n > MAX_DOTS) {
    const context = canvasOf(plot.w, plot.h);
    drawDots(context, f, { ...plot, x: 0, y: 0 });
    return `<image x="${plot.x}" y="${plot.y}" width="${plot.w}" height="${plot.h}" href="${context.canvas.toDataURL("image/png")}"/>`;
  }
  const parts: string[] = [];
  dots(f, plot, (fill, places, r) => {
    const circles: string[] = [];
    for (let i = 0; i < places.length; i += 2) circles.push(`<circle cx="${places[i].toFixed(1)}" cy="${places[i + 1].toFixed(1)}" r="${r.toFixed(2)}"/>`);
    parts.push(`<g fill="${fill}">${circles.join("")}</g>`);
  });
  return `<g clip-path="url(#frame)">${parts.join("\n")}</g>`;
}

export async function svg(figure: Figure): Promise<Blob> {
  const f = { ...figure, settings: { ...figure.settings, dark: false } };
  const { wide, high, plot, shapes, texts } = compose(f);
  const shaped = shapes.map((s) => {
    if (s.kind === "disc") return `<circle cx="${(s.x + s.w / 2).toFixed(1)}" cy="${(s.y + s.h / 2).toFixed(1)}" r="${s.w / 2}" fill="${s.fill}"/>`;
    return `<rect x="${s.x.toFixed(1)}" y="${s.y.toFixed(2)}" width="${s.w}" height="${s.h.toFixed(2)}" fill="${s.fill}"${s.kind === "frame" ? ' stroke="#b9bdc3" stroke-width="1.2"' : ""}/>`;
  });
  const written = texts.map((t) => {
    const halo = t.halo ? ' stroke="#ffffff" stroke-width="5" stroke-linejoin="round" paint-order="stroke"' : "";
    return `<text x="${t.x.toFixed(1)}" y="${t.y.toFixed(1)}" font-size="${t.size}"${t.bold ? ' font-weight="bold"' : ""}${t.middle ? ' text-anchor="middle"' : ""} fill="${INK}"${halo}>${escaped(t.text)}</text>`;
  });
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${wide} ${high}" width="${wide}" height="${high}" font-family="${FONT}">`,
    `<clipPath id="frame"><rect x="${plot.x}" y="${plot.y}" width="${plot.w}" height="${plot.h}"/></clipPath>`,
    `<rect width="${wide}" height="${high}" fill="#ffffff"/>`,
    drawnSvg(f, plot), ...shaped, ...written, "</svg>",
  ];
  return new Blob([lines.join("\n")], { type: "image/svg+xml" });
}
