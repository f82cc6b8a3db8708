// Cells as dots on a canvas. The grey background of all cells is drawn once for each size and theme and then reused.

const backgrounds = new Map();

function reach(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return { low, span: Math.max(1, high - low), middle: (low + high) / 2 };
}

const WIDE = reach(X);
const HIGH = reach(Y);
const RATIO = Math.min(1, Math.max(0.55, HIGH.span / WIDE.span)); // a flat layout gets a flat map

// Where a cell is drawn: one scale for both axes, centred.
function placing(pixels, r) {
  const pad = r + pixels * 0.015;
  const unit = Math.min((pixels - 2 * pad) / WIDE.span, (pixels * RATIO - 2 * pad) / HIGH.span);
  return { x: (value) => pixels / 2 + (value - WIDE.middle) * unit, y: (value) => (pixels * RATIO) / 2 - (value - HIGH.middle) * unit };
}

function prepare(canvas) {
  const size = Math.max(80, Math.round(canvas.getBoundingClientRect().width) || 320);
  const scale = Math.min(2, window.devicePixelRatio || 1) * (state.printing ? 1.5 : 1);
  canvas.style.aspectRatio = String(1 / RATIO);
  canvas.width = Math.round(size * scale);
  canvas.height = Math.round(size * scale * RATIO);
  return { context: canvas.getContext("2d"), pixels: canvas.width, scale };
}

// About a sixth of the square would be covered if no dots overlapped, whatever the number of cells.
const radius = (pixels, scale) => Math.min(3.2 * scale, Math.max(0.7 * scale, Math.sqrt((pixels * pixels * 0.18) / (Math.PI * CELLS))));

function dots(context, pixels, r, cells, colour) {
  const place = placing(pixels, r);
  context.fillStyle = colour;
  const n = cells ? cells.length : CELLS;
  if (r < 1.6) {
    for (let i = 0; i < n; i++) {
      const c = cells ? cells[i] : i;
      context.fillRect(place.x(X[c]) - r, place.y(Y[c]) - r, 2 * r, 2 * r);
    }
    return;
  }
  context.beginPath();
  for (let i = 0; i < n; i++) {
    const c = cells ? cells[i] : i;
    const x = place.x(X[c]);
    const y = place.y(Y[c]);
    context.moveTo(x + r, y);
    context.arc(x, y, r, 0, 2 * Math.PI);
  }
  context.fill();
}

function background(pixels, r) {
  const grey = state.printing ? "#d9d8d6" : css("--zero");
  const key = `${pixels} ${grey}`;
  if (!backgrounds.has(key)) {
    const layer = document.createElement("canvas");
    layer.width = pixels;
    layer.height = Math.round(pixels * RATIO);
    dots(layer.getContext("2d"), pixels, r, null, grey);
    if (backgrounds.size > 5) backgrounds.clear();
    backgrounds.set(key, layer);
  }
  return backgrounds.get(key);
}

function drawConcept(canvas, index) {
  const { context, pixels, scale } = prepare(canvas);
  const r = radius(pixels, scale);
  context.drawImage(background(pixels, r), 0, 0);
  const { cells, values } = activeCells(index);
  const steps = Array.from({ length: 24 }, () => []);
  for (let i = 0; i < cells.length; i++) steps[Math.min(23, Math.floor((values[i] / 256) * 24))].push(cells[i]);
  steps.forEach((some, step) => dots(context, pixels, r * 1.12, some, ramp(step / 23)));
}

function drawLabels(canvas) {
  const { context, pixels, scale } = prepare(canvas);
  const r = radius(pixels, scale);
  const label = state.label;
  if (!label) return void context.drawImage(background(pixels, r), 0, 0);
  const groups = label.values.map(() => []);
  for (let i = 0; i < CELLS; i++) if (label.codes[i]) groups[label.codes[i] - 1].push(i);
  context.drawImage(background(pixels, r), 0, 0);
  groups.forEach((cells, v) => {
    if (state.highlight === null || state.highlight === v) dots(context, pixels, r, cells, category(v));
  });
  writeNames(context, pixels, scale, r, groups);
}

// A name at the middle of its cells, moved up or down where another name stands already.
function writeNames(context, pixels, scale, r, groups) {
  const place = placing(pixels, r);
  const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  const height = 13 * scale;
  context.font = `600 ${height}px ${css("--sans") || "sans-serif"}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const taken = [];
  groups.forEach((cells, v) => {
    if (!cells.length || (state.highlight !== null && state.highlight !== v) || groups.length > 24) return;
    const name = state.label.values[v].length > 28 ? `${state.label.values[v].slice(0, 27)}…` : state.label.values[v];
    const wide = context.measureText(name).width / 2 + 4 * scale;
    const x = Math.min(pixels - wide, Math.max(wide, place.x(middle(cells.map((c) => X[c])))));
    let y = place.y(middle(cells.map((c) => Y[c])));
    for (let turn = 1; turn < 9 && taken.some((t) => Math.abs(t.x - x) < t.wide + wide && Math.abs(t.y - y) < height * 1.15); turn++)
      y += (turn % 2 ? 1 : -1) * turn * height * 0.6;
    taken.push({ x, y, wide });
    context.lineWidth = 5 * scale;
    context.strokeStyle = state.printing ? "#ffffff" : css("--paper");
    context.strokeText(name, x, y);
    context.fillStyle = state.printing ? "#1b1f24" : css("--ink");
    context.fillText(name, x, y);
  });
}
