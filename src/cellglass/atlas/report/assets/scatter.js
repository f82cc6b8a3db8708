// Cells as dots on a canvas. The grey background of all cells is drawn once for each size and theme and then reused.

const backgrounds = new Map();

function prepare(canvas) {
  const size = Math.max(80, Math.round(canvas.getBoundingClientRect().width) || 320);
  const scale = Math.min(2, window.devicePixelRatio || 1) * (state.printing ? 1.5 : 1);
  canvas.width = canvas.height = Math.round(size * scale);
  return { context: canvas.getContext("2d"), pixels: canvas.width, scale };
}

// About a sixth of the square would be covered if no dots overlapped, whatever the number of cells.
const radius = (pixels, scale) => Math.min(3.2 * scale, Math.max(0.7 * scale, Math.sqrt((pixels * pixels * 0.18) / (Math.PI * CELLS))));

function dots(context, pixels, r, cells, colour) {
  const pad = r + pixels * 0.015;
  const unit = (pixels - 2 * pad) / 65535;
  context.fillStyle = colour;
  const n = cells ? cells.length : CELLS;
  if (r < 1.6) {
    for (let i = 0; i < n; i++) {
      const c = cells ? cells[i] : i;
      context.fillRect(pad + X[c] * unit - r, pixels - pad - Y[c] * unit - r, 2 * r, 2 * r);
    }
    return;
  }
  context.beginPath();
  for (let i = 0; i < n; i++) {
    const c = cells ? cells[i] : i;
    const x = pad + X[c] * unit;
    const y = pixels - pad - Y[c] * unit;
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
    layer.width = layer.height = pixels;
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
  const unit = (pixels - 2 * (r + pixels * 0.015)) / 65535;
  const pad = r + pixels * 0.015;
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
    const x = Math.min(pixels - wide, Math.max(wide, pad + middle(cells.map((c) => X[c])) * unit));
    let y = pixels - pad - middle(cells.map((c) => Y[c])) * unit;
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
