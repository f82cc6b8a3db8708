r"""How much of a label a few latents hold: probes on the k best features, as a curve over k.

A probe on all latents says that a label is there; one on k of them says how many it takes (k-sparse probing, Gurnee et
al. 2023, arXiv 2305.01610). Bases are compared at equal k: at most k values of a cell are read, whatever the basis. The
k features are found by forward selection: with X the standardised features and Y the label, one column for each value,
each divided by the square root of the value's share so that rare values count as much,

    next = argmax over j of  sum_c (x_j' r_c)^2 / (x_j' x_j),     x_j and r_c less what the chosen features explain

(orthogonal least squares; Chen, Billings and Luo 1989, Int J Control 50:1873), so the first k of the order are the
choice for k. A logistic regression on them is then fitted, and scored as in ``probes.py``. Features for the choice of
the penalty are chosen on the cells that it is chosen on; no choice of either kind sees a scoring cell. The null does
all of it with the labels of the fitting cells shuffled. Knows nothing of dictionaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cellglass.errors import InputError
from cellglass.evaluation.labels import Labels, shuffled
from cellglass.evaluation.probes import accuracy, best_strength, parts
from cellglass.seeds import generator
from cellglass.threads import threads

Array = np.ndarray[Any, Any]

NUMBERS = (1, 2, 4, 8, 16, None)
"""Numbers of features; None stands for all of them."""
_NOTHING = 1e-9


class Point(NamedTuple):
    """One point of a curve.

    Attributes
    ----------
    k : int or None
        Features that were read; None where all of them.
    accuracy, null : float
        Share of the scoring cells that are got right, and the same where the labels of the fitting cells were shuffled.
    features : tuple of int
        The features, in the order in which they were chosen; empty where all were read.
    """

    k: int | None
    accuracy: float
    null: float
    features: tuple[int, ...]


def probe_curve(
    features: Array | sp.spmatrix,
    labels: Labels,
    seed: int,
    *,
    name: str = "",
    numbers: Sequence[int | None] = NUMBERS,
) -> list[Point]:
    """Return how well a label is read from the best k features, for several k.

    Parameters
    ----------
    features : numpy.ndarray or scipy.sparse matrix, shape (n_cells, n_features)
        What the label is read from.
    labels : Labels
        Of the same cells; unlabelled cells take no part.
    seed : int
        Of the split, which is the one of `probe`, and of the shuffle.
    name : str
        Name of the label column.
    numbers : sequence of int or None
        The k, ascending; those that exceed the number of features are left out.

    Returns
    -------
    list of Point
    """
    if features.shape[0] != len(labels.code):
        raise InputError(
            f"features have {features.shape[0]} cells and labels {len(labels.code)}; give both for the same cells"
        )
    wrong = [k for k in numbers if k is not None and k < 1]
    if wrong:
        raise InputError(f"a probe on {wrong[0]} features reads nothing; give numbers of at least 1, or None for all")
    matrix = sp.csr_matrix(features) if sp.issparse(features) else np.asarray(features, dtype=np.float64)
    fitting, inner, scoring = parts(labels.code, seed, name)
    fake = np.where(fitting, shuffled(labels.code, fitting, generator(seed, "probe curve", name)), labels.code)
    asked = [k for k in numbers if k is None or k <= matrix.shape[1]]
    with threads(1):
        real, chance = (_curve(matrix, code, fitting, inner, scoring, asked) for code in (labels.code, fake))
    return [Point(k, got, null, some) for k, (got, some), (null, _) in zip(asked, real, chance, strict=True)]


def forward(features: Array | sp.csr_matrix, code: Array, rows: Array, most: int) -> Array:
    """Return the positions of at most `most` features in the order in which forward selection takes them.

    Parameters
    ----------
    features : shape (n_cells, n_features)
    code : int, shape (n_cells,)
        Of the cells in `rows`, at least 0.
    rows : bool, shape (n_cells,)
        The only cells that are looked at.
    most : int
        It ends earlier where no feature is left that varies beyond those chosen.
    """
    x, y = features[np.flatnonzero(rows)], code[rows]
    n, values = len(y), np.unique(y)
    target = (y[:, None] == values).astype(np.float64)
    share = target.mean(axis=0)
    target = (target - share) / np.sqrt(share)  # (n, values)
    mean = np.asarray(x.mean(axis=0)).ravel()
    products = x.T @ x
    gram = (products.toarray() if isinstance(products, sp.spmatrix) else np.asarray(products)) / n
    gram = gram - np.outer(mean, mean)
    with_target = np.asarray(x.T @ target) / n  # (features, values); target has mean 0
    scale = np.sqrt(np.maximum(np.diag(gram), 0))
    scale = np.where(scale > _NOTHING * np.sqrt(np.diag(gram) + mean**2), scale, np.inf)
    gram, with_target = gram / np.outer(scale, scale), with_target / scale[:, None]
    chosen: list[int] = []
    for _ in range(min(most, len(mean))):
        left = np.diag(gram)
        gain = np.where(left > _NOTHING, np.square(with_target).sum(axis=1) / np.maximum(left, _NOTHING), -1.0)
        gain[chosen] = -1.0
        best = int(gain.argmax())
        if gain[best] < 0:
            break
        chosen.append(best)
        column = gram[:, best] / left[best]
        with_target = with_target - np.outer(column, with_target[best])
        gram = gram - np.outer(column, gram[best])
    return np.array(chosen, dtype=np.int64)


def _curve(
    matrix: Array | sp.csr_matrix,
    code: Array,
    fitting: Array,
    inner: Array,
    scoring: Array,
    numbers: Sequence[int | None],
) -> list[tuple[float, tuple[int, ...]]]:
    """Return accuracy and features for each number."""
    most = max((k for k in numbers if k is not None), default=0)
    first, final = (forward(matrix, code, rows, most) for rows in (inner, fitting))
    found = []
    for k in numbers:
        some = [matrix if k is None else matrix[:, order[:k]] for order in (first, final)]
        strength = best_strength(some[0], code, inner, fitting & ~inner)
        features = () if k is None else tuple(int(j) for j in final[:k])
        found.append((accuracy(some[1], code, fitting, scoring, strength), features))
    return found
