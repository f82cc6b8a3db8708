"""The rows of ``genes.parquet``: one for each method, readout, concept and gene that was measured. Computes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cellglass.attribution.expression import Expression
from cellglass.attribution.statistics import GeneStatistics

Array = np.ndarray[Any, Any]

GENE_COLUMNS = {
    "method": object,
    "on": object,
    "concept": np.int32,
    "gene": object,
    "effect": np.float32,
    "se": np.float32,
    "score": np.float32,
    "q": np.float32,
    "n": np.int32,
}


def statistics_rows(
    method: str, on: str, concept: int, genes: Array, statistics: GeneStatistics, n: Array, change: Array
) -> pd.DataFrame:
    """Return the rows of genes with ``n > 0`` (pairs or prototypes in which the gene could be changed), by position.

    ``score`` is the effect with the sign of `change`, by how much prototypes exceed partners: a gene that the concept
    loses when its count falls to the partner's is at the top, one that it loses when its count rises at the bottom.
    """
    seen = n > 0
    effect = statistics.effect[seen]
    score = np.where(change[seen] < 0, -effect, effect)
    return _rows(method, on, concept, genes[seen], effect, statistics.se[seen], score, statistics.q[seen], n[seen])


def expression_rows(concept: int, genes: Array, found: Expression) -> pd.DataFrame:
    """Return differential expression's rows: all genes. ``se`` is NaN, for a fold change of means has none here."""
    nothing = np.full(len(genes), np.nan, dtype=np.float32)
    n = np.full(len(genes), found.n)
    return _rows("de", "expression", concept, genes, found.fold, nothing, found.t, found.q, n)


def joined(frames: list[pd.DataFrame], columns: dict[str, Any]) -> pd.DataFrame:
    """Return the frames under each other, with the columns and types given even where there are no rows."""
    if frames:
        return pd.concat(frames, ignore_index=True)
    return pd.DataFrame({name: np.empty(0, dtype=kind) for name, kind in columns.items()})


def _rows(method: str, on: str, concept: int, genes: Array, *numbers: Array) -> pd.DataFrame:
    frame = {
        "method": np.full(len(genes), method, dtype=object),
        "on": np.full(len(genes), on, dtype=object),
        "concept": np.full(len(genes), concept, dtype=np.int32),
        "gene": genes,
    }
    names = ("effect", "se", "score", "q", "n")
    frame.update({name: x.astype(GENE_COLUMNS[name]) for name, x in zip(names, numbers, strict=True)})
    return pd.DataFrame(frame)
