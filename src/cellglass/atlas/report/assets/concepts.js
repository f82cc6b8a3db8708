// The list of concepts and their cards: one search and one order for both.

const COLUMNS = [
  { key: "latent", name: "#", value: (c) => c.latent },
  { key: "name", name: "Concept", value: (c) => c.name.toLowerCase() },
  { key: "density", name: "Cells", value: (c) => -(c.density ?? 0) },
  // How many other seeds find it too; known only where several ran.
  ...(D.atlas.consensus ? [{ key: "found", name: "Seeds", value: (c) => -(c.found + (c.agrees ?? 0) / 10) }] : []),
  { key: "f1", name: "Best label, F1", value: (c) => -(c.f1 ?? -1) },
  { key: "genes", name: "Top genes" },
  { key: "term", name: "Best term", value: (c) => c.term.toLowerCase() || "￿" },
];

const topGenes = (concept) => (concept.genes.length ? concept.genes[0].rows.slice(0, 5).map((row) => D.symbols[row[0]]) : [concept.gene].filter(Boolean));

function haystack(concept) {
  const genes = concept.genes.flatMap((block) => block.rows.map((row) => D.symbols[row[0]]));
  const found = concept.pathways.flatMap((block) => block.rows.map((row) => D.terms[row[0]]));
  return [`#${concept.latent}`, concept.name, concept.label, concept.term, concept.gene, ...new Set([...genes, ...found])].join("\n").toLowerCase();
}

function listRow(concept) {
  const bar = (share) => el("span", { class: "meter", "aria-hidden": "true" }, el("i", { css: { width: percent(share).replace(" ", "") } }));
  return el(
    "tr",
    {},
    el("td", { class: "num soft" }, concept.latent),
    el("td", {}, el("a", { href: `#concept-${concept.latent}` }, concept.name)),
    el("td", { class: "num", "data-name": "cells" }, bar(concept.density), concept.density ? percent(concept.density) : "silent"),
    D.atlas.consensus && el("td", { class: "num", "data-name": "other seeds" }, foundIn(concept), concept.again && el("span", { class: "again", title: AGAIN }, " ✓")),
    el("td", { "data-name": "label" }, known(concept.f1) && [bar(concept.f1), el("span", { class: "num" }, number(concept.f1)), ` ${concept.label}`]),
    el("td", { class: "genes", "data-name": "genes" }, topGenes(concept).join(", ")),
    el("td", { "data-name": "term" }, concept.term),
  );
}

function conceptsSection() {
  const items = D.concepts.map((concept, index) => ({ concept, text: haystack(concept), row: listRow(concept), ...card(concept, index) }));
  const body = el("tbody", {}, items.map((item) => item.row));
  const cards = el("div", {}, items.map((item) => item.node));
  const status = el("p", { class: "note", role: "status" });
  const search = el("input", { type: "search", id: "search", placeholder: "Search names, genes, terms, labels", "aria-label": "Search concepts by name, gene, term or label", autocomplete: "off", spellcheck: "false" });
  const only = D.atlas.consensus && el("input", { type: "checkbox", id: "again" });
  let order = { key: "latent", down: false };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const item of items) {
      item.hidden = !words.every((word) => item.text.includes(word)) || Boolean(only && only.checked && !item.concept.again);
      item.row.classList.toggle("hidden", item.hidden);
      item.node.classList.toggle("hidden", item.hidden);
      if (!item.hidden) left++;
    }
    status.textContent = left < items.length || words.length ? `${count(left)} of ${count(items.length)} concepts match` : `${count(items.length)} concepts`;
  };
  const arrange = (key) => {
    order = { key, down: order.key === key && !order.down };
    const value = COLUMNS.find((column) => column.key === key).value;
    const sign = order.down ? -1 : 1;
    items.sort((a, b) => {
      const [x, y] = [value(a.concept), value(b.concept)];
      return x < y ? -sign : x > y ? sign : a.concept.latent - b.concept.latent;
    });
    body.append(...items.map((item) => item.row));
    cards.append(...items.map((item) => item.node));
    for (const [column, th] of headers) {
      const mine = column.key === key;
      if (column.value) th.setAttribute("aria-sort", mine ? (order.down ? "descending" : "ascending") : "none");
      if (column.value) th.firstChild.dataset.arrow = mine ? (order.down ? "↑" : "↓") : "";
    }
  };
  const headers = COLUMNS.map((column) => [
    column,
    el("th", { scope: "col" }, column.value ? el("button", { type: "button", onclick: () => arrange(column.key) }, column.name) : el("span", {}, column.name)),
  ]);
  search.addEventListener("input", filter);
  if (only) only.addEventListener("change", filter);
  put($("concepts"), [
    el("h2", { id: "concepts-title" }, "The concepts"),
    el("p", { class: "soft" }, "Names were put together by the machine from the best gene set, the best label and the top gene. They are a first guess: read the genes and look at the cells."),
    el("div", { class: "tools" }, search, only && el("label", { class: "field", for: "again" }, only, `Only the ${count(D.atlas.consensus.concepts)} that most other seeds find too`), status),
    el("div", { class: "list", tabindex: "0", role: "region", "aria-label": "List of concepts" }, el("table", {}, el("thead", {}, el("tr", {}, headers.map(([, th]) => th))), body)),
    cards,
  ]);
  order.down = true;
  arrange("latent");
  filter();
  return items;
}
