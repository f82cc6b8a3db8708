// A million dots on one canvas, with WebGL 2 and nothing else. (Libraries that make shaders' callers at run time evaluate
// text as code, which the page's content security policy forbids.) What is strong is drawn over what is weak by its depth.

import type { Layout } from "./layout";

export interface Camera {
  /** middle of what is seen, in the units of the layout */
  x: number;
  y: number;
  /** 1: all cells fit */
  zoom: number;
}

const VERTEX = `#version 300 es
in vec2 place; in vec4 colour; uniform vec2 middle, scale; uniform float size; out vec3 paint;
void main() {
  float order = floor(colour.a * 255.0 + 0.5);
  gl_Position = vec4((place - middle) * scale, 1.0 - order / 128.0, 1.0);
  if (order < 0.5) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  gl_PointSize = order < 1.5 ? size * 0.9 : size; paint = colour.rgb;
}`;
const FRAGMENT = `#version 300 es
precision highp float; in vec3 paint; uniform float size; out vec4 shown;
void main() {
  float far = length(gl_PointCoord - 0.5) * 2.0;
  float edge = clamp((1.0 - far) * size * 0.5 + 0.5, 0.0, 1.0);
  if (size > 2.5 && edge < 0.1) discard;
  shown = vec4(paint, size > 2.5 ? edge : 1.0);
}`;

/** How many pixels one unit of the layout has when all cells fit. */
export function fit(layout: Layout, wide: number, high: number): number {
  const { x0, x1, y0, y1 } = layout.box;
  return Math.min((wide * 0.94) / (x1 - x0), (high * 0.94) / (y1 - y0));
}

/** About a sixth of the square would be covered if no dots overlapped, whatever the number of cells. */
export function dotSize(n: number, wide: number, high: number, zoom: number): number {
  const plain = 2 * Math.sqrt((Math.min(wide, high) ** 2 * 0.16) / (Math.PI * Math.max(n, 1)));
  return Math.max(1.3, Math.min(9, plain)) * Math.min(4, Math.max(0.7, zoom ** 0.45));
}

function compiled(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
    const shader = gl.createShader(kind)!;
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.bindAttribLocation(program, 0, "place");
  gl.bindAttribLocation(program, 1, "colour");
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "the shaders cannot be linked");
  return program;
}

/** From this many on, cells are drawn in an order drawn by lot, so that the first of them are a fair sample of all. */
export const MANY = 150_000;

function lot(n: number): Uint32Array {
  const order = new Uint32Array(n);
  let seed = 1;
  for (let i = 1; i < n; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((seed / 2 ** 32) * (i + 1));
    order[i] = order[j];
    order[j] = i;
  }
  return order;
}

export class Points {
  private gl: WebGL2RenderingContext;
  private program: WebGLProgram;
  private colours: WebGLBuffer;
  private order: Uint32Array | null;
  private turned: Uint32Array | null = null;
  private at = new Map<string, WebGLUniformLocation | null>();

  constructor(readonly canvas: HTMLCanvasElement, private layout: Layout) {
    // Of many cells the dots are a pixel or two: smooth edges would cost much and show little, and what is drawn has to stay,
    // since a slow machine draws them in several steps.
    const many = layout.n > MANY;
    const gl = canvas.getContext("webgl2", { antialias: !many, alpha: true, premultipliedAlpha: true, preserveDrawingBuffer: many });
    if (!gl) throw new Error("This browser draws no WebGL 2, so the cells cannot be shown. Update it, or switch hardware acceleration on.");
    this.gl = gl;
    this.program = compiled(gl);
    this.order = many ? lot(layout.n) : null;
    const places = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, places);
    gl.bufferData(gl.ARRAY_BUFFER, this.order ? this.sorted(new Uint32Array(layout.xy.slice().buffer)) : layout.xy, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.UNSIGNED_SHORT, false, 0, 0);
    this.colours = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.colours);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribPointer(1, 4, gl.UNSIGNED_BYTE, true, 0, 0);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    if (!many) gl.enable(gl.SAMPLE_ALPHA_TO_COVERAGE);
  }

  private sorted(words: Uint32Array): Uint32Array {
    const { order } = this;
    if (!order) return words;
    this.turned ??= new Uint32Array(order.length);
    for (let i = 0; i < order.length; i++) this.turned[i] = words[order[i]];
    return this.turned;
  }

  paint(words: Uint32Array): void {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.colours);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, this.sorted(words), this.gl.DYNAMIC_DRAW);
  }

  private place(name: string): WebGLUniformLocation | null {
    if (!this.at.has(name)) this.at.set(name, this.gl.getUniformLocation(this.program, name));
    return this.at.get(name)!;
  }

  /** Draws the cells from one share of all to another: of a large atlas a fair sample, since its order is drawn by lot. Beginning
   *  at zero wipes the picture first. */
  draw(camera: Camera, factor: number, from = 0, to = 1): void {
    const { gl, canvas } = this;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [wide, high] = [Math.max(1, Math.round(canvas.clientWidth * ratio)), Math.max(1, Math.round(canvas.clientHeight * ratio))];
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    gl.viewport(0, 0, wide, high);
    gl.clearColor(0, 0, 0, 0);
    if (from === 0) gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(this.program);
    const unit = fit(this.layout, wide, high) * camera.zoom;
    const [first, end] = [Math.floor(this.layout.n * from), Math.ceil(this.layout.n * to)];
    gl.uniform2f(this.place("middle"), camera.x, camera.y);
    gl.uniform2f(this.place("scale"), (2 * unit) / wide, (2 * unit) / high);
    gl.uniform1f(this.place("size"), dotSize(this.layout.n, wide, high, camera.zoom) * factor);
    gl.drawArrays(gl.POINTS, first, end - first);
  }

  free(): void {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
