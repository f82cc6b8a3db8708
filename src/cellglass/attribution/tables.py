"""The rows of ``genes.parquet``: one for each method, readout, concept and gene that was measured. Computes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cellglass.attribution.statistics import GeneStatistics
from cellglass.errors import InputError

Array = np.ndarray[Any, Any]

MEASURED: dict[str, Any] = {
    "concept": np.int32,
    "gene": object,
    "effect": np.float32,
    "se": np.float32,
    "score": np.float32,
    "q": np.float32,
    "n": np.int32,
}
"""What a method gives."""
GENE_COLUMNS: dict[str, Any] = {"method": object, "on": object, **MEASURED}


GAP_COLUMNS: dict[str, Any] = {
    "concept": np.int32, "on": object, "kind": object, "n": np.int32, "median": np.float32, "max": np.float32,
}  # fmt: skip


def rows_of(concept: int, gene: Array, **numbers: Array) -> pd.DataFrame:
    """Return the rows of one concept as a method gives them: effect, se, score, q and n of each gene."""
    columns = {"concept": np.full(len(gene), concept), "gene": gene, **numbers}
    return pd.DataFrame({name: columns[name].astype(kind) for name, kind in MEASURED.items()})


def statistics_rows(concept: int, genes: Array, statistics: GeneStatistics, n: Array, change: Array) -> pd.DataFrame:
    """Return the rows of genes with ``n > 0`` (pairs or prototypes in which the gene could be changed), by position.

    ``score`` is the effect with the sign of `change`, by how much prototypes exceed partners: a gene that the concept
    loses when its count falls to the partner's is at the top, one that it loses when its count rises at the bottom.
    """
    seen = n > 0
    effect = statistics.effect[seen]
    score = np.where(change[seen] < 0, -effect, effect)
    return rows_of(
        concept, genes[seen], effect=effect, se=statistics.se[seen], score=score, q=statistics.q[seen], n=n[seen]
    )


def stamped(rows: pd.DataFrame, method: str, on: str) -> pd.DataFrame:
    """Return what `method` gave on the readout `on` with the columns and types of `GENE_COLUMNS`."""
    missing = [name for name in MEASURED if name not in rows]
    if missing:
        raise InputError(f"the attribution method {method!r} gave a table without {', '.join(missing)}; mend it")
    said = {name: np.full(len(rows), value, dtype=object) for name, value in (("method", method), ("on", on))}
    return pd.DataFrame({**said, **{name: rows[name].to_numpy().astype(kind) for name, kind in MEASURED.items()}})


def joined(frames: list[pd.DataFrame], columns: dict[str, Any]) -> pd.DataFrame:
    """Return the frames under each other, with the columns and types given even where there are no rows."""
    if frames:
        return pd.concat(frames, ignore_index=True)
    return pd.DataFrame({name: np.empty(0, dtype=kind) for name, kind in columns.items()})
