"""Schema version 1 of an atlas: the names of its parts, their columns and types, and the encodings that parts state.

Pure description; ``checks.py`` says what does not fit it. A change that an older reader would misread raises the major
version of that part's encoding, or `SCHEMA_VERSION` where it is of the atlas as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

SCHEMA_VERSION = 1

MANIFEST = "manifest.json"
CONCEPTS = "concepts.zarr"
EXPRESSION = "expression.zarr"
TOTAL = "total"
"""Column of ``obs`` of expression.zarr: the sum of the counts of each cell; not in atlases from before it was added."""
GENES = "genes.parquet"
PATHWAYS = "pathways.parquet"
TOKENS = "tokens.parquet"
PAIRS = "pairs.parquet"
EVALUATION = "evaluation.json"
DICTIONARIES = "dictionaries"
CIRCUITS = "circuits"
"""Graphs that were traced, each with a picture and its genes beside it; no stage writes there."""
CLASS_CIRCUITS = "circuits/classes"
"""Circuits of many cells of a label, each with its tables and a picture beside it."""
PARTNERS = "partners.csv"
"""Which concepts get other genes with matched partners, where `cellglass partners` was asked; no stage writes it."""
ANNOTATIONS = "annotations.sqlite"
REPORT = "report.html"

WORK = "work/"
"""What only the pipeline needs; a user may delete it. Readers look there for what follows, and do without it."""
CELLS = "work/cells"
MODEL = "work/model"
ACTIVATIONS = "work/activations"
GAPS = "work/attribution/gaps.parquet"
SCREENS = "work/attribution/screens.parquet"

OPTIONAL = (EXPRESSION, REPORT, DICTIONARIES, CIRCUITS, WORK.rstrip("/"))
"""What an atlas may lack, by choice or because a user deleted it. Readers do without it, or say what needs it."""


def may_be_missing(part: str) -> bool:
    """Say whether a part (a path inside an atlas) belongs to what an atlas may lack."""
    return part.split("/")[0] in OPTIONAL


class Encoding(NamedTuple):
    """What a part says of itself, under the keys `ENCODING_KEYS`; one that says nothing is of version 1."""

    type: str
    version: str = "1.0.0"


ENCODING_KEYS = ("encoding-type", "encoding-version")
"""As anndata has them. Parquet has them in its key-value metadata; for a JSON file the manifest has them, since a list
of records has no place for them. zarr folders are anndata's and state its encodings."""


class Table(NamedTuple):
    """The columns of a table with their types, those that may be left out, and its encoding."""

    columns: Mapping[str, str]
    optional: Mapping[str, str]
    encoding: Encoding

    @property
    def types(self) -> dict[str, str]:
        """Every column with its type."""
        return {**self.columns, **self.optional}

    def among(self, names: Iterable[object]) -> dict[str, str]:
        """Return the columns to write of a table that has columns `names`: the needed ones, and optional ones of it."""
        there = set(names)
        return {**self.columns, **{name: kind for name, kind in self.optional.items() if name in there}}


GENES_COLUMNS: Mapping[str, str] = {
    "method": "str",
    "on": "str",
    "concept": "int32",
    "gene": "str",
    "effect": "float32",
    "se": "float32",
    "score": "float32",
    "q": "float32",
    "n": "int32",
}
"""Columns of genes.parquet. One row for each measured pair of concept and gene."""

PATHWAYS_COLUMNS: Mapping[str, str] = {
    "concept": "int32",
    "source": "str",
    "term": "str",
    "test": "str",
    "ranking": "str",
    "statistic": "float32",
    "p": "float32",
    "q": "float32",
    "null_q": "float32",
    "n_genes": "int32",
    "leading_edge": "str",
}
"""Columns of pathways.parquet. One row for each concept, term, test and ranking."""

TOKENS_COLUMNS: Mapping[str, str] = {
    "concept": "int32",
    "gene": "str",
    "mean": "float32",
    "active": "float32",
    "part": "float32",
    "n": "int32",
}
"""Columns of tokens.parquet, where a site has one row for each gene of a cell: one row for each concept and gene on
whose tokens it is active."""

PAIRS_COLUMNS: Mapping[str, str] = {
    "concept": "int32",
    "prototype": "int64",
    "partner": "int64",
    "kind": "str",
    "difference": "float32",
}
"""Columns of pairs.parquet: cells by position, ``kind`` real or null, and the share of the prototype's readout that the
partner lacks; ``gap`` is that of its path. One row for each pair."""

GAPS_COLUMNS: Mapping[str, str] = {
    "concept": "int32",
    "on": "str",
    "kind": "str",
    "n": "int32",
    "median": "float32",
    "max": "float32",
}
"""Columns of `GAPS`, from which the evaluation says how complete path effects are: the gaps of ``n`` pairs."""

SCREENS_COLUMNS: Mapping[str, str] = {
    "concept": "int32",
    "screen": "str",
    "pairs": "int32",
    "differing": "int32",
    "chosen": "int32",
    "share": "float32",
    "recall": "float32",
}
"""Columns of `SCREENS`: one row for each checked concept and screen. ``pairs`` were swept whole, ``differing`` genes
differ in them, ``chosen`` were picked, which take ``share`` of the runs and hold ``recall`` of the true top genes."""

SYMBOL: Mapping[str, str] = {"symbol": "str"}
TABLES: Mapping[str, Table] = {
    GENES: Table(GENES_COLUMNS, SYMBOL, Encoding("cellglass.genes")),
    PATHWAYS: Table(PATHWAYS_COLUMNS, {}, Encoding("cellglass.pathways")),
    TOKENS: Table(TOKENS_COLUMNS, SYMBOL, Encoding("cellglass.tokens")),
    PAIRS: Table(PAIRS_COLUMNS, {"gap": "float32"}, Encoding("cellglass.pairs")),
}

METRIC_FIELDS = ("metric", "value", "spread", "null", "n", "definition")
"""Fields of each record of evaluation.json."""

JSON_ENCODINGS: Mapping[str, Encoding] = {EVALUATION: Encoding("cellglass.evaluation")}

CONCEPT_COLUMNS: Mapping[str, str] = {
    "latent": "int32",
    "density": "float32",
    "mean_activation": "float32",
    "max_activation": "float32",
    "best_label": "str",
    "best_label_f1": "float32",
    "best_term": "str",
    "top_gene": "str",
    "name_by": "str",
}
"""Columns of ``var`` of concepts.zarr; its index holds the concepts' unique names."""

TERM_CONCEPT_COLUMNS: Mapping[str, str] = {"best_term_q": "float32"}
"""Column that ``var`` has beside where the q-value of the gene set that names a concept was noted."""

SIGNED_CONCEPT_COLUMNS: Mapping[str, str] = {
    "best_term_statistic": "float32",
    "best_term_test": "str",
    "top_gene_score": "float32",
    "top_gene_q": "float32",
    "absent_gene": "str",
    "absent_gene_score": "float32",
    "absent_gene_q": "float32",
}
"""Columns that ``var`` has beside, all or none: the sign of the gene set that names a concept (below 0: depleted) and
its test; score and q of ``top_gene``, which drives the concept by its presence; and the gene that does by its absence,
whose score is below 0."""

LABEL_CONCEPT_COLUMNS: Mapping[str, str] = {
    "best_label_column": "str",
    "best_label_null": "float32",
    "best_label_q": "float32",
    "best_label_n": "int32",
    "threshold": "float32",
}
"""Columns that ``var`` has beside, all or none: the obs column of ``best_label``, its F1 under permuted labels, its q,
cells of that value on the scoring half; and the activation from which on the concept is on."""

REPRODUCIBILITY_COLUMNS: Mapping[str, str] = {"reproducibility": "float32", "residual": "bool"}
"""Columns that ``var`` has beside, all or none (none where nothing is known): how often the concept comes back, 0 to 1,
as `UNS_REPRODUCIBILITY` says; and whether the latent is residual: it helps to reconstruct, and is no finding."""

READOUT_CONCEPT_COLUMNS: Mapping[str, str] = {"cluster_correlation": "float32", "agreement": "float32"}
"""Columns that ``var`` has beside, all or none, of a consensus dictionary: correlation of the concept with the cluster
of a half of the cells that is most like it, mean over halves; and how far its latent agrees with the consensus (F1)."""

TOKEN_CONCEPT_COLUMNS: Mapping[str, str] = {"gene_identity": "float32"}
"""Column that ``var`` has beside where the site has one row for each gene of a cell."""

DEPTH_CONCEPT_COLUMNS: Mapping[str, str] = {"depth_correlation": "float32"}
"""Column that ``var`` has beside where cells have counts: correlation of the activation with log total counts."""

OPTIONAL_CONCEPT_COLUMNS = (
    TERM_CONCEPT_COLUMNS,
    SIGNED_CONCEPT_COLUMNS,
    LABEL_CONCEPT_COLUMNS,
    REPRODUCIBILITY_COLUMNS,
    READOUT_CONCEPT_COLUMNS,
    TOKEN_CONCEPT_COLUMNS,
    DEPTH_CONCEPT_COLUMNS,
)

LAYOUT = "X_umap"
"""Key of ``obsm`` of concepts.zarr: where each cell is drawn, float32 (cells, 2)."""
MEANS = "mean"
"""Layer of concepts.zarr where X holds the largest activation over the genes of a cell: their mean."""

UNS_MODEL = "model"
"""Key of ``uns`` of concepts.zarr: ``kind``, ``genes``, ``fingerprint`` and `UNS_COVERAGE` of the model."""
UNS_COVERAGE = "coverage"
"""Within `UNS_MODEL`, how the genes of the cells meet the model's; absent of an embedding, which no gene enters."""
COVERAGE_FIELDS = ("found", "missing", "unknown", "counts")
"""How many of the model's genes the cells have and lack, how many genes of the cells it does not read, and the share of
the cells' counts that lie in the model's genes (absent in atlases of older versions)."""
UNS_SITE = "site"
"""``name``, ``width`` and, of tokens, ``granularity`` of the site; or its name alone."""
UNS_DICTIONARY = "dictionary"
"""``kind`` and number of ``latents``."""
UNS_CELLS = "cells"
"""Where the counts came from."""
UNS_GENE_SETS = "gene_sets"
"""``sources``, the names of the gene sets that were tested (there may be none), and ``mapped``, those whose human genes
were taken by their one-to-one orthologs in mouse."""
UNS_REPRODUCIBILITY = "reproducibility"
"""What `REPRODUCIBILITY_COLUMNS` say: ``by``, ``halves`` (share of pairs of halves of the cells in both of which the
concept is found), ``donors`` (the same, of halves that share no donor) or ``seeds`` (share of the other seeds'
dictionaries); ``n``, the number of those; ``least``, the share from which on a concept counts as one that comes back;
``correlation``, from which on it counts as found."""

STAGE_STATES = ("done", "running")
