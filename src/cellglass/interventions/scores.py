"""How well a predicted change of expression agrees with a real one, over genes.

    pearson        correlation over all genes
    pearson_top    over the genes that really change most (50 unless told otherwise)
    sign           share of these whose sign is right; a predicted 0 is half right
    explained      1 - |predicted - real|^2 / |real|^2: 0 for no change, below 0 where no change were better

A prediction that does not vary has no correlation (NaN). The genes that change most are those of the cells that the
score is taken in, and no prediction has seen them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

TOP = 50


class Scores(NamedTuple):
    """See the module's docstring."""

    pearson: float
    pearson_top: float
    sign: float
    explained: float


def score(predicted: Array, real: Array, top: int = TOP) -> Scores:
    """Return the agreement of two changes, float (n_genes,) each."""
    most = np.argsort(-np.abs(real), kind="stable")[:top]
    agree = np.sign(predicted[most]) * np.sign(real[most])
    size = float(np.square(real).sum())
    explained = 1 - float(np.square(predicted - real).sum()) / size if size > 0 else float("nan")
    return Scores(
        _correlation(predicted, real),
        _correlation(predicted[most], real[most]),
        float((agree + 1).mean() / 2),
        explained,
    )


def rank_of(predicted: Array, members: Array) -> float:
    """Return the AUROC of member genes (bool, (n_genes,)) by predicted change, ties counted half; NaN without both."""
    from scipy.stats import rankdata

    inside, outside = int(members.sum()), int((~members).sum())
    if not inside or not outside:
        return float("nan")
    ranks = rankdata(predicted)[members].sum()
    return float((ranks - inside * (inside + 1) / 2) / (inside * outside))


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else float("nan")
