// A card: one concept's cells, activations by label, genes and pathways. Its body is made when it comes near the screen.

const BINS = 24;

function histograms(index) {
  const { cells, values } = activeCells(index);
  const label = state.label || { name: "cells", values: ["all cells"], codes: new Uint8Array(CELLS).fill(1) };
  const sizes = new Array(label.values.length).fill(0);
  for (const code of label.codes) if (code) sizes[code - 1]++;
  const bins = label.values.map(() => new Float64Array(BINS));
  for (let i = 0; i < cells.length; i++) {
    const code = label.codes[cells[i]];
    if (code) bins[code - 1][Math.min(BINS - 1, Math.floor((values[i] / 256) * BINS))]++;
  }
  return label.values
    .map((value, v) => ({ value, size: sizes[v], share: bins[v].reduce((s, n) => s + n, 0) / (sizes[v] || 1), bins: bins[v].map((n) => n / (sizes[v] || 1)) }))
    .filter((row) => row.size)
    .sort((a, b) => b.share - a.share);
}

function ridges(index) {
  const rows = histograms(index);
  const shown = rows.slice(0, 12);
  const top = Math.max(1e-9, ...shown.map((row) => Math.max(...row.bins)));
  const grid = el("div", { class: "rows ridges" });
  for (const row of shown) {
    const picture = svg("svg", { viewBox: `0 0 ${BINS} 20`, preserveAspectRatio: "none", role: "img", "aria-label": `${row.value}: active in ${percent(row.share)} of ${count(row.size)} cells` });
    row.bins.forEach((share, bin) => {
      if (!share) return;
      const height = Math.max(0.8, (19 * share) / top);
      picture.append(svg("rect", { x: bin + 0.06, y: 20 - height, width: 0.88, height, fill: ramp((bin + 0.5) / BINS) }));
    });
    put(grid, [el("div", { class: "label" }, row.value), picture, el("div", { class: "value" }, percent(row.share))]);
  }
  const more = rows.length - shown.length;
  return [grid, el("p", { class: "note" }, `Share of each group’s cells by activation, weak to strong; right: how many are active at all.${more > 0 ? ` ${more} more groups have fewer.` : ""}`)];
}

function colourScale() {
  const strip = el("canvas", { "aria-hidden": "true", width: 64, height: 1 });
  const draw = () => {
    const context = strip.getContext("2d");
    for (let i = 0; i < 64; i++) {
      context.fillStyle = ramp(i / 63);
      context.fillRect(i, 0, 1, 1);
    }
  };
  draw();
  return { strip, draw };
}

function cellsPanel(concept, index) {
  const canvas = el("canvas", { role: "img", "aria-label": `Map of the cells; ${percent(concept.density)} of them activate this concept` });
  const { strip, draw } = colourScale();
  const split = el("div");
  const splits = () => split.replaceChildren(el("h4", {}, state.label ? `Activation by ${state.label.name}` : "Activation"), ...ridges(index));
  const all = () => {
    drawConcept(canvas, index);
    draw();
    splits();
  };
  splits();
  labelListeners.push(splits);
  redraws.add(all);
  requestAnimationFrame(all);
  const panel = el(
    "div",
    { class: "panel map" },
    el("h4", {}, "Cells that it marks"),
    canvas,
    el("div", { class: "scale" }, el("i"), "none", strip, `strong (${number(concept.max)})`),
    split,
  );
  return { panel, all };
}

function terms(block) {
  const strength = (q) => (known(q) ? -Math.log10(Math.max(q, 1e-30)) : 0);
  const top = Math.max(2, ...block.rows.map((row) => strength(row[3])));
  const domain = [0, top];
  const items = block.rows.map(([term, source, , q, nullQ, genes, edge]) => {
    const sure = known(q) && q < SIGNIFICANT;
    const text = `q ${number(q, 3)}; against random genes ${known(nullQ) ? `q ${number(nullQ, 3)}` : "not tried"}`;
    return el(
      "li",
      { class: sure ? null : "weak" },
      el("div", { class: "term" }, el("span", {}, D.terms[term]), el("span", { class: "num" }, `q ${number(q, 3)}`)),
      el(
        "div",
        { class: "track", role: "img", "aria-label": text, title: text },
        el("span", { class: "fill", css: { left: 0, width: at(strength(q), domain), background: sure ? "var(--accent)" : "var(--b-random)" } }),
        el("span", { class: "cut", css: { left: at(-Math.log10(SIGNIFICANT), domain) } }),
        known(nullQ) && el("span", { class: "tick", css: { left: at(strength(nullQ), domain) } }),
      ),
      el("div", { class: "edge" }, el("i", {}, edge), ` ${D.terms[source]}, ${count(genes)} genes`),
    );
  });
  return [
    el("ul", { class: "terms" }, items),
    el("p", { class: "note" }, `Bar: −log10 q, grey where q is not below 0.05 (dashed line). Upright line: the same when the set is compared with what it gets from random genes of like expression; trust it where both pass. In italics: the genes behind it. ${count(block.rows.length)} of ${count(block.total)} gene sets.`),
  ];
}

function pathwaysPanel(concept) {
  const items = concept.pathways.map((block) => ({ name: `${TESTS[block.test] || block.test}, ${methodName(block.ranking).toLowerCase()}`, draw: () => terms(block) }));
  return el(
    "div",
    { class: "panel" },
    el("h4", {}, "What those genes have in common"),
    items.length ? tabbed(`terms-${concept.latent}`, items, "Test and ranking") : el("p", { class: "note" }, "No gene sets were tested for it."),
  );
}

const AGAIN = D.atlas.consensus
  ? `Found in more than half of the ${D.atlas.consensus.others} dictionaries that were trained from other seeds: its partner there is active in the same cells (correlation of at least ${D.atlas.consensus.threshold})`
  : "";
const foundIn = (concept) => `${concept.found} of ${D.atlas.consensus.others}`;

function cardHead(concept) {
  const alive = concept.density > 0;
  const fact = (name, value) => el("li", {}, name, " ", el("b", {}, value));
  return el(
    "header",
    {},
    el("a", { class: "id", href: `#concept-${concept.latent}`, title: "Link to this card" }, `#${concept.latent}`),
    el("h3", { tabindex: "-1" }, concept.name),
    concept.by === "machine" && el("span", { class: "badge", title: "Put together from its best term, best label and top gene; no person has looked at it" }, "named by machine"),
    concept.again && el("span", { class: "badge again", title: AGAIN }, "found in most other seeds"),
    !alive && el("span", { class: "badge" }, "silent: no cell activates it"),
    alive &&
      el(
        "ul",
        { class: "meta" },
        fact("active in", `${percent(concept.density)} of cells`),
        fact("mean activation", number(concept.mean)),
        D.atlas.consensus && fact("found in", `${foundIn(concept)} other seeds${known(concept.agrees) ? `, correlation ${number(concept.agrees)}` : ""}`),
        known(concept.identity) && el("li", { title: "Share of the variance of its activations over gene tokens that the gene's own mean explains: near 1 it says which gene the token is, near 0 something of the cell" }, "gene identity ", el("b", {}, number(concept.identity))),
        concept.tokens?.length && fact("fires on", concept.tokens.map(([gene, part]) => `${gene} ${percent(part)}`).join(", ")),
        concept.label && fact("best label", `${concept.label}, F1 ${number(concept.f1)}`),
      ),
  );
}

function card(concept, index) {
  const alive = concept.density > 0;
  const body = el("div", { class: alive ? "body" : "body empty" });
  const node = el("article", { class: "card", id: `concept-${concept.latent}`, "aria-label": concept.name }, cardHead(concept), body);
  let drawn = false;
  const render = () => {
    if (drawn) return;
    drawn = true;
    if (!alive) return void put(body, [el("p", { class: "note" }, "Nothing to show: in these cells it is never active.")]);
    const map = cellsPanel(concept, index);
    put(body, [map.panel, genesPanel(concept), pathwaysPanel(concept)]);
    node.dataset.drawn = "yes";
  };
  onVisible(node, render);
  return { node, render };
}
