"""What stands beside each concept's best label and its name, and in which order concepts are listed.

An F1 says nothing by itself: calling every cell gives a label that most cells have a high one. Opens no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cellglass.vocabulary import SIGNIFICANT, in_order

Array = np.ndarray[Any, Any]

STATED = {
    "column": "best_label_column",
    "threshold": "threshold",
    "null": "best_label_null",
    "q": "best_label_q",
    "n": "best_label_n",
}
"""What an atlas may state itself, and in which columns of ``var``."""


def label_sizes(obs: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return, for each column of categories or text, how many cells have each value."""
    found = {}
    for name, column in obs.items():
        if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object or column.dtype == bool:
            counts = column.astype(object).dropna().map(str).value_counts()
            found[str(name)] = {str(value): int(n) for value, n in counts.items()}
    return found


def label_evidence(var: pd.DataFrame, sizes: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    """Return what is known of the F1 of each concept's best label.

    Parameters
    ----------
    var : pandas.DataFrame
        The table of concepts; what it states itself (`STATED`) is taken over.
    sizes : mapping
        Label -> value -> number of cells; see `label_sizes`.

    Returns
    -------
    pandas.DataFrame
        With the index of `var`: ``column``, the label's name (text, empty: none); ``null``, the F1 that the atlas
        states for shuffled labels, or else that of calling every cell, 2 p / (1 + p) with p the value's share of the
        labelled cells; ``every``, whether it is the latter; ``q``; ``threshold``, the activation from which on the
        concept counts as on; ``n``, cells with the value. NaN where it is not known or there is no label.
    """
    values = ["" if value is None or value != value else str(value) for value in var["best_label"].tolist()]
    named = var[STATED["column"]].tolist() if STATED["column"] in var else [""] * len(var)
    rows = []
    for value, stated in zip(values, named, strict=True):
        column = str(stated) if stated in sizes else next((name for name, of in sizes.items() if value in of), "")
        n = sizes.get(column, {}).get(value, 0) if value else 0
        share = n / sum(sizes[column].values()) if n else np.nan
        rows.append((column if n else "", 2 * share / (1 + share), n or np.nan))
    found = pd.DataFrame(rows, index=var.index, columns=["column", "null", "n"])
    found["every"] = True
    for name in ("null", "q", "threshold", "n"):
        if STATED[name] in var:
            stated = var[STATED[name]].astype(np.float64)
            found[name] = stated.where(stated.notna(), found[name]) if name in found else stated
            if name == "null":
                found["every"] = var[STATED[name]].isna()
        elif name not in found:
            found[name] = np.nan
    return found


def opening(pathways: pd.DataFrame) -> tuple[str, str]:
    """Return the test and the ranking of a table of gene sets that are shown first, and that names are taken from."""
    pairs = pathways[["test", "ranking"]].drop_duplicates().astype(str).itertuples(index=False, name=None)
    return min(pairs, key=lambda pair: (in_order(pair[0]), in_order(pair[1])))


def surest(q: Array, null_q: Array) -> Array:
    """Return by what gene sets are ordered: significant ones (both below 0.05) by q, since null_q is coarse.

    The others follow by the larger of the two, last those of which one is unknown.
    """
    worse = np.maximum(q, null_q)
    order: Array = np.where(worse < SIGNIFICANT, q - 1, worse)
    return order


def named_gene(var: pd.DataFrame) -> pd.DataFrame:
    """Return the gene that stands for each concept: the stronger of its two that is significant, or else ``top_gene``.

    Returns
    -------
    pandas.DataFrame
        With the index of `var`: ``gene``, ``score`` (below 0: it drives the concept by its absence) and ``q``; NaN
        where an older atlas does not state them.
    """
    found = pd.DataFrame({"gene": var["top_gene"], "score": np.nan, "q": np.nan}, index=var.index)
    if "top_gene_q" not in var:
        return found
    found["score"], found["q"] = var["top_gene_score"], var["top_gene_q"]
    top, absent = (
        var[f"{end}_gene_score"].abs().where(var[f"{end}_gene_q"] < SIGNIFICANT, -1.0).fillna(-1.0)
        for end in ("top", "absent")
    )
    other = absent > top
    for name, column in (("gene", "absent_gene"), ("score", "absent_gene_score"), ("q", "absent_gene_q")):
        found[name] = found[name].astype(object).where(~other, var[column].astype(object))
    return found.astype({"score": np.float64, "q": np.float64})


def leading_order(var: pd.DataFrame) -> Array:
    """Return the places of latents in the order of a list: concepts by reproducibility and then F1, then residual ones.

    What does not come back may be an accident of one fit, however well it fits a label. Reproducibility counts in steps
    of a tenth, as finely as it is known; where it is not, F1 alone decides. Silent latents come last.
    """
    f1 = np.nan_to_num(var["best_label_f1"].to_numpy(dtype=np.float64), nan=-1.0)
    share = np.zeros(len(var))
    if "reproducibility" in var:
        share = np.floor(10 * np.nan_to_num(var["reproducibility"].to_numpy(dtype=np.float64)) + 1e-6)
    order: Array = np.lexsort([-f1, -share, residual(var), var["density"].to_numpy() <= 0])
    return order


def residual(var: pd.DataFrame) -> Array:
    """Say of each latent whether it is residual, and so no finding; none is where the atlas does not say."""
    return var["residual"].to_numpy(dtype=bool) if "residual" in var else np.zeros(len(var), dtype=bool)


def comes_back(var: pd.DataFrame, rule: Mapping[str, Any] | None) -> Array:
    """Say of each latent whether it is a concept that comes back by the `rule` of ``uns``; none where there is none."""
    if not rule or "reproducibility" not in var:
        return np.zeros(len(var), dtype=bool)
    share = np.nan_to_num(var["reproducibility"].to_numpy(dtype=np.float64))
    return np.asarray((share >= float(rule["least"]) - 1e-6) & ~residual(var))
