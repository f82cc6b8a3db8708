// The head, and how good the atlas is: each number with what it means and what good looks like.

const metric = (name) => D.metrics.find((m) => m.metric === name);
const under = (prefix) => D.metrics.filter((m) => m.metric.startsWith(`${prefix}.`));

function head() {
  const a = D.atlas;
  const model = MODELS[a.model.toLowerCase()] || a.model || "a model";
  const day = a.created ? new Date(a.created).toLocaleDateString("en", { year: "numeric", month: "long", day: "numeric", timeZone: "UTC" }) : "–";
  const facts = [
    ["Model", a.model_detail || model],
    ["Site that was read", a.site],
    ["Dictionary", a.dictionary],
    ["Cells", a.source ? `${count(a.cells)} from ${a.source}` : count(a.cells)],
    a.genes ? ["Genes", count(a.genes)] : null,
    ["Made", `${day}, cellglass ${a.version || "–"}, seed ${known(a.seed) ? a.seed : "–"}`],
  ].filter((fact) => fact && fact[1]);
  const words = el(
    "div",
    {},
    el("h1", {}, `${count(a.alive)} concepts inside ${model}`),
    el(
      "p",
      { class: "lede" },
      "A model that has read single cells holds concepts of its own: directions that light up in some cells and stay dark in others. ",
      el("strong", {}, "Each card below is one of them"),
      ": the cells that it marks, the genes that drive it, and what those genes have in common. Every claim stands beside the chance result that it has to beat.",
    ),
  );
  put($("head"), [
    el("div", { class: "front" }, words, glimpses()),
    el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
  ]);
}

// The clearest concept of each of six labels, as small maps that lead to their cards.
function glimpses() {
  const best = new Map();
  D.concepts.forEach((concept, index) => {
    const key = concept.label || concept.name;
    if (state.label && concept.label && !state.label.values.includes(concept.label)) return;
    if (concept.density && (concept.f1 ?? 0) >= (best.get(key)?.concept.f1 ?? 0)) best.set(key, { concept, index });
  });
  const chosen = [...best.values()].sort((a, b) => (b.concept.f1 ?? 0) - (a.concept.f1 ?? 0)).slice(0, 6);
  const one = ({ concept, index }) => {
    const canvas = el("canvas", { "aria-hidden": "true" });
    const draw = () => drawConcept(canvas, index);
    onVisible(canvas, draw);
    redraws.add(draw);
    return el("li", {}, el("a", { href: `#concept-${concept.latent}` }, canvas, el("span", {}, concept.label || concept.name), el("small", { class: "gene" }, topGenes(concept).slice(0, 3).join(", "))));
  };
  return chosen.length ? el("ul", { class: "glimpses", "aria-label": "Six of the clearest concepts" }, chosen.map(one)) : null;
}

function tile(record, what, says, format = (v) => number(v)) {
  if (!record || !known(record.value)) return null;
  const nothing = known(record.null) && record.null !== record.value ? ` For comparison, its null: ${format(record.null)}.` : "";
  return el(
    "div",
    { class: "tile" },
    el("div", { class: "big" }, format(record.value), known(record.spread) && el("small", {}, `± ${format(record.spread)}`)),
    el("p", { class: "what" }, what),
    el("p", { class: "note" }, says, nothing),
  );
}

function tiles() {
  return el(
    "div",
    { class: "tiles" },
    tile(
      metric("fidelity.variance_explained"),
      "Variance explained",
      "How much of what the model says about cells that the dictionary never saw can be rebuilt from the concepts. 1 is everything; 0.85 or more is good.",
      (v) => number(v, v < 0.01 ? 3 : 2),
    ),
    tile(metric("fidelity.l0"), "Concepts in a cell", "How many are active at once, in the mean. Few means that a cell is described in a few words.", (v) => number(v, 1)),
    tile(metric("fidelity.dead_share"), "Silent concepts", "The share that no held-out cell activates. They stand for nothing; below 5 % is good.", percent),
    tile(metric("attribution.path.gap"), "Unexplained by paths", "Path effects of all genes should add up to the whole rise of a concept. This is the share that they miss; a few percent is good.", (v) => `${number(100 * v, 1)} %`),
  );
}

function splitAlignment() {
  const labels = {};
  for (const record of under("alignment")) {
    const rest = record.metric.slice("alignment.".length);
    const column = D.labels.map((l) => l.name).find((name) => rest.startsWith(`${name}.`)) || rest.split(".")[0];
    const cut = rest.lastIndexOf(".");
    const value = rest.slice(column.length + 1, cut);
    if (cut <= column.length) continue;
    labels[column] ??= {};
    labels[column][value] ??= {};
    labels[column][value][rest.slice(cut + 1)] = record;
  }
  return labels;
}

function alignment() {
  const labels = splitAlignment();
  const names = Object.keys(labels);
  if (!names.length) return null;
  const place = el("div");
  const show = (name) => {
    const bases = ["concepts", "neurons", "pca", "ica", "nmf", "random"].filter((b) => Object.values(labels[name]).some((r) => r[b]));
    const mean = (basis) => {
      const values = Object.values(labels[name]).map((r) => r[basis]).filter((r) => r && known(r.value)).map((r) => r.value);
      return values.length ? { value: values.reduce((s, v) => s + v, 0) / values.length, spread: null } : null;
    };
    const rows = Object.entries(labels[name])
      .filter(([value]) => value !== "mean")
      .map(([label, records]) => ({ label, records }))
      .sort((a, b) => (b.records.concepts?.value ?? 0) - (a.records.concepts?.value ?? 0));
    const all = labels[name].mean || Object.fromEntries(bases.map((b) => [b, mean(b)]));
    place.replaceChildren(legend(bases), dotPlot([{ label: `mean of ${rows.length}`, strong: true, records: all }, ...rows], bases));
  };
  const tabs = names.length > 1 ? switcher(names.map((name) => [name, name]), show, "Label") : null;
  show(names[0]);
  return el(
    "article",
    { class: "plot tall" },
    el("h3", {}, "Does one concept stand for one kind of cell?"),
    el(
      "p",
      { class: "note" },
      "For each label, the single unit that picks it out best: F1 with the threshold chosen on one half of the cells and scored on the other. 1 is a perfect match. Good: the circles lie right of everything else; if neurons or random directions do as well, the dictionary has added nothing.",
    ),
    tabs,
    place,
  );
}

function switcher(options, show, name) {
  const group = el("div", { class: "tabs", role: "group", "aria-label": name });
  options.forEach(([key, text], i) => {
    const choose = () => {
      for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
      show(key);
    };
    const button = el("button", { type: "button", "aria-pressed": String(i === 0), onclick: choose }, text);
    group.append(button);
  });
  return group;
}

function probes() {
  const rows = {};
  for (const record of under("probe")) {
    const cut = record.metric.lastIndexOf(".");
    const label = record.metric.slice("probe.".length, cut);
    rows[label] ??= { label, records: {} };
    rows[label].records[record.metric.slice(cut + 1)] = record;
    if (known(record.null)) rows[label].records.null = { value: record.null, spread: null };
  }
  if (!Object.keys(rows).length) return null;
  const bases = ["concepts", "site", "counts", "null"].filter((b) => Object.values(rows).some((r) => r.records[b]));
  return el(
    "article",
    { class: "plot" },
    el("h3", {}, "Is anything lost?"),
    el(
      "p",
      { class: "note" },
      "A simple classifier reads each label from the concepts, and from everything that the model holds at the site. Good: circle and diamond coincide, so the concepts keep what the model knows; both lie far from the null. The square reads the label from the counts alone: a model that lies far below it has lost what it was given.",
    ),
    legend(bases),
    dotPlot(Object.values(rows), bases),
  );
}

function annotations() {
  // A source may have dots in its name (a file's version), so the test is what the name is split at.
  const rows = under("annotation").flatMap((record) => {
    const parts = /^annotation\.(.+)\.(gsea|ulm|ora)((?:\.\w+)*)$/.exec(record.metric);
    if (!parts) return [{ label: record.metric.slice("annotation.".length), record }];
    const rest = parts[3].split(".").filter(Boolean);
    if (rest.includes("swap")) return []; // much like the path's: the table below has it
    return [{ label: [parts[1], TESTS[parts[2]], ...rest.map((r) => methodName(r))].join(", "), record }];
  });
  if (!rows.length) return null;
  return el(
    "article",
    { class: "plot" },
    el("h3", {}, "Do the genes mean something?"),
    el(
      "p",
      { class: "note" },
      "Bar: the share of concepts whose genes match a known gene set (q < 0.05). Upright line: the same share for random genes of matching number and expression. A long bar means nothing if its line is long too; good is a wide gap. “Calibrated” compares each gene set with what that very set gets from random genes.",
    ),
    barPlot(rows),
  );
}

function stability() {
  const rows = under("stability").flatMap((record) => {
    const parts = /^stability\.([^.]+)(\.coactivation)?$/.exec(record.metric);
    if (!parts) return []; // shares and best partners: the table below has them
    return [{ label: `${basisName(parts[1])} by ${parts[2] ? "cells" : "direction"}`, record, colour: baseColour(parts[1]) }];
  });
  if (!rows.length) return null;
  return el(
    "article",
    { class: "plot" },
    el("h3", {}, "Would another seed find them again?"),
    el("p", { class: "note" }, "How alike the latents of two runs with other seeds are, matched one to one: by their directions (cosine), and by the cells in which they are active (correlation). 1: the same latents come back. Upright line: chance. In a narrow space chance directions look alike; cells tell more.", consensusLine()),
    barPlot(rows, (v) => number(v)),
  );
}

function consensusLine() {
  const c = D.atlas.consensus;
  return c && ` ${count(c.concepts)} of the ${count(D.atlas.alive)} concepts are found in more than half of the ${c.others} other dictionaries; the list below marks them.`;
}

function allMetrics() {
  const cells = (record) => ["value", "spread", "null"].map((key) => el("td", { class: "num" }, number(record[key], 3)));
  const row = (record) => el("tr", {}, el("td", {}, record.metric), cells(record), el("td", { class: "num" }, count(record.n)), el("td", {}, record.definition));
  return el(
    "details",
    {},
    el("summary", {}, `All ${D.metrics.length} measurements with their definitions`),
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "All measurements" },
      el("table", { class: "all" }, el("thead", {}, el("tr", {}, ["Measurement", "Value", "Spread", "Null", "n", "Definition"].map((t) => el("th", { scope: "col" }, t)))), el("tbody", {}, D.metrics.map(row))),
    ),
  );
}

function overview() {
  put($("quality"), [
    el("h2", { id: "quality-title" }, "How good is this atlas?"),
    el("p", { class: "soft" }, "Look here before believing a card. ± is the standard deviation over seeds, where several were run."),
    tiles(),
    el("div", { class: "plots" }, alignment(), probes(), annotations(), stability()),
    allMetrics(),
  ]);
}
