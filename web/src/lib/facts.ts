// What the manifest says of model, site and dictionary, in plain words. It comes as "kind (key value, key value)".

const KINDS: Record<string, string> = {
  scvi: "scVI", scgpt: "scGPT", geneformer: "Geneformer", cell2sentence: "Cell2Sentence", embedding: "an embedding",
  matryoshka: "Matryoshka sparse autoencoder", matryoshka_batchtopk: "Matryoshka BatchTopK sparse autoencoder", topk: "TopK sparse autoencoder",
  batchtopk: "BatchTopK sparse autoencoder", jumprelu: "JumpReLU sparse autoencoder", gated: "gated sparse autoencoder", archetypal: "archetypal sparse autoencoder",
  crosslayer: "cross-layer transcoder", ica: "ICA", pca: "PCA", nmf: "NMF", random: "random directions", neurons: "the neurons themselves",
};

const WORDS: Record<string, (value: string, all: Map<string, string>) => string> = {
  genes: (v) => `${v} genes`,
  genes_found: (v, all) => (v === all.get("genes") ? "all known to it" : `${v} of them known to it`),
  genes_missing: () => "",
  genes_unknown: (v) => (v === "0" ? "" : `${v} unknown to it`),
  granularity: (v) => (v === "token" ? "read at each gene token" : `read once for each ${v}`),
  width: (v) => `${v} numbers wide`,
  latents: (v) => `${v} concepts`,
  n_latents: (v) => `${v} concepts`,
  k: (v) => `${v} active at once`,
  n_hidden: (v) => `${v} hidden units`,
  n_latent: (v) => `${v} latent dimensions`,
  epochs: (v) => `${v} epochs`,
};

export function plain(text: string): string {
  const parts = /^(\S+)(?: \((.*)\))?$/.exec(text.trim());
  if (!parts) return text;
  const facts = new Map((parts[2] ?? "").split(", ").filter(Boolean).map((one) => one.split(/ (.*)/s).slice(0, 2) as [string, string]));
  const said = [...facts].map(([key, value]) => (WORDS[key] ? WORDS[key](value ?? "", facts) : `${key.replaceAll("_", " ")} ${value ?? ""}`.trim()));
  return [KINDS[parts[1].toLowerCase()] ?? parts[1], ...said.filter(Boolean)].join(", ");
}
