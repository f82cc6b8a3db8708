// The data of the page, unpacked once: layout, labels and activations as typed arrays.

const D = JSON.parse($("data").textContent);

function unpack(packed) {
  const text = atob(packed.data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  if (packed.bytes === 1) return bytes;
  const view = new DataView(bytes.buffer);
  const n = bytes.length / packed.bytes;
  const out = packed.bytes === 2 ? new Uint16Array(n) : new Uint32Array(n);
  for (let i = 0; i < n; i++) out[i] = packed.bytes === 2 ? view.getUint16(2 * i, true) : view.getUint32(4 * i, true);
  return out;
}

const X = unpack(D.x);
const Y = unpack(D.y);
const CELLS = X.length;
const ACTIVE = { starts: D.activations.starts, cells: unpack(D.activations.cells), values: unpack(D.activations.values) };
for (const label of D.labels) label.codes = unpack(label.codes);

// The label that colours the cells and splits the histograms; the reader may choose another.
const metricLabels = new Set(D.metrics.filter((m) => m.metric.startsWith("alignment.")).map((m) => m.metric.split(".")[1]));
const state = {
  label: D.labels.find((label) => metricLabels.has(label.name)) || D.labels[0] || null,
  highlight: null,
  printing: false,
};

function activeCells(index) {
  const from = ACTIVE.starts[index];
  const to = ACTIVE.starts[index + 1];
  return { cells: ACTIVE.cells.subarray(from, to), values: ACTIVE.values.subarray(from, to) };
}

const METHODS = {
  path: {
    name: "Path",
    brief: "Path",
    says: "Walking from a cell without the concept to one that has it, the share of the rise that each gene accounts for (integrated gradients).",
  },
  swap: { name: "Swap", brief: "Swap", says: "The share of the concept’s activation that is lost when this one gene takes the count of a similar cell without the concept." },
  knockout: { name: "Knock-out", brief: "KO", says: "The share of the concept’s activation that is lost when this one gene’s count is set to zero." },
  de: { name: "Expression", brief: "DE", says: "Differential expression between cells with and without the concept, as a comparison: it does not ask the model. Ranked by its t statistic." },
};
const ON = { activation: "activation", preactivation: "pre-activation", expression: "expression" };
const methodName = (method) => (METHODS[method] ? METHODS[method].name : method);
const TESTS = { gsea: "GSEA", ulm: "ULM", ora: "ORA" };
const BASES = {
  concepts: { name: "concepts", shape: "circle" },
  site: { name: "the whole site", shape: "diamond" },
  counts: { name: "PCA of the counts, no model", shape: "square" },
  neurons: { name: "neurons", shape: "diamond" },
  pca: { name: "PCA", shape: "square" },
  ica: { name: "ICA", shape: "triangle" },
  nmf: { name: "NMF", shape: "square" },
  random: { name: "random directions", shape: "cross" },
  null: { name: "null", shape: "bar" },
};
const MODELS = { scvi: "scVI", embedding: "an embedding", geneformer: "Geneformer", scgpt: "scGPT", cell2sentence: "Cell2Sentence" };
