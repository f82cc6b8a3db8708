"""How far raters agree with themselves and with each other, and whether concepts are rated above neurons.

Weighted kappa (Cohen 1968) with quadratic weights, over the levels 1 to 5 and the pairs of ratings of the same item:

    kappa = 1 - sum_ij w_ij O_ij / sum_ij w_ij E_ij,   w_ij = (i - j)^2

with O the table of pairs and E what its margins alone would give. The difference between kinds of items is the fixed
effect of a linear mixed model with raters and items as crossed random effects,

    rating = mean of the kind + rater + item + error,

fitted by REML: with Z the dummies of raters and items, and T = diag(theta) the standard deviations of their effects in
units of the error's, the profiled deviance (Bates et al. 2015, lme4)

    log |T Z'Z T + I| + log |R'R| + (n - 2) log(r^2 / (n - 2)),   R'R = X'X - X'Z T (T Z'Z T + I)^-1 T Z'X

with r^2 the penalised residual sum of squares, is least over theta, where a standard deviation of zero is a value like
any other. The standard error is widened from the normal to Student's t with (items - kinds) degrees of freedom, since
it is items that were drawn. Where the model cannot be fitted, or there are too few raters for it, the difference is
that of the items' means with Welch's interval, each rating less its rater's mean over the items that all raters rated
(over all where there are none); ``method`` says which. First ratings count; repeats serve the agreement within a rater
alone.

Of too few ratings nothing is told: no kappa of fewer than `PAIRS` pairs; no interval of it of fewer than
`PAIRS_OF_INTERVAL` (of 10 pairs it holds the truth in 90 % of studies, of 5 in 76 %); no interval of a difference of
fewer than `ITEMS_OF_INTERVAL` items of each kind, and none that leaves the scale. ``needs`` then says what is missing,
in words that page and command line print.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cellglass.evaluation.metric import finite_or_none
from cellglass.seeds import generator
from cellglass.statistics import welch
from cellglass.vocabulary import ITEMS

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
LEVELS = 5
DRAWS = 1000
PAIRS, PAIRS_OF_INTERVAL, ITEMS_OF_INTERVAL = 5, 10, 5
Array = np.ndarray[Any, Any]


class Difference(NamedTuple):
    """Mean rating of one kind less that of another."""

    kind: str
    against: str
    difference: float
    se: float
    low: float
    high: float
    """Ends of the 95 % confidence interval."""
    p: float
    n_items: int
    n_raters: int
    method: str
    """``mixed model``, or ``item means``."""
    needs: str = ""
    """What an interval needs; ends and p are then NaN."""


def weighted_kappa(first: Sequence[int] | Array, second: Sequence[int] | Array, levels: int = LEVELS) -> float:
    """Return the quadratic weighted kappa of pairs of ratings from 1 to `levels`; NaN where it is not defined.

    It is not where there is no pair, or where all ratings are the same.
    """
    one, other = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    table = np.bincount((one - 1) * levels + other - 1, minlength=levels**2)
    return float(_kappa(table.reshape(1, levels, levels))[0])


def _kappa(tables: Array) -> Array:
    """Return kappa of each table of counts, (n, levels, levels)."""
    levels = tables.shape[1]
    weights = (np.arange(levels)[:, None] - np.arange(levels)) ** 2
    total = np.maximum(tables.sum((1, 2)), 1)
    expected = np.einsum("ni,nj->nij", tables.sum(2), tables.sum(1)) / total[:, None, None]
    seen, by_chance = (tables * weights).sum((1, 2)), (expected * weights).sum((1, 2))
    kappa: Array = 1 - np.divide(seen, by_chance, out=np.full(len(tables), np.nan), where=by_chance > 0)
    return kappa


def _with_interval(first: Array, second: Array, name: str, pairs: str) -> dict[str, Any]:
    """Return kappa with the ends of a 95 % percentile interval over drawn pairs, as far as there are enough of them.

    `pairs` are items in words, as in "needs at least 5 items that both rated".
    """
    n = len(first)
    found: dict[str, Any] = {"kappa": None, "low": None, "high": None, "n": n, "needs": ""}
    if n < PAIRS:
        return {**found, "needs": f"needs at least {PAIRS} {pairs}; there {_are(n)}"}
    found["kappa"] = finite_or_none(weighted_kappa(first, second))
    if found["kappa"] is None:
        return {**found, "needs": "needs ratings that differ; all are the same"}
    if n < PAIRS_OF_INTERVAL:
        return {**found, "needs": f"its interval needs at least {PAIRS_OF_INTERVAL} {pairs}; there {_are(n)}"}
    share = np.bincount((first - 1) * LEVELS + second - 1, minlength=LEVELS**2) / n
    tables = generator(0, "kappa", name).multinomial(n, share, size=DRAWS)
    drawn = _kappa(tables.reshape(DRAWS, LEVELS, LEVELS))
    found["low"], found["high"] = np.nanpercentile(drawn, [2.5, 97.5]).tolist()
    return found


def _are(n: int) -> str:
    return "is 1" if n == 1 else f"are {n or 'none'}"


def within_raters(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return, for each rater, the kappa of first and second ratings of the items that were shown twice."""
    found = []
    for rater, rows in table.groupby("rater", sort=True):
        first = rows[~rows["repeat"]].set_index("item")["rating"]
        again = rows[rows["repeat"]].set_index("item")["rating"]
        both = again.index[again.index.isin(first.index)]
        pair = (first.loc[both].to_numpy(int), again.loc[both].to_numpy(int))
        found.append({"rater": str(rater), **_with_interval(*pair, f"within {rater}", "items rated twice")})
    return found


def between_raters(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return, for each pair of raters, the kappa of their first ratings of the items that both rated."""
    ratings = table[~table["repeat"]].pivot_table(index="item", columns="rater", values="rating", aggfunc="first")
    found = []
    for one, other in itertools.combinations(sorted(ratings.columns), 2):
        both = ratings[[one, other]].dropna().to_numpy(int)
        kappa = _with_interval(both[:, 0], both[:, 1], f"between {one} {other}", "items that both rated")
        found.append({"raters": [str(one), str(other)], **kappa})
    return found


def difference(table: pd.DataFrame, kind: str = "concept", against: str = "neuron") -> Difference | None:
    """Return how much higher items of `kind` are rated than those of `against`; None with fewer than 2 items of each.

    Parameters
    ----------
    table : pandas.DataFrame
        ``rater``, ``item``, ``kind``, ``rating``, ``repeat``; see `review.Review.table`.
    """
    rows = table[~table["repeat"] & table["kind"].isin([kind, against])]
    items = rows.groupby("kind")["item"].nunique()
    if min(items.get(kind, 0), items.get(against, 0)) < 2:
        return None
    found = _mixed_model(rows, kind) if len(set(rows["rater"])) > 1 else None
    method = "item means" if found is None else "mixed model"
    value, se, freedom = _item_means(rows, kind) if found is None else found
    from scipy.stats import t as student

    half = float(student.ppf(0.975, freedom)) * se
    p = float(2 * student.sf(abs(value) / se, freedom)) if se > 0 else float(value == 0)
    counts = (int(items.sum()), int(rows["rater"].nunique()))
    needs = _interval_needs(items, abs(value) + half)
    if needs:
        return Difference(kind, against, value, se, np.nan, np.nan, np.nan, *counts, method, needs)
    return Difference(kind, against, value, se, value - half, value + half, p, *counts, method)


def _interval_needs(items: pd.Series[Any], reach: float) -> str:
    """Return what an interval that reaches as far as `reach` lacks; `items` counts those of each kind."""
    few = [f"{n} {ITEMS[str(kind)][n != 1]}" for kind, n in items.items() if n < ITEMS_OF_INTERVAL]
    if few:
        return f"its interval needs at least {ITEMS_OF_INTERVAL} items of each kind; rated were {' and '.join(few)}"
    if not reach <= LEVELS - 1:
        return f"its interval needs more items or raters; it would leave the scale, whose ends are {LEVELS - 1} apart"
    return ""


def _mixed_model(rows: pd.DataFrame, kind: str) -> tuple[float, float, float] | None:
    """Return the effect of `kind`, its standard error and degrees of freedom; None where it cannot be fitted."""
    from scipy.optimize import minimize

    raters, items = _dummies(rows["rater"]), _dummies(rows["item"])
    y = rows["rating"].to_numpy(float)
    model = _Profiled(y - y.mean(), (rows["kind"] == kind).to_numpy(float), raters, items)
    try:
        tries = [
            minimize(lambda theta: model.fit(theta)[0], start, method="Nelder-Mead", options={"maxiter": 2000})
            for start in ([0.1, 1.0], [1.0, 0.1])
        ]
        best = min(tries, key=lambda found: float(found.fun))
        _, value, se = model.fit(best.x)
    except np.linalg.LinAlgError as error:
        log.info("the mixed model cannot be fitted: %s", error)
        return None
    if not best.success or not np.isfinite([value, se]).all() or se <= 0:
        return None
    return value, se, float(items.shape[1] - 2)


class _Profiled:
    """The mixed model as a function of theta alone; see the module's docstring. A sign of theta means nothing."""

    def __init__(self, y: Array, of_kind: Array, raters: Array, items: Array) -> None:
        z, x = np.hstack([raters, items]), np.column_stack([np.ones(len(y)), of_kind])
        self.sizes, self.freedom = (raters.shape[1], items.shape[1]), len(y) - 2
        self.zz, self.zx, self.zy = z.T @ z, z.T @ x, z.T @ y
        self.xx, self.xy, self.yy = x.T @ x, x.T @ y, float(y @ y)

    def fit(self, theta: Array) -> tuple[float, float, float]:
        """Return the deviance, the effect of the kind and its standard error."""
        from scipy.linalg import solve_triangular

        scale = np.repeat(theta, self.sizes)
        lower = np.linalg.cholesky(scale[:, None] * self.zz * scale + np.eye(len(scale)))
        u = solve_triangular(lower, scale * self.zy, lower=True)
        across = solve_triangular(lower, scale[:, None] * self.zx, lower=True)
        root = np.linalg.cholesky(self.xx - across.T @ across)
        b = solve_triangular(root, self.xy - across.T @ u, lower=True)
        rest = self.yy - float(u @ u) - float(b @ b)
        if self.freedom < 1 or rest <= 1e-10 * self.yy:
            raise np.linalg.LinAlgError("nothing is left for the error")
        variance = rest / self.freedom
        deviance = 2 * np.log(np.diag(lower)).sum() + 2 * np.log(np.diag(root)).sum() + self.freedom * np.log(variance)
        inverse = np.linalg.inv(root)
        return float(deviance), float((inverse.T @ b)[1]), float(np.sqrt(variance * (inverse.T @ inverse)[1, 1]))


def _item_means(rows: pd.DataFrame, kind: str) -> tuple[float, float, float]:
    """Return the difference of the items' means, its standard error and Welch's degrees of freedom."""
    n_raters = rows["rater"].nunique()
    seen_by = rows.groupby("item")["rater"].transform("nunique")
    common = rows[seen_by == n_raters]
    level = (common if len(common) else rows).groupby("rater")["rating"].mean()
    less = rows["rating"] - rows["rater"].map(level)
    means = less.groupby([rows["item"], rows["kind"]]).mean().reset_index()
    ours = (means["kind"] == kind).to_numpy()
    values = means["rating"] if "rating" in means else means[means.columns[-1]]
    one, other = values[ours].to_numpy(float), values[~ours].to_numpy(float)
    value, a, b = one.mean() - other.mean(), one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)
    return float(value), float(np.sqrt(a + b)), float(welch(value, a, len(one), b, len(other)).freedom)


def _dummies(names: pd.Series[Any]) -> Array:
    values, codes = np.unique(names.to_numpy(str), return_inverse=True)
    return np.eye(len(values))[codes]


def agreement(table: pd.DataFrame) -> dict[str, Any]:
    """Return all of it as plain values for JSON.

    Returns
    -------
    dict
        ``within`` and ``between`` (lists with ``kappa``, ``low``, ``high``, ``n``, ``needs``), ``means`` ({kind: mean
        of the items' mean ratings}) and ``differences`` (of concepts against each other kind).
    """
    first = table[~table["repeat"].astype(bool)].assign(rating=lambda rows: rows["rating"].astype(float))
    table = table.assign(repeat=table["repeat"].astype(bool))
    means = first.groupby(["kind", "item"])["rating"].mean().groupby("kind").mean()
    others = [kind for kind in ("neuron", "random") if kind in means.index]
    found = [difference(table, "concept", kind) for kind in others]
    return {
        "within": within_raters(table),
        "between": between_raters(table),
        "means": {str(kind): float(mean) for kind, mean in means.items()},
        "differences": [
            {key: value if isinstance(value, str) else finite_or_none(value) for key, value in one._asdict().items()}
            for one in found
            if one is not None
        ],
    }
