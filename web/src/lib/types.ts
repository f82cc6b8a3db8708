// The shapes of the files that the page reads (data/...) and of what the live server answers (api/...).
// Numbers that are not known are null; strings of the data are text and never markup.

export type Maybe = number | null;

export interface Metric {
  metric: string;
  value: Maybe;
  spread: Maybe;
  null: Maybe;
  n: Maybe;
  definition: string;
}

export interface Label {
  name: string;
  kind: "category" | "number";
  values: string[] | null;
  file: string;
  type: "uint8" | "uint16" | "float32";
}

export interface AtlasFacts {
  model?: unknown;
  model_detail?: string;
  site?: unknown;
  site_detail?: string;
  version?: string;
  dictionary?: unknown;
  cells?: unknown;
  seed?: Maybe;
  created?: string | null;
  versions?: Record<string, string>;
  granularity?: string | null;
}

export interface Manifest {
  schema: number;
  live: boolean;
  title: string;
  atlas: AtlasFacts;
  n_cells: number;
  n_concepts: number;
  n_alive: number;
  /** of those that are alive, the ones that are not residual */
  n_findings: number;
  n_genes: number;
  n_expression: number;
  has_pairs?: boolean;
  tests: string[];
  rankings: string[];
  /** of methods, what they are read on, and tests: how people read their names */
  titles?: Record<string, string>;
  gene_shard: number;
  term_shard: number;
  coactive_cells?: number;
  has_expression: boolean;
  /** how many of the model's genes the cells have and lack, genes that it does not read, and the share of counts in its genes */
  coverage?: { found: number; missing: number; unknown: number; counts?: number } | null;
  /** by which rule concepts come back, of how many pairs of halves or other seeds, from which share on, and how many do */
  reproducibility: { by: "halves" | "donors" | "seeds"; n: number; least: number; correlation: number; concepts: number } | null;
  labels: Label[];
  /** places of the labels that have a heat map */
  heatmaps: number[];
  /** the label that names donors, where the cells have one */
  donors?: string | null;
  metrics: Metric[];
  /** a sentence for each panel of quality: fidelity, reproducibility, stability, probe, annotation, alignment.LABEL */
  verdicts: Record<string, string>;
  /** what an audit of the atlas found */
  audit: Finding[];
  methods: [string, string][];
  card_shard: number;
  concept_columns: string;
  /** labels of the model’s own: its clusters, its components */
  bases: Label[];
  /** whether files have all genes of a concept, and not only those of its card */
  all_genes: boolean;
  /** names of the circuits; a file of the tree is known by the place of its name */
  circuits: string[];
  xy_bounds: [number, number, number, number];
  /** in a report: how many cells it draws, and what it leaves out, in words */
  report?: { cells: number; left_out: string[] };
}

export interface Finding {
  question: string;
  asks: string;
  verdict: "holds" | "doubtful" | "fails" | "not known";
  figures: string;
  where: string;
  remedy: string;
}

export interface Concepts {
  latent: number[];
  name: string[];
  density: Maybe[];
  mean: Maybe[];
  max: Maybe[];
  label: string[];
  f1: Maybe[];
  /** of the label: its name; the F1 of its null, and whether that is of calling every cell; q; activation from which on; cells */
  label_of?: string[];
  label_null?: Maybe[];
  label_every?: boolean[];
  label_q?: Maybe[];
  label_threshold?: Maybe[];
  label_n?: Maybe[];
  term: string[];
  /** the larger of q and null q */
  term_q: Maybe[];
  /** below 0: depleted, or driving by absence */
  term_statistic?: Maybe[] | null;
  gene: string[];
  gene_score?: Maybe[] | null;
  gene_q?: Maybe[] | null;
  named_by?: string[];
  /** how often it comes back, 0 to 1 */
  reproducibility: Maybe[] | null;
  /** whether it helps to reconstruct and is no finding */
  residual: boolean[];
  /** whether no cluster gives it */
  beyond_clusters: (boolean | null)[] | null;
  /** correlation of the activation with log total counts */
  depth_correlation: (number | null)[] | null;
  /** activation from which on it is on */
  threshold: Maybe[] | null;
  identity: Maybe[] | null;
  n_active: Maybe[];
}

/** gene number, effect, standard error, score (below 0: its absence drives the concept), q, n */
export type GeneRow = [number, Maybe, Maybe, Maybe, Maybe, Maybe];
/** term (number in terms.json), statistic (below 0: depleted), q, q against random genes, genes of the set, leading edge (genes by number, or symbols) */
export type TermRow = [number, Maybe, Maybe, Maybe, Maybe, (number | string)[]];

export interface Pathways {
  source: string;
  test: string;
  ranking: string;
  /** gene sets that the atlas keeps: those at p < 0.05 and the 20 of the lowest p */
  kept?: number;
  enriched?: number;
  depleted?: number;
  terms: TermRow[];
}

export interface Compare {
  methods: string[];
  rows: [number, ...Maybe[]][];
}

export interface Card {
  genes: Record<string, GeneRow[]>;
  compare?: Compare | null;
  pathways: Pathways[];
  /** value code, active cells of the value, cells of the value, mean activation */
  labels: Record<string, [number, number, number, Maybe][]>;
  histogram?: { edges: number[]; all: number[]; by: Record<string, Record<string, number[]>> } | null;
  /** the cells of the largest activations, with their labels: codes, or numbers */
  strongest?: { cells: number[]; names: string[]; values: Maybe[]; labels: Record<string, Maybe[]> };
  nearest: [number, Maybe][];
  coactive: [number, Maybe][];
  /** cell of the prototype, cell of the partner, kind, difference */
  pairs: [number, number, string, Maybe][];
  /** how many of them are real, where a report leaves some out */
  n_pairs?: number;
  /** gene, part of all activation, share of its tokens, mean, n */
  tokens?: [number, Maybe, Maybe, Maybe, Maybe][];
}

/** Concepts by the values of a label: rows and columns in their order, tables by row. */
export interface HeatMap {
  label: string;
  /** of the whole atlas */
  n_concepts: number;
  /** values that are not shown, and cells with any value */
  hidden: number;
  cells: number;
  codes: number[];
  sizes: number[];
  /** rows: first so many concepts, then residual latents */
  concepts: number;
  latents: number[];
  /** cells in which each is on; and of each value */
  on: number[];
  counts: number[][];
  mean: Maybe[][];
  f1: Maybe[][];
  null: Maybe[][];
}

export interface Genes {
  id: string[];
  symbol: string[];
  ensembl: (string | null)[] | null;
  alias?: (string | string[] | null)[] | null;
}

export interface Term {
  source: string;
  term: string;
  genes?: number[];
}

/** latent, place in the manifest's methods, score, q */
export type GeneConcept = [number, number, Maybe, Maybe];
/** latent, place in the manifest's tests, and rankings, statistic, q, q against random genes */
export type TermConcept = [number, number, number, Maybe, Maybe, Maybe];

/** of a gene, by label: code of a value, cells that have it, cells, mean over all, mean over those that have it */
export type GeneGroups = Record<string, [number, number, number, Maybe, Maybe][]>;

export interface Prototype {
  prototype: number;
  /** rows of genes: gene, count in the prototype, in the partner, difference of normalised expression */
  partners: { partner: number; differ: number; genes: [number, number, number, number][] }[];
}

/** The neurons of the site, each sign by itself: `axes` above their mean, then as many below. */
export interface Neurons {
  n: number;
  axes: number;
  /** cells over which they were compared with concepts */
  cells: number;
  /** by latent: neuron and correlation, the most alike first */
  alike: Record<string, [number, Maybe][]>;
}

export interface Sparse {
  cells: Uint32Array;
  values: Float32Array;
}

/** One revision of a note. A person's and a machine's are two histories, so that neither covers the other. */
export interface Revision {
  id: string;
  latent: number;
  by: "person" | "machine";
  who: string;
  when: string;
  label: string;
  text: string;
  confidence: Maybe;
  tags: string[];
  status: string;
  base: string | null;
  also?: string[];
  restores?: string | null;
  undoes?: string | null;
  /** revisions that no other follows either: two people wrote apart, and nobody has joined it yet */
  others?: Revision[];
}

export interface NoteState {
  latent: number;
  person: Revision | null;
  machine: Revision | null;
}

export type Content = Pick<Revision, "label" | "text" | "confidence" | "tags" | "status">;

export interface ConceptMark {
  latent: number;
  auc: Maybe;
  difference: Maybe;
  share_in: Maybe;
  share_out: Maybe;
  q: Maybe;
  donor_difference?: Maybe;
  donor_q?: Maybe;
}

export interface GeneMark {
  gene: number;
  difference: Maybe;
  t: Maybe;
  share_in: Maybe;
  share_out: Maybe;
  q: Maybe;
  donor_difference?: Maybe;
  donor_q?: Maybe;
}

/** How donors were compared: how many of each side, or why they could not be. */
export interface DonorTest {
  label: string;
  test: "paired" | "unpaired" | "none";
  n: [number, number];
  why: string;
}

export interface Marks {
  concepts: ConceptMark[];
  genes: GeneMark[] | null;
  donors?: DonorTest | null;
  /** how many concepts were looked at, where not all were */
  tried?: number;
}

export interface ReviewSession {
  id: string;
  when: string;
  ended: string | null;
  of: number;
  /** whether raters see which groups of cells an item has */
  labels: boolean;
  raters: { rater: string; done: number }[];
}

/** Where a rater is: how many items are done, and the code of the next, which does not say what it is. */
export interface ReviewPlace {
  done: number;
  of: number;
  code: string | null;
  ended: boolean;
  /** code of the item that was rated last, which may be rated anew */
  previous: string | null;
}

export interface ReviewItem {
  n: number;
  /** value, cells of the item, cells; null where they are hidden from raters */
  labels: Record<string, [string, number, number][]> | null;
  genes: GeneMark[] | null;
}

/** What was asked of which model about which cell; texts are empty where it is not known. */
export interface CircuitAsked {
  title: string;
  model: string;
  cell: string;
  cells: string;
  target: string;
  against: string;
  fingerprint: string;
  transcoders: string;
  answer: Maybe;
}

export interface CircuitScore {
  of: string;
  replacement: Maybe;
  replacement_sd: Maybe;
  completeness: Maybe;
  completeness_sd: Maybe;
  n: Maybe;
}

export interface CircuitListed extends CircuitAsked {
  name: string;
  /** of many cells of one label */
  is_class: boolean;
  scores: CircuitScore[];
  /** why it cannot be shown */
  wrong: string;
}

export interface CurveRow {
  test: string;
  run: string;
  size: number;
  share: number;
  random: Maybe;
  random_low: Maybe;
  random_high: Maybe;
}

export type CircuitKind = "feature" | "error" | "token" | "answer";

export interface CircuitView {
  about: CircuitAsked;
  layers: number;
  tokens: string[];
  genes: string[];
  names: string[];
  /** total: of the row; bias, rest and more: what of it biases, what the graph left out, and edges that are not listed add */
  nodes: {
    kind: CircuitKind[];
    layer: number[];
    position: number[];
    feature: number[];
    value: Maybe[];
    label: string[];
    influence: number[];
    total: Maybe[];
    bias: Maybe[];
    rest: Maybe[];
    more: Maybe[];
    more_in: number[];
    more_out: number[];
  };
  /** over all paths, by answer and node */
  effects: Maybe[][];
  /** by falling score, which is how much the edge matters to the answers */
  edges: { source: number[]; target: number[]; weight: number[]; score: number[] };
  answers: { node: number; weight: Maybe }[];
  paths: { line: string; nodes: number[]; effect: Maybe }[][];
  scores: CircuitScore[];
  curve: CurveRow[];
  heads: CircuitHeads | null;
  table: Record<CircuitPart, CircuitRow[]>;
  checks: { columns: string[]; rows: Record<string, Maybe[]> };
  of: { features: number; errors: number; tokens: number; edges: number; before: { features: Maybe; errors: Maybe } | null };
  /** groups of features, by layer and number, that the graph came with */
  groups: { name: string; features: [number, number][] }[];
  /** by name of a feature, what `cellglass circuits features` says of it */
  explained: Record<string, { why: string; frequency: Maybe; genes: string; source: string; term: string; null_q: Maybe; label_column: string; label: string; f1: Maybe; f1_null: Maybe }>;
  /** numbers of the features of which it is known what they fire on */
  details: number[];
}

/** Tables of what a circuit says first; `without`: genes by what a deletion takes through features. */
export type CircuitPart = "genes" | "features" | "heads" | "without";

/** One row of what a circuit says first; of a class also spread, share and contrast. */
export interface CircuitRow {
  name: string;
  /** of a feature, by machine; "" of others */
  called: string;
  /** genes at which a feature is active, or a head looks */
  at: string[];
  effect: Maybe;
  effect_sd?: Maybe;
  share?: Maybe;
  other_effect?: Maybe;
  difference?: Maybe;
  difference_se?: Maybe;
  /** of a gene, what its deletion takes through features */
  lost?: Maybe;
  lost_sd?: Maybe;
}

/** Attention heads of a graph, those of largest effect first: another way to take the answer apart than by other nodes. */
export interface CircuitHeads {
  layer: number[];
  head: number[];
  /** on the first answer, over all paths; what of it is direct */
  effect: Maybe[];
  direct: Maybe[];
  share?: Maybe[];
  effect_sd?: Maybe[];
  other_effect?: Maybe[];
  difference?: Maybe[];
  difference_se?: Maybe[];
  /** of each head: token that it looks at, and effect by way of it */
  seen: [number, number][][];
  /** of each head: node that it reads, and weight; with more they add up to the effect */
  reads: [number, number][][];
  more: Maybe[];
  /** of each head: node that it feeds last, and weight */
  to: [number, number][][];
  looks: { head: number; query: number; key: number; effect: number; share: number; score: number; pairs: [string, string, Maybe][] }[];
  /** edges by the last head that they pass (a place in these lists, -1: none) */
  parts: { target: number[]; source: number[]; head: number[]; weight: number[] };
}

export interface FeatureDetails {
  groups: { name: string; all: number; examples: { tokens: string[]; values: Maybe[] }[] }[];
  top: string[];
  bottom: string[];
  frequency: Maybe;
  max: Maybe;
}
