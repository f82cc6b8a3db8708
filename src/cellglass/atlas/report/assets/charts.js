// Rows of marks on a common axis: label, track, number. Made of boxes placed in percent, so they fit any width.

function shape(kind, colour, size = 12, hollow = false) {
  const paint = hollow ? { fill: "var(--card)", stroke: colour, "stroke-width": 2 } : { fill: colour, stroke: "none" };
  const node = svg("svg", { width: size, height: size, viewBox: "-6 -6 12 12", "aria-hidden": "true" });
  if (kind === "circle") node.append(svg("circle", { r: hollow ? 4 : 5, ...paint }));
  if (kind === "diamond") node.append(svg("path", { d: "M0-5.4 5.4 0 0 5.4-5.4 0Z", ...paint }));
  if (kind === "square") node.append(svg("path", { d: "M-4-4H4V4H-4Z", ...paint }));
  if (kind === "triangle") node.append(svg("path", { d: "M0-5 5 4.4H-5Z", ...paint }));
  if (kind === "cross") node.append(svg("path", { d: "M-4-4 4 4M4-4-4 4", fill: "none", stroke: colour, "stroke-width": 2 }));
  if (kind === "bar") node.append(svg("path", { d: "M0-6V6", fill: "none", stroke: "var(--ink)", "stroke-width": 2 }));
  return node;
}

const at = (value, [low, high]) => `${(100 * Math.min(1, Math.max(0, (value - low) / (high - low || 1)))).toFixed(2)}%`;
const width = (from, to, domain) => `calc(${at(to, domain)} - ${at(from, domain)})`;

function whisker(value, se, domain, colour) {
  if (!known(se) || !se) return null;
  const left = Math.max(domain[0], value - se);
  const right = Math.min(domain[1], value + se);
  return el("span", { class: "whisker", css: { left: at(left, domain), width: width(left, right, domain), color: colour } });
}

function mark(kind, value, domain, colour, title, hollow = false) {
  return el("span", { class: "mark", title, css: { left: at(value, domain) } }, shape(kind, colour, 12, hollow));
}

function axis(ticks, domain, format = (t) => String(t)) {
  return el("div", { class: "axis", "aria-hidden": "true" }, ticks.map((t) => el("span", { css: { left: at(t, domain) } }, format(t))));
}

const baseColour = (basis) => `var(--b-${basis in { concepts: 1, neurons: 1, pca: 1, ica: 1, site: 1, counts: 1 } ? basis : "random"})`;
const basisName = (basis) => (BASES[basis] ? BASES[basis].name : basis);
const basisShape = (basis) => (BASES[basis] ? BASES[basis].shape : "square");

function legend(bases) {
  return el("ul", { class: "legend" }, bases.map((b) => el("li", {}, shape(basisShape(b), baseColour(b)), basisName(b))));
}

// rows: [{label, strong, records: {basis: record}}]; the first basis is drawn last, on top, and gives the number.
function dotPlot(rows, bases, domain = [0, 1]) {
  const grid = el("div", { class: "rows" });
  for (const row of rows) {
    const track = el("div", { class: "track", role: "img" });
    const said = [];
    for (const basis of [...bases].reverse()) {
      const record = row.records[basis];
      if (!record || !known(record.value)) continue;
      const text = `${basisName(basis)} ${number(record.value)}${spread(record)}`;
      said.unshift(text);
      put(track, [whisker(record.value, record.spread, domain, baseColour(basis)), mark(basisShape(basis), record.value, domain, baseColour(basis), text)]);
    }
    track.setAttribute("aria-label", `${row.label}: ${said.join(", ")}`);
    const main = row.records[bases[0]];
    const strong = row.strong ? " strong" : "";
    put(grid, [el("div", { class: `label${strong}` }, row.label), track, el("div", { class: `value${strong}` }, main ? number(main.value) : "–")]);
  }
  return put(grid, [el("div"), axis([0, 0.25, 0.5, 0.75, 1], domain), el("div")]);
}

// rows: [{label, record, colour}]: a bar for the value, a tick for its null.
function barPlot(rows, format = percent) {
  const grid = el("div", { class: "rows" });
  const domain = [0, 1];
  for (const { label, record, colour } of rows) {
    const nothing = known(record.null) ? `; null ${format(record.null)}` : "";
    const text = `${label}: ${format(record.value)}${nothing}`;
    put(grid, [
      el("div", { class: "label" }, label),
      el(
        "div",
        { class: "track", role: "img", "aria-label": text, title: text },
        el("span", { class: "fill", css: { left: 0, width: at(record.value || 0, domain), background: colour || "var(--b-concepts)" } }),
        whisker(record.value, record.spread, domain, "var(--ink)"),
        known(record.null) && el("span", { class: "tick", css: { left: at(record.null, domain) } }),
      ),
      el("div", { class: "value" }, format(record.value), known(record.null) ? ` / ${format(record.null)}` : ""),
    ]);
  }
  return put(grid, [el("div"), axis([0, 0.25, 0.5, 0.75, 1], domain, (t) => format(t)), el("div")]);
}
