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
precision highp float; in vec3 paint; uniform float size, soft; out vec4 shown;
void main() {
  float far = length(gl_PointCoord - 0.5) * 2.0;
  float edge = clamp((1.0 - far) * size * 0.5 + 0.5, 0.0, 1.0);
  if (size > 2.5 && edge < (soft > 0.5 ? 0.1 : 0.5)) discard;
  shown = vec4(paint, size > 2.5 && soft > 0.5 ? edge : 1.0);
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

/** An array of vertices that the card keeps: its bytes, and which of them are a place and which a colour. */
interface Vertices {
  all: WebGLVertexArrayObject;
  places: WebGLBuffer;
  colours: WebGLBuffer;
}

/** Of a large atlas the cells without colour are kept as a picture of their own, the ground, until the view moves: another
 *  concept then draws its own cells alone. Dots are too small there for smooth edges, which would cost four times as much. */
export class Points {
  private gl: WebGL2RenderingContext;
  private program: WebGLProgram;
  private every: Vertices;
  private lit: Vertices;
  private packed: Uint32Array;
  private order: Uint32Array | null;
  private turned: Uint32Array | null = null;
  private ground: Uint32Array | null = null;
  private picture: WebGLFramebuffer | null = null;
  private kept: WebGLRenderbuffer | null = null;
  private room = "";
  /** of which view the ground is whole */
  private drawn = "";
  /** how many cells have a colour; -1: no ground, all are drawn together */
  private bright = -1;
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
    this.packed = new Uint32Array(layout.xy.slice().buffer);
    this.every = this.vertices();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.every.places);
    gl.bufferData(gl.ARRAY_BUFFER, this.sorted(this.packed), gl.STATIC_DRAW);
    this.lit = this.vertices();
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    if (!many) gl.enable(gl.SAMPLE_ALPHA_TO_COVERAGE);
  }

  private vertices(): Vertices {
    const { gl } = this;
    const made = { all: gl.createVertexArray(), places: gl.createBuffer(), colours: gl.createBuffer() };
    gl.bindVertexArray(made.all);
    gl.bindBuffer(gl.ARRAY_BUFFER, made.places);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.UNSIGNED_SHORT, false, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, made.colours);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribPointer(1, 4, gl.UNSIGNED_BYTE, true, 0, 0);
    return made;
  }

  private fill(buffer: WebGLBuffer, words: Uint32Array): void {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, buffer);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, words, this.gl.DYNAMIC_DRAW);
  }

  private sorted(words: Uint32Array): Uint32Array {
    const { order } = this;
    if (!order) return words;
    this.turned ??= new Uint32Array(order.length);
    for (let i = 0; i < order.length; i++) this.turned[i] = words[order[i]];
    return this.turned;
  }

  paint(words: Uint32Array): void {
    const bright = this.order ? coloured(words) : words.length;
    if (bright > words.length / 2) {
      this.bright = -1;
      this.ground = null;
      this.fill(this.every.colours, this.sorted(words));
      return;
    }
    if (this.lay(words)) {
      this.fill(this.every.colours, this.sorted(this.ground!));
      this.drawn = "";
    }
    const [places, colours] = [new Uint32Array(bright), new Uint32Array(bright)];
    for (let i = 0, at = 0; i < words.length; i++)
      if (words[i] >>> 24 > 1) {
        places[at] = this.packed[i];
        colours[at++] = words[i];
      }
    this.fill(this.lit.places, places);
    this.fill(this.lit.colours, colours);
    this.bright = bright;
  }

  /** Bring the ground up to what has no colour in `words`; whether anything changed. Under a coloured cell it may be any grey. */
  private lay(words: Uint32Array): boolean {
    let changed = this.ground === null;
    this.ground ??= new Uint32Array(words.length).fill(words.find((word) => word >>> 24 <= 1) ?? 0);
    const { ground } = this;
    for (let i = 0; i < words.length; i++)
      if (words[i] >>> 24 <= 1 && words[i] !== ground[i]) {
        ground[i] = words[i];
        changed = true;
      }
    return changed;
  }

  private place(name: string): WebGLUniformLocation | null {
    if (!this.at.has(name)) this.at.set(name, this.gl.getUniformLocation(this.program, name));
    return this.at.get(name)!;
  }

  /** Draws the cells from one share of all to another: of a large atlas a fair sample, since its order is drawn by lot. Beginning
   *  at zero wipes the picture first. Returns the share that is drawn now: all of it where the ground was kept. */
  draw(camera: Camera, factor: number, from = 0, to = 1): number {
    const { gl, canvas } = this;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [wide, high] = [Math.max(1, Math.round(canvas.clientWidth * ratio)), Math.max(1, Math.round(canvas.clientHeight * ratio))];
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    gl.viewport(0, 0, wide, high);
    gl.clearColor(0, 0, 0, 0);
    gl.useProgram(this.program);
    const unit = fit(this.layout, wide, high) * camera.zoom;
    const [first, end] = [Math.floor(this.layout.n * from), Math.ceil(this.layout.n * to)];
    const size = dotSize(this.layout.n, wide, high, camera.zoom) * factor;
    gl.uniform2f(this.place("middle"), camera.x, camera.y);
    gl.uniform2f(this.place("scale"), (2 * unit) / wide, (2 * unit) / high);
    gl.uniform1f(this.place("size"), size);
    gl.uniform1f(this.place("soft"), this.order ? 0 : 1);
    if (this.bright < 0) {
      if (from === 0) gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      this.dots(this.every, first, end);
      return to;
    }
    const now = [camera.x, camera.y, unit, wide, high, size].join();
    const there = from === 0 && now === this.drawn;
    if (!there) {
      if (from === 0) this.wipe(wide, high);
      gl.bindFramebuffer(gl.FRAMEBUFFER, this.picture);
      this.dots(this.every, first, end);
      this.drawn = to < 1 ? "" : now;
      gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    }
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, this.picture);
    gl.blitFramebuffer(0, 0, wide, high, 0, 0, wide, high, gl.COLOR_BUFFER_BIT, gl.NEAREST);
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, null);
    this.dots(this.lit, 0, this.bright);
    return there ? 1 : to;
  }

  private dots(vertices: Vertices, first: number, end: number): void {
    this.gl.bindVertexArray(vertices.all);
    if (end > first) this.gl.drawArrays(this.gl.POINTS, first, end - first);
  }

  /** Make an empty ground of this size. */
  private wipe(wide: number, high: number): void {
    const { gl } = this;
    this.picture ??= gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.picture);
    if (this.room !== `${wide} ${high}`) {
      gl.deleteRenderbuffer(this.kept);
      this.kept = gl.createRenderbuffer();
      gl.bindRenderbuffer(gl.RENDERBUFFER, this.kept);
      gl.renderbufferStorage(gl.RENDERBUFFER, gl.RGBA8, wide, high);
      gl.framebufferRenderbuffer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.RENDERBUFFER, this.kept);
      this.room = `${wide} ${high}`;
    }
    gl.clear(gl.COLOR_BUFFER_BIT);
  }

  free(): void {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

function coloured(words: Uint32Array): number {
  let n = 0;
  for (let i = 0; i < words.length; i++) if (words[i] >>> 24 > 1) n++;
  return n;
}
