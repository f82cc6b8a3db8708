"""Reproducibility: whether what is found in one part of the cells is found in another that shares no cell with it.

Two dictionaries of one kind, each fitted to its own half of the cells, are read in cells that neither has seen, and
their latents matched one to one, so that the sum of the correlations of activations is largest. A latent *comes back*
if its partner correlates with at least 0.7. Which latents count is said by the dictionary itself: of a consensus
dictionary those that it reports as reproducible, of others all that are active.

The control is hard: each dictionary turned by a random rotation of the whitened site, with every latent's threshold
set anew so that it is active in as many cells; so it has the same number of latents, equally sparse, with the same
angles between them, and only where they point is chance. Fits nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from cellglass.dictionaries.base import Dictionary
from cellglass.evaluation.coactivation import correlations
from cellglass.evaluation.consensus import THRESHOLD
from cellglass.evaluation.matching import match
from cellglass.evaluation.metric import Metric

Array = np.ndarray[Any, Any]

COMES_BACK = THRESHOLD
"""Correlation from which on a latent comes back."""


class Return(NamedTuple):
    """What of two dictionaries comes back in the other.

    Attributes
    ----------
    shares : (float, float)
        Of the latents of each.
    pairs : int
        Latents of either that come back.
    sizes : (int, int)
        Latents of each that are active in a cell.
    correlation : float
        Mean over the pairs that are matched.
    """

    shares: tuple[float, float]
    pairs: int
    sizes: tuple[int, int]
    correlation: float

    @property
    def share(self) -> float:
        """Mean of the two shares."""
        return sum(self.shares) / 2


def comes_back(a: sp.csc_matrix, b: sp.csc_matrix) -> Return:
    """Match the latents of two dictionaries by their codes in the same cells, and count those that come back."""
    live = [codes[:, np.flatnonzero(np.diff(codes.indptr))] for codes in (a.tocsc(), b.tocsc())]
    sizes = (int(live[0].shape[1]), int(live[1].shape[1]))
    if not min(sizes):
        return Return((0.0, 0.0), 0, sizes, float("nan"))
    found = match(correlations(*live)).similarity
    count = int((found >= COMES_BACK).sum())
    return Return((count / sizes[0], count / sizes[1]), count, sizes, float(found.mean()))


def directions_read(dictionary: Dictionary) -> Array:
    """Return the directions that the latents read, (n_latents, d): how pre-activations change with each dimension."""
    with torch.no_grad():
        nothing, one = torch.zeros(1, dictionary.d_in), torch.eye(dictionary.d_in)
        p = dictionary.preactivations(one) - dictionary.preactivations(nothing)
    return np.asarray(p.double().numpy().T)


def turned(white: Array, densities: Array, rotation: Array, weights: Array) -> sp.csc_matrix:
    """Return the codes of a dictionary whose directions are turned.

    Parameters
    ----------
    white : numpy.ndarray, shape (n, d)
        Whitened activations of the cells.
    densities : numpy.ndarray, shape (m,)
        Share of the cells in which each latent is active.
    rotation : numpy.ndarray, shape (d, d)
        Orthogonal.
    weights : numpy.ndarray, shape (m, d)
        Directions of the latents on whitened activations.
    """
    p = white @ (weights @ rotation).T  # (n, m)
    n = len(p)
    kept = np.minimum(np.maximum(np.rint(densities * n).astype(int), 1), n - 1)
    ordered = np.sort(p, axis=0)
    bar = ordered[n - kept - 1, np.arange(p.shape[1])]
    on = p > bar
    return sp.csc_matrix(np.where(on, p - np.minimum(ordered[0], 0), 0))


def control(x: Array, a: Array, b: Array, densities: tuple[Array, Array], rng: np.random.Generator) -> Return:
    """Return what comes back of two dictionaries that are turned at random, each by a rotation of its own.

    Parameters
    ----------
    x : numpy.ndarray, shape (n, d)
        Activations of cells.
    a, b : numpy.ndarray, shapes (m_a, d) and (m_b, d)
        Directions that the latents read, on `x` as it is.
    densities : pair of numpy.ndarray
        Share of the cells in which each latent is active.
    rng : numpy.random.Generator
    """
    centred = x - x.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred / len(x))
    keep = values > 1e-9 * values.max()
    scale = np.sqrt(values[keep])
    white = centred @ axes[:, keep] / scale
    codes = [
        turned(white, density, _rotation(int(keep.sum()), rng), (w @ axes[:, keep]) * scale)
        for w, density in zip((a, b), densities, strict=True)
    ]
    return comes_back(codes[0], codes[1])


def _rotation(d: int, rng: np.random.Generator) -> Array:
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    return np.asarray(q * np.sign(np.diag(r)))


def reproducibility_metrics(
    found: Sequence[Return], chance: Sequence[Return], *, basis: str, parts: str = "halves of the cells"
) -> list[Metric]:
    """Return ``reproducibility.BASIS`` and ``reproducibility.BASIS.count``.

    Parameters
    ----------
    found, chance : sequences of Return
        Of each split of the cells, and of the control; the latter may be empty.
    basis : str
    parts : str
        What the two dictionaries of a split were fitted to.
    """
    how = (
        f"latents of {basis} fitted to one of two disjoint {parts} that come back in the other (partner, matched one "
        f"to one, with correlation >= {COMES_BACK} over cells that neither has seen); mean and spread over splits"
    )
    how += ", both ways. Null: the dictionaries turned at random, equally sparse. n: " if chance else ", both ways. n: "
    records = []
    for name, text, of, n in (
        ("", "Share of the", lambda one: one.share, "latents that are active, mean of both sides"),
        (".count", "Number of", lambda one: float(one.pairs), "the same"),
    ):
        values = np.array([of(one) for one in found])
        records.append(
            Metric(
                metric=f"reproducibility.{basis}{name}",
                value=float(values.mean()),
                spread=float(values.std(ddof=1)) if len(values) > 1 else None,
                null=float(np.mean([of(one) for one in chance])) if chance else None,
                n=round(float(np.mean([sum(one.sizes) / 2 for one in found]))),
                definition=f"{text} {how}{n}.",
            )
        )
    return records
