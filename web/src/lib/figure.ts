// A picture of the cells for a paper: dots, names, title and legend on white, as PNG or SVG. The same drawing twice: on a
// canvas, or as elements. Above some number of cells an SVG holds its dots as one picture, and its words stay words.

import { category, css, hex, ramp } from "./colour";
import { spread } from "./layout";
import type { Layout } from "./layout";
import { fit } from "./points";
import type { Camera } from "./points";
import { number } from "./format";
import { paint, reach } from "./shade";
import type { Settings, Shade } from "./shade";

const SIDE = 1000;
const LEGEND = 330;
const TOP = 70;
const MAX_DOTS = 30_000;
const FONT = "Helvetica, Arial, sans-serif";

export interface Figure {
  layout: Layout;
  shade: Shade | null;
  settings: Settings;
  camera: Camera;
  factor: number;
  note: string;
  names: boolean;
}

interface Text {
  x: number;
  y: number;
  text: string;
  size: number;
  bold?: boolean;
  halo?: boolean;
  anchor?: "start" | "middle" | "end";
}
interface Shape {
  x: number;
  y: number;
  w: number;
  h: number;
  fill: string;
  round?: boolean;
}

/** The dots as [colour, positions] in the order of drawing, in the units of the figure. */
function dots(f: Figure): { groups: Map<number, number[]>; r: number } {
  const words = paint(f.shade, f.layout.n, f.settings);
  const unit = fit(f.layout, SIDE, SIDE) * f.camera.zoom;
  const r = (Math.max(1.1, Math.min(8, 2 * Math.sqrt((SIDE * SIDE * 0.16) / (Math.PI * Math.max(f.layout.n, 1))))) / 2) * f.factor * Math.min(4, Math.max(0.7, f.camera.zoom ** 0.45));
  const found = new Map<number, number[]>();
  for (let i = 0; i < f.layout.n; i++) {
    const x = SIDE / 2 + (f.layout.xy[2 * i] - f.camera.x) * unit;
    const y = SIDE / 2 - (f.layout.xy[2 * i + 1] - f.camera.y) * unit;
    if (words[i] >>> 24 === 0 || x < r || x > SIDE - r || y < r || y > SIDE - r) continue;
    const group = found.get(words[i]);
    if (group) group.push(x, y);
    else found.set(words[i], [x, y]);
  }
  return { groups: new Map([...found].sort((a, b) => (a[0] >>> 24) - (b[0] >>> 24))), r };
}

const colourOf = (word: number): string => hex([word & 255, (word >> 8) & 255, (word >> 16) & 255]);

function words(f: Figure): { texts: Text[]; shapes: Shape[] } {
  const texts: Text[] = [{ x: 20, y: 42, text: f.shade?.title ?? "Cells", size: 30, bold: true }];
  const shapes: Shape[] = [];
  const left = SIDE + 20;
  texts.push({ x: 20, y: SIDE + TOP + 30, text: f.note, size: 17 });
  if (f.shade?.kind === "category") {
    const shown = f.shade.values.map((value, v) => ({ value, v })).filter(({ v }) => !f.settings.hidden?.has(v + 1));
    const most = 36;
    shown.slice(0, most).forEach(({ value, v }, i) => {
      shapes.push({ x: left, y: TOP + 20 + i * 27, w: 14, h: 14, fill: category(v), round: true });
      texts.push({ x: left + 24, y: TOP + 33 + i * 27, text: value.length > 30 ? `${value.slice(0, 29)}…` : value, size: 18 });
    });
    if (shown.length > most) texts.push({ x: left + 24, y: TOP + 33 + most * 27, text: `and ${shown.length - most} more`, size: 18 });
  } else if (f.shade) {
    const [low, high] = reach(f.shade, f.settings);
    for (let i = 0; i < 60; i++) shapes.push({ x: left + 30, y: TOP + 40 + i * 4, w: 22, h: 4.6, fill: css(ramp(1 - i / 59, false)) });
    texts.push({ x: left + 62, y: TOP + 52, text: number(high), size: 18 }, { x: left + 62, y: TOP + 282, text: number(low), size: 18 });
    if (f.shade.sparse) {
      shapes.push({ x: left + 34, y: TOP + 300, w: 14, h: 14, fill: "#d9d8d6", round: true });
      texts.push({ x: left + 62, y: TOP + 313, text: "zero", size: 18 });
    }
    if (f.shade.unit) texts.push({ x: left + 30, y: TOP + 24, text: f.shade.unit, size: 18 });
  }
  if (f.names && f.shade?.kind === "category" && f.shade.values.length <= 40) texts.push(...named(f, f.shade));
  return { texts, shapes };
}

function named(f: Figure, shade: Shade & { kind: "category" }): Text[] {
  const unit = fit(f.layout, SIDE, SIDE) * f.camera.zoom;
  const places = f.layout.middles(shade.codes, shade.values.length).flatMap((middle, v) => {
    if (!middle || f.settings.hidden?.has(v + 1)) return [];
    const text = shade.values[v].length > 28 ? `${shade.values[v].slice(0, 27)}…` : shade.values[v];
    const wide = text.length * 5.2 + 4;
    const x = Math.max(wide, Math.min(SIDE - wide, SIDE / 2 + (middle[0] - f.camera.x) * unit));
    return [{ x, y: TOP + SIDE / 2 - (middle[1] - f.camera.y) * unit, wide, text }];
  });
  return spread(places.filter((p) => p.y > TOP && p.y < TOP + SIDE), 19).map(({ x, y, text }) => ({ x, y: y + 6, text, size: 18, bold: true, halo: true, anchor: "middle" }));
}

function drawDots(context: CanvasRenderingContext2D, f: Figure): void {
  const { groups, r } = dots(f);
  for (const [word, places] of groups) {
    context.fillStyle = colourOf(word);
    context.beginPath();
    for (let i = 0; i < places.length; i += 2) {
      if (f.layout.n > 200_000) context.rect(places[i] - r, places[i + 1] - r, 2 * r, 2 * r);
      else {
        context.moveTo(places[i] + r, places[i + 1]);
        context.arc(places[i], places[i + 1], r, 0, 2 * Math.PI);
      }
    }
    context.fill();
  }
}

function canvasOf(wide: number, high: number, scale: number): CanvasRenderingContext2D {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [wide * scale, high * scale];
  const context = canvas.getContext("2d")!;
  context.scale(scale, scale);
  return context;
}

const blob = (canvas: HTMLCanvasElement): Promise<Blob> =>
  new Promise((done, fail) => canvas.toBlob((made) => (made ? done(made) : fail(new Error("The picture is too large for this browser."))), "image/png"));

export async function png(figure: Figure): Promise<Blob> {
  const f = { ...figure, settings: { ...figure.settings, dark: false } };
  const [wide, high] = [SIDE + LEGEND, SIDE + TOP + 50];
  const context = canvasOf(wide, high, 3);
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, wide, high);
  context.translate(0, TOP);
  drawDots(context, f);
  context.translate(0, -TOP);
  const { texts, shapes } = words(f);
  for (const s of shapes) {
    context.fillStyle = s.fill;
    context.beginPath();
    if (s.round) context.arc(s.x + s.w / 2, s.y + s.h / 2, s.w / 2, 0, 7);
    else context.rect(s.x, s.y, s.w, s.h);
    context.fill();
  }
  for (const t of texts) {
    context.font = `${t.bold ? "bold " : ""}${t.size}px ${FONT}`;
    context.textAlign = t.anchor === "middle" ? "center" : (t.anchor ?? "start");
    context.lineWidth = 5;
    context.lineJoin = "round";
    context.strokeStyle = "#ffffff";
    if (t.halo) context.strokeText(t.text, t.x, t.y);
    context.fillStyle = "#1b1f24";
    context.fillText(t.text, t.x, t.y);
  }
  return blob(context.canvas);
}

const escaped = (text: string): string => text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "").replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);

export async function svg(figure: Figure): Promise<Blob> {
  const f = { ...figure, settings: { ...figure.settings, dark: false } };
  const [wide, high] = [SIDE + LEGEND, SIDE + TOP + 50];
  let picture: string;
  if (f.layout.n <= MAX_DOTS) {
    const { groups, r } = dots(f);
    const circles = (places: number[]): string =>
      Array.from({ length: places.length / 2 }, (_, i) => `<circle cx="${places[2 * i].toFixed(1)}" cy="${(TOP + places[2 * i + 1]).toFixed(1)}" r="${r.toFixed(2)}"/>`).join("");
    picture = [...groups].map(([word, places]) => `<g fill="${colourOf(word)}">${circles(places)}</g>`).join("\n");
  } else {
    const context = canvasOf(SIDE, SIDE, 3);
    drawDots(context, f);
    picture = `<image x="0" y="${TOP}" width="${SIDE}" height="${SIDE}" href="${context.canvas.toDataURL("image/png")}"/>`;
  }
  const { texts, shapes } = words(f);
  const shaped = shapes.map((s) => (s.round ? `<circle cx="${s.x + s.w / 2}" cy="${s.y + s.h / 2}" r="${s.w / 2}" fill="${s.fill}"/>` : `<rect x="${s.x}" y="${s.y}" width="${s.w}" height="${s.h}" fill="${s.fill}"/>`));
  const written = texts.map((t) => {
    const halo = t.halo ? ' stroke="#ffffff" stroke-width="5" stroke-linejoin="round" paint-order="stroke"' : "";
    return `<text x="${t.x.toFixed(1)}" y="${t.y.toFixed(1)}" font-size="${t.size}"${t.bold ? ' font-weight="bold"' : ""} text-anchor="${t.anchor ?? "start"}" fill="#1b1f24"${halo}>${escaped(t.text)}</text>`;
  });
  const lines = [`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${wide} ${high}" width="${wide}" height="${high}" font-family="${FONT}">`, `<rect width="${wide}" height="${high}" fill="#ffffff"/>`, picture, ...shaped, ...written, "</svg>"];
  return new Blob([lines.join("\n")], { type: "image/svg+xml" });
}
