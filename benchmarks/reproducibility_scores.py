"""The figures of `reproducibility`: what comes back, what is explained, how well latents mark labels. Fits nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from reproducibility_methods import Fitted

from cellglass.attribution.work import much
from cellglass.errors import InputError
from cellglass.evaluation.alignment import align
from cellglass.evaluation.coactivation import correlations
from cellglass.evaluation.labels import encode_labels
from cellglass.evaluation.reproducibility import COMES_BACK, comes_back
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

GOOD = 0.7
"""F1 from which on a latent marks a label."""
_RIDGE, _SHUFFLES = 1e-3, 100


def returns(a: Fitted, b: Fitted, unseen: Array) -> dict[str, float]:
    """Return what of two fits comes back in the other, read in rows that neither has seen."""
    one, other = (sp.csc_matrix(f.activations[unseen]) for f in (a, b))
    found = comes_back(one, other)
    lenient = [best_partners(_live(x.activations[unseen]), y.among[unseen]) >= COMES_BACK for x, y in ((a, b), (b, a))]
    return {
        "latents": sum(found.sizes) / 2,
        "back": float(found.pairs),
        "share": found.share,
        "share, lenient": float(np.mean([x.mean() if len(x) else 0.0 for x in lenient])),
        "distinct": float(
            np.mean([distinct(x.activations[unseen], y.activations[unseen]) for x, y in ((a, b), (b, a))])
        ),
    }


def distinct(a: Array, b: Array) -> int:
    """Return how many latents of `a` that come back in `b` are not like another of them that is counted already.

    Two of one fit are alike, as two of different fits are, if they correlate at 0.7 or more.
    """
    back = np.flatnonzero(one_to_one(a, b) >= COMES_BACK)
    if not len(back):
        return 0
    alike = correlations(sp.csc_matrix(a[:, back]), sp.csc_matrix(a[:, back])) >= COMES_BACK
    kept: list[int] = []
    for i in range(len(back)):
        if not alike[i, kept].any():
            kept.append(i)
    return len(kept)


def best_partners(a: Array, b: Array) -> Array:
    """Return the highest correlation of each latent of `a`, (n, n_a), with one of `b`; 0 where it does not vary."""
    if not a.shape[1] or not b.shape[1]:
        return np.zeros(a.shape[1])
    return np.asarray(correlations(sp.csc_matrix(a), sp.csc_matrix(b)).max(axis=1))


def one_to_one(a: Array, b: Array) -> Array:
    """Return, for each latent of `a` (n, n_a), the correlation with its partner in `b`, 0 where it has none."""
    from cellglass.evaluation.matching import match

    best = np.zeros(a.shape[1])
    if a.shape[1] and b.shape[1]:
        found = match(correlations(sp.csc_matrix(a), sp.csc_matrix(b)))
        best[found.a] = found.similarity
    return best


def use(fitted: Fitted, z: Array, part: Array, unseen: Array) -> dict[str, float]:
    """Return how much of the site the activations explain in unseen rows, and how many of them are on.

    One rule for every method: ridge regression of the site on the activations of the rows that were fitted to.
    """
    a = fitted.activations
    if not a.shape[1]:
        return {"variance explained": 0.0, "active": 0.0, "density": float("nan")}
    sd = a[part].std(axis=0)
    f = np.column_stack([a / np.where(sd > 0, sd, 1), np.ones(len(a))]).astype(np.float64)
    penalty = np.diag([*np.full(a.shape[1], _RIDGE * len(part)), 0.0])
    weights = np.linalg.solve(f[part].T @ f[part] + penalty, f[part].T @ z[part])
    error = np.square(z[unseen] - f[unseen] @ weights).sum()
    on = a[unseen] > 0
    density = on.mean(axis=0)
    return {
        "variance explained": float(1 - error / np.square(z[unseen] - z[unseen].mean(axis=0)).sum()),
        "active": float(on.sum(axis=1).mean()),
        "density": float(np.median(density[density > 0])) if on.any() else float("nan"),
    }


def marks(activations: Array, column: pd.Series[Any], seed: int) -> dict[str, float]:
    """Return how well latents mark the values of a label, over the given rows.

    ``F1``: mean over values of the best latent; latent and threshold chosen on one half of the rows, scored on the
    other. ``precision``: of the latents whose best value has F1 >= 0.7, the median share of the rows in which they
    are active at all that have this value; ``precision, strong``: the same of the rows in which they have at least
    half of the 99th percentile of their activations; ``good``: how many such latents there are.
    """
    try:
        labels = encode_labels(column)
    except InputError:
        return {"F1": float("nan"), "precision": float("nan"), "precision, strong": float("nan"), "good": 0.0}
    if not (activations > 0).any():
        return {"F1": 0.0, "precision": float("nan"), "precision, strong": float("nan"), "good": 0.0}
    found = align(sp.csc_matrix(activations), labels, seed, name=str(column.name))
    values = np.arange(len(found.names))
    value = found.chosen.argmax(axis=1)
    good = np.flatnonzero(found.f1[np.arange(len(value)), value] >= GOOD)
    bars = [0.0] * len(good), [0.999 * much(column) for column in activations[:, good].T]
    both = []
    for bar in bars:
        on = activations[:, good] > np.array(bar, dtype=activations.dtype)
        inside = (on & (labels.code[:, None] == value[good])).sum(axis=0) / np.maximum(on.sum(axis=0), 1)
        both.append(float(np.median(inside)) if len(good) else float("nan"))
    return {
        "F1": float(found.f1[found.best_latents(), values].mean()),
        "precision": both[0],
        "precision, strong": both[1],
        "good": float(len(good)),
    }


def of_value(activations: Array, truth: Array, seed: int) -> float:
    """Return the F1 of the best latent for rows of which something is true; chosen and scored on different halves."""
    labels = encode_labels(pd.Series(np.where(truth, "yes", "no"), name="state"))
    if not (activations > 0).any():
        return 0.0
    found = align(sp.csc_matrix(activations), labels, seed, name="state")
    return float(found.f1[found.best_latents()[1], 1])


def beyond(activations: Array, truth: Array, cluster: Array, seed: int) -> dict[str, float]:
    """Return what latents say of a state that the cluster of a row does not say, in bits.

    I(on; state | cluster) of each latent, less its mean over shuffles of the state within clusters; ``bits`` is the
    highest, ``share`` the same as a share of H(state | cluster), ``latents`` the number with more than any shuffle and
    more than a hundredth of that entropy.
    """
    rng = generator(seed, "shuffled states")
    on = activations > 0
    own = information(on, truth, cluster)
    null = []
    for _ in range(_SHUFFLES):
        fake = truth.copy()
        for c in np.unique(cluster):
            rows = np.flatnonzero(cluster == c)
            fake[rows] = truth[rng.permutation(rows)]
        null.append(information(on, fake, cluster))
    null_ = np.array(null)
    left = float(sum((cluster == c).mean() * _entropy(truth[cluster == c].mean()) for c in np.unique(cluster)))
    if not on.shape[1]:
        return {"bits": 0.0, "share": 0.0, "latents": 0.0, "entropy": left}
    net = own - null_.mean(axis=0)
    return {
        "bits": float(net.max()),
        "share": float(net.max() / left) if left else 0.0,
        "latents": float(((own > null_.max(axis=0)) & (net > 0.01 * left)).sum()),
        "entropy": left,
    }


def information(on: Array, truth: Array, cluster: Array) -> Array:
    """Return I(on; truth | cluster) in bits of each column of `on`, bool (n, m)."""
    bits = np.zeros(on.shape[1])
    for c in np.unique(cluster):
        rows = cluster == c
        x, y = on[rows], truth[rows]
        joint = np.stack([(x & y[:, None]).mean(0), (x & ~y[:, None]).mean(0), (~x & y[:, None]).mean(0)])
        joint = np.concatenate([joint, 1 - joint.sum(axis=0, keepdims=True)]).clip(0, 1)
        h = -(joint * np.log2(np.where(joint > 0, joint, 1))).sum(axis=0)
        bits += rows.mean() * (_entropy(x.mean(axis=0)) + _entropy(y.mean()) - h)
    return bits


def _live(a: Array) -> Array:
    return a[:, (a > 0).any(axis=0)]


def _entropy(p: Any) -> Any:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
