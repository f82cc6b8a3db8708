// The genes of a concept: effects with error bars, one method at a time, and the ranks of all methods beside each other.

const SIGNIFICANT = 0.05;

function geneRows(block) {
  const grid = el("div", { class: "rows genes-rows" });
  const reach = block.rows.flatMap(([, effect, se]) => [effect - (se || 0), effect + (se || 0)]).filter(known);
  const domain = [Math.min(0, ...reach), Math.max(1e-9, ...reach)];
  for (const [symbol, effect, se, , q] of block.rows) {
    const tested = known(q);
    const sure = tested && q < SIGNIFICANT;
    const text = `${D.symbols[symbol]}: effect ${number(effect, 3)}${known(se) ? ` ± ${number(se, 3)}` : ""}${tested ? `, q ${number(q, 3)}` : ""}`;
    put(grid, [
      el("div", { class: "label gene" }, D.symbols[symbol]),
      el(
        "div",
        { class: "track", role: "img", "aria-label": text, title: text },
        el("span", { class: "zero", css: { left: at(0, domain) } }),
        whisker(effect, se, domain, "var(--accent)"),
        mark("circle", effect, domain, "var(--accent)", text, tested && !sure),
      ),
      el("div", { class: "value" }, number(effect, 3)),
    ]);
  }
  return grid;
}

function geneNote(block) {
  const tested = block.rows.some((row) => known(row[4]));
  const pairs = block.rows.length ? Math.max(...block.rows.map((row) => row[5])) : 0;
  const kind = block.method === "de" ? "cells" : "pairs of cells";
  return el(
    "p",
    { class: "note" },
    METHODS[block.method] ? METHODS[block.method].says : "",
    ` Bars: standard error over ${count(pairs)} ${kind}. `,
    tested ? "Full dot: q < 0.05; hollow: not distinguishable from its null." : "No test against a null was made here.",
    ` ${count(block.rows.length)} of ${count(block.total)} genes.`,
  );
}

function ranks(compared) {
  const differs = (row) => {
    const places = row.slice(1).filter(known);
    return places.length > 1 && Math.min(...places) <= 5 && Math.max(...places) > 20;
  };
  const cell = (rank) => el("td", { class: rank === 1 ? "first" : rank <= 10 && known(rank) ? "top" : null }, known(rank) ? count(rank) : "–");
  const row = (one) =>
    el("tr", {}, el("th", { scope: "row", class: "gene" }, differs(one) && el("span", { class: "differ", title: "The methods disagree about this gene" }, "≠ "), D.symbols[one[0]]), one.slice(1).map(cell));
  return [
    el("h4", {}, "Do the methods agree?"),
    el(
      "table",
      { class: "ranks" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "rank by"), compared.methods.map((m) => el("th", { scope: "col", title: methodName(m) }, METHODS[m] ? METHODS[m].brief : m)))),
      el("tbody", {}, compared.rows.map(row)),
    ),
    compared.rows.some(differs) && el("p", { class: "note" }, "≠ among the first five by one method, below the first twenty by another."),
  ];
}

// Tabs as the ARIA pattern asks: arrows move, the chosen one alone is in the tab order.
function tabbed(id, items, title) {
  const place = el("div", { role: "tabpanel", id: `${id}-panel`, "aria-live": "polite" });
  const list = el("div", { class: "tabs", role: "tablist", "aria-label": title });
  const choose = (which, focus) => {
    [...list.children].forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === which));
      tab.tabIndex = i === which ? 0 : -1;
    });
    if (focus) list.children[which].focus();
    place.replaceChildren(...[items[which].draw()].flat().filter(Boolean));
  };
  items.forEach((item, i) => {
    const keys = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      choose((i + step + items.length) % items.length, true);
    };
    list.append(el("button", { type: "button", role: "tab", "aria-controls": place.id, onclick: () => choose(i), onkeydown: keys }, item.name));
  });
  choose(0);
  return items.length > 1 ? [list, place] : [place];
}

function genesPanel(concept) {
  const twice = (block) => concept.genes.filter((other) => other.method === block.method).length > 1;
  const items = concept.genes.map((block) => ({
    name: methodName(block.method) + (twice(block) ? ` (${ON[block.on] || block.on})` : ""),
    draw: () => [geneRows(block), geneNote(block)],
  }));
  return el(
    "div",
    { class: "panel" },
    el("h4", {}, "Genes that drive it"),
    items.length ? tabbed(`genes-${concept.latent}`, items, "Method") : el("p", { class: "note" }, "No genes were attributed to it."),
    concept.compared && ranks(concept.compared),
  );
}
