// The map of all cells, coloured by a label that the reader chooses; a key that lights one group up.

const labelListeners = [];

function cellsSection() {
  const a = D.atlas;
  const canvas = el("canvas", { role: "img" });
  const keys = el("ul", { class: "keys" });
  const redraw = () => drawLabels(canvas);
  const fill = () => {
    keys.replaceChildren();
    if (!state.label) return;
    canvas.setAttribute("aria-label", `Map of ${count(CELLS)} cells coloured by ${state.label.name}`);
    const sizes = new Array(state.label.values.length + 1).fill(0);
    for (const code of state.label.codes) sizes[code]++;
    state.label.values.forEach((value, v) => {
      const press = () => {
        state.highlight = state.highlight === v ? null : v;
        for (const item of keys.querySelectorAll("button")) item.setAttribute("aria-pressed", String(item === button && state.highlight === v));
        redraw();
      };
      const button = el(
        "button",
        { type: "button", "aria-pressed": "false", onclick: press },
        el("span", { class: "dot", css: { background: category(v) } }),
        el("span", { class: "name" }, value),
        el("span", { class: "num" }, count(sizes[v + 1])),
      );
      keys.append(el("li", {}, button));
    });
  };
  const choose = (event) => {
    state.label = D.labels[Number(event.target.value)];
    state.highlight = null;
    fill();
    redraw();
    for (const listener of labelListeners) listener();
  };
  const select = el("select", { id: "label", onchange: choose }, D.labels.map((label, i) => el("option", { value: i, selected: label === state.label }, label.name)));
  const sampled = CELLS < a.cells;
  put($("cells"), [
    el("h2", { id: "cells-title" }, "The cells"),
    el(
      "p",
      { class: "soft" },
      `Each dot is a cell; cells that the model sees as alike lie together (UMAP). The distances between groups mean little. `,
      sampled ? `${count(CELLS)} of ${count(a.cells)} cells are drawn, a random sample (seed ${known(a.seed) ? a.seed : 0}); the histograms below use the same cells, all other numbers use every cell.` : `All ${count(CELLS)} cells are drawn.`,
    ),
    el(
      "div",
      { class: "atlas" },
      el("div", {}, canvas),
      el(
        "div",
        {},
        D.labels.length ? el("label", { class: "field", for: "label" }, "Colour by", select) : el("p", { class: "note" }, "The cells carry no labels. Name obs columns with --labels to colour them."),
        keys,
        D.labels.length > 0 && el("p", { class: "note" }, "Press a name to see its cells alone."),
      ),
    ),
  ]);
  fill();
  onVisible(canvas, redraw);
  redraws.add(redraw);
}
