// What the manifest says of model, site and dictionary, in plain words. It comes as "kind (key value, key value)".

import { title } from "./words";

const WORDS: Record<string, (value: string, all: Map<string, string>) => string> = {
  genes: (v) => `${v} genes`,
  genes_found: (v, all) => (v === all.get("genes") ? "all known to it" : `${v} of them known to it`),
  genes_missing: () => "",
  genes_unknown: (v) => (v === "0" ? "" : `${v} unknown to it`),
  granularity: (v) => (v === "token" ? "read at each gene token" : `read once for each ${v}`),
  width: (v) => `${v} numbers wide`,
  latents: (v) => `${v} latents`,
  n_latents: (v) => `${v} latents`,
  k: (v) => `${v} active at once`,
  n_hidden: (v) => `${v} hidden units`,
  n_latent: (v) => `${v} latent dimensions`,
  epochs: (v) => `${v} epochs`,
};

/** The title of a kind, however it is written; an unknown one as it is. */
function titled(kind: string): string {
  const lower = kind.toLowerCase();
  return title(lower) === lower ? kind : title(lower);
}

export function plain(text: string): string {
  const parts = /^(\S+)(?: \((.*)\))?$/.exec(text.trim());
  if (!parts) return text;
  const facts = new Map((parts[2] ?? "").split(", ").filter(Boolean).map((one) => one.split(/ (.*)/s).slice(0, 2) as [string, string]));
  const said = [...facts].map(([key, value]) => (WORDS[key] ? WORDS[key](value ?? "", facts) : `${key.replaceAll("_", " ")} ${value ?? ""}`.trim()));
  return [titled(parts[1]), ...said.filter(Boolean)].join(", ");
}
