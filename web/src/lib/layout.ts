// Where cells lie: the box around them, the nearest cell to a point, the cells inside of a lasso, and where names go.
// Coordinates are those of data/xy.bin: 0..65535, one scale for both axes, y upward.

export type Point = [number, number];
export interface Box {
  x0: number;
  x1: number;
  y0: number;
  y1: number;
}

const CELLS_A_SIDE = 256;

export class Layout {
  readonly n: number;
  readonly box: Box;
  private starts: Uint32Array | null = null;
  private order: Uint32Array | null = null;

  constructor(readonly xy: Uint16Array) {
    this.n = xy.length / 2;
    const box = { x0: Infinity, x1: -Infinity, y0: Infinity, y1: -Infinity };
    for (let i = 0; i < xy.length; i += 2) {
      const [x, y] = [xy[i], xy[i + 1]];
      if (x < box.x0) box.x0 = x;
      if (x > box.x1) box.x1 = x;
      if (y < box.y0) box.y0 = y;
      if (y > box.y1) box.y1 = y;
    }
    this.box = this.n ? { ...box, x1: Math.max(box.x1, box.x0 + 1), y1: Math.max(box.y1, box.y0 + 1) } : { x0: 0, x1: 65535, y0: 0, y1: 65535 };
  }

  /** Cells sorted into squares, so that the nearest is found without looking at all. */
  private index(): [Uint32Array, Uint32Array] {
    if (this.starts && this.order) return [this.starts, this.order];
    const starts = new Uint32Array(CELLS_A_SIDE * CELLS_A_SIDE + 1);
    const square = (i: number): number => (this.xy[2 * i + 1] >> 8) * CELLS_A_SIDE + (this.xy[2 * i] >> 8);
    for (let i = 0; i < this.n; i++) starts[square(i) + 1]++;
    for (let s = 0; s < starts.length - 1; s++) starts[s + 1] += starts[s];
    const next = starts.slice();
    const order = new Uint32Array(this.n);
    for (let i = 0; i < this.n; i++) order[next[square(i)]++] = i;
    [this.starts, this.order] = [starts, order];
    return [starts, order];
  }

  nearest(x: number, y: number, within: number): number {
    const [starts, order] = this.index();
    const from = (v: number): number => Math.max(0, Math.min(CELLS_A_SIDE - 1, (v - within) >> 8));
    const to = (v: number): number => Math.max(0, Math.min(CELLS_A_SIDE - 1, (v + within) >> 8));
    let best = -1;
    let least = within * within;
    for (let row = from(y); row <= to(y); row++)
      for (let at = starts[row * CELLS_A_SIDE + from(x)]; at < starts[row * CELLS_A_SIDE + to(x) + 1]; at++) {
        const i = order[at];
        const far = (this.xy[2 * i] - x) ** 2 + (this.xy[2 * i + 1] - y) ** 2;
        if (far <= least) [best, least] = [i, far];
      }
    return best;
  }

  /** Positions of the cells inside of a polygon (even-odd rule), ascending. */
  inside(polygon: Point[]): Uint32Array {
    if (polygon.length < 3) return new Uint32Array();
    const xs = polygon.map((p) => p[0]);
    const ys = polygon.map((p) => p[1]);
    const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const found: number[] = [];
    for (let i = 0; i < this.n; i++) {
      const [x, y] = [this.xy[2 * i], this.xy[2 * i + 1]];
      if (x < x0 || x > x1 || y < y0 || y > y1) continue;
      let within = false;
      for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++)
        if (ys[a] > y !== ys[b] > y && x < ((xs[b] - xs[a]) * (y - ys[a])) / (ys[b] - ys[a]) + xs[a]) within = !within;
      if (within) found.push(i);
    }
    return Uint32Array.from(found);
  }

  /** The middle of each group: the median of at most a few thousand of its cells. */
  middles(codes: ArrayLike<number>, groups: number): (Point | null)[] {
    const sizes = new Uint32Array(groups + 1);
    for (let i = 0; i < this.n; i++) sizes[codes[i]]++;
    const xs: number[][] = Array.from({ length: groups }, () => []);
    const ys: number[][] = Array.from({ length: groups }, () => []);
    const seen = new Uint32Array(groups + 1);
    for (let i = 0; i < this.n; i++) {
      const code = codes[i];
      if (!code || seen[code]++ % Math.ceil(sizes[code] / 2000)) continue;
      xs[code - 1].push(this.xy[2 * i]);
      ys[code - 1].push(this.xy[2 * i + 1]);
    }
    const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1];
    return xs.map((some, g) => (some.length ? [median(some), median(ys[g])] : null));
  }
}

/** A lasso as short text for the link: at most 80 corners, each as two numbers of base 36. */
export function packLasso(polygon: Point[]): string {
  const step = Math.max(1, Math.ceil(polygon.length / 80));
  return polygon
    .filter((_, i) => i % step === 0)
    .map(([x, y]) => `${Math.round(x + 65536).toString(36)}.${Math.round(y + 65536).toString(36)}`)
    .join("_");
}

export function unpackLasso(text: string): Point[] {
  const corners = text.split("_").map((corner) => corner.split(".").map((part) => parseInt(part, 36) - 65536) as Point);
  return corners.every(([x, y]) => Number.isFinite(x) && Number.isFinite(y)) ? corners : [];
}

/** A name on the map: the middle of its group on the screen, and half its width. Where it stands is written into x and y. */
export interface Name {
  x: number;
  y: number;
  wide: number;
}

const GRID = 128;

/** How many cells lie in a rectangle of the layout, from one table of sums. */
export function crowd(layout: Layout): (x0: number, y0: number, x1: number, y1: number) => number {
  const sums = new Float64Array((GRID + 1) * (GRID + 1));
  for (let i = 0; i < layout.n; i++) sums[((layout.xy[2 * i + 1] >> 9) + 1) * (GRID + 1) + (layout.xy[2 * i] >> 9) + 1]++;
  for (let row = 1; row <= GRID; row++)
    for (let at = 1; at <= GRID; at++) {
      const here = row * (GRID + 1) + at;
      sums[here] += sums[here - 1] + sums[here - GRID - 1] - sums[here - GRID - 2];
    }
  const step = (v: number, up: boolean): number => Math.max(0, Math.min(GRID, (up ? Math.ceil : Math.floor)(v / 512)));
  return (x0, y0, x1, y1) => {
    const [left, right, low, high] = [step(x0, false), step(x1, true), step(y0, false), step(y1, true)];
    return right <= left || high <= low ? 0 : sums[high * (GRID + 1) + right] - sums[low * (GRID + 1) + right] - sums[high * (GRID + 1) + left] + sums[low * (GRID + 1) + left];
  };
}

// Where a name may stand: around the middle of its group, in rings of so many lines.
const RINGS = [0, 1.3, 2.2, 3.2, 4.4, 6, 8, 10.5];
const TURNS = Array.from({ length: 16 }, (_, turn) => [Math.cos((turn * Math.PI) / 8), Math.sin((turn * Math.PI) / 8)]);

/** Names are placed beside their cells: each where it covers fewest cells and no other name, near its group. `covered` counts the
 *  cells under a rectangle of the plot, whose size is `w` by `h`. */
export function aside<T extends Name>(names: T[], height: number, w: number, h: number, covered: (x0: number, y0: number, x1: number, y1: number) => number): T[] {
  const taken: T[] = [];
  const half = 0.65 * height;
  const free = (a: T, x: number, y: number): boolean => taken.every((t) => Math.abs(t.x - x) >= t.wide + a.wide || Math.abs(t.y - y) >= 2 * half);
  for (const name of names) {
    const [middleX, middleY] = [name.x, name.y];
    let best = { x: middleX, y: middleY, cost: Infinity };
    for (const ring of RINGS)
      for (const [dx, dy] of ring ? TURNS : TURNS.slice(0, 1)) {
        const x = Math.max(name.wide, Math.min(w - name.wide, middleX + dx * (ring * height + (ring ? 0.8 * name.wide : 0))));
        const y = Math.max(half, Math.min(h - half, middleY + dy * ring * height));
        if (!free(name, x, y)) continue;
        // A cell that is hidden costs as much as standing a line further off, up to a few.
        const cost = Math.min(8, covered(x - name.wide, y - half, x + name.wide, y + half) * 0.8) + Math.hypot(x - middleX, 1.5 * (y - middleY)) / (height * 3);
        if (cost < best.cost) best = { x, y, cost };
      }
    [name.x, name.y] = [best.x, best.y];
    taken.push(name);
  }
  return taken;
}
