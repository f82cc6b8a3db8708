r"""Concept activation vectors: the direction of a label at a site, and how concepts and genes answer to it.

After Kim et al. 2018 (TCAV, arXiv 1711.11279). The cells are halved, stratified by the label. On the first half a
logistic regression tells cells with the label from the others; its weights, in units of the site, are the direction v
(unit length). All figures are of the other half, along a step of one standard deviation of the cells' projections,
s = v sd(x'v):

    cosine        v' d_c / |d_c|                       d_c: what the concept writes
    correlation   of the concept's activation with x'v
    slope         r_c' s / sd(p_c)                     r_c: what it reads, so that the pre-activation p_c has slope r_c
    recruited     share of the cells in which the concept's activation is higher at x + s than at x
    change        mean of log decode(x + s/2) - log decode(x - s/2), of a gene
    rises         share of the cells in which that is above 0: the TCAV score

Any direction has nearest concepts. So each figure f stands beside the same for labels drawn at random, as many cells
(Kim et al.), with R draws of mean m and standard deviation S:

    t = (f - m) / (S sqrt(1 + 1 / R)),   p = 2 P(T > |t|),  T ~ Student(R - 1),   q: Benjamini and Hochberg

That asks only whether the label has anything to do with the site. Harder are *groups*: as many cells, the nearest to a
cell drawn at random, as compact as a type of cells is. The share of them along which a figure is at least as large says
how special it is to this label; they are real directions of the site, so that is a comparison and no p. Shares of cells
near 0 and 1 are common along any direction, so they are shown and not tested. Opens no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from cellglass.dictionaries.base import Dictionary
from cellglass.errors import InputError
from cellglass.evaluation.labels import shuffled, split
from cellglass.evaluation.reproducibility import directions_read
from cellglass.seeds import generator
from cellglass.statistics import benjamini_hochberg

Array = np.ndarray[Any, Any]
Decode = Callable[[torch.Tensor], torch.Tensor]
"""From activations of the scored cells at the site (n, d) to expected counts (n, n_genes)."""

FEWEST = 8
"""Cells that must have the label, and lack it."""
_TINY = 1e-30


class Direction(NamedTuple):
    """A direction at a site.

    Attributes
    ----------
    vector : numpy.ndarray of float64, shape (d,)
        Of unit length, in the units of the site.
    sd : float
        Standard deviation of the projections of the fitting cells.
    accuracy : float
        Mean of the shares of cells with the label and of cells without it that are told rightly, on scoring cells.
    """

    vector: Array
    sd: float
    accuracy: float


class Cav(NamedTuple):
    """The direction of a label, its trivial rival, and what it is held against.

    Attributes
    ----------
    label : Direction
        By logistic regression.
    mean_difference : Direction
        From the mean of the cells without the label to that of the cells with it.
    random, groups : tuple of Direction
        By logistic regression, of random labels and of groups of like cells.
    scoring : numpy.ndarray of bool, shape (n_cells,)
        The cells that no direction was fitted to.
    """

    label: Direction
    mean_difference: Direction
    random: tuple[Direction, ...]
    groups: tuple[Direction, ...]
    scoring: Array


def find_direction(x: Array, positive: Array, *, draws: int = 50, seed: int = 0) -> Cav:
    """Fit the direction of a label, and those of as many random labels and groups.

    Parameters
    ----------
    x : numpy.ndarray, shape (n_cells, d)
        Activations of a site with one row for each cell.
    positive : numpy.ndarray of bool, shape (n_cells,)
        Which cells have the label.
    draws : int
        Random labels, and groups; at least 3.
    seed : int
        Of the halves and of all draws.

    Raises
    ------
    InputError
        If fewer than 8 cells have the label or lack it, or there are too few draws.
    """
    n = int(positive.sum())
    if not FEWEST <= n <= len(x) - FEWEST:
        raise InputError(
            f"{n:,} of {len(x):,} cells have the label; a direction needs {FEWEST} that have it and {FEWEST} without"
        )
    if draws < 3:
        raise InputError(f"{draws} draws say nothing of chance; take at least 3 (better 50)")
    x = np.asarray(x, dtype=np.float64)
    fitting = split(positive.astype(np.int64), 0.5, generator(seed, "cav", "halves"))
    rng = generator(seed, "cav", "random")
    random = [shuffled(positive.astype(np.int64), fitting, rng) > 0 for _ in range(draws)]
    near = list(_groups(x, fitting, n, draws, generator(seed, "cav", "groups")))
    return Cav(
        by_regression(x, positive, fitting),
        by_means(x, positive, fitting),
        tuple(by_regression(x, one, fitting) for one in random),
        tuple(by_regression(x, one, fitting) for one in near),
        ~fitting,
    )


def by_regression(x: Array, positive: Array, fitting: Array) -> Direction:
    """Return the weights of a logistic regression on standardised activations, both classes weighing the same."""
    from sklearn.linear_model import LogisticRegression

    mean, sd = x[fitting].mean(axis=0), x[fitting].std(axis=0)
    sd = np.where(sd > 0, sd, np.inf)
    model = LogisticRegression(class_weight="balanced", max_iter=500).fit((x[fitting] - mean) / sd, positive[fitting])
    told = ((x - mean) / sd) @ model.coef_[0] + model.intercept_[0] > 0
    return _direction(x, model.coef_[0] / sd, told, positive, fitting)


def by_means(x: Array, positive: Array, fitting: Array) -> Direction:
    """Return the difference of the means; a cell is told by whose mean it projects nearer to."""
    means = [x[fitting & side].mean(axis=0) for side in (positive, ~positive)]
    vector = means[0] - means[1]
    return _direction(x, vector, (x - (means[0] + means[1]) / 2) @ vector > 0, positive, fitting)


def concept_answers(cav: Cav, x: Array, codes: sp.csc_matrix, dictionary: Dictionary) -> pd.DataFrame:
    """Return how concepts answer to a direction, one row for each of the first ``codes.shape[1]`` latents.

    Parameters
    ----------
    cav : Cav
    x : numpy.ndarray, shape (n_cells, d)
        The activations that it was fitted to.
    codes : csc_matrix, shape (n_cells, n_concepts)
        Activations of the concepts in the same cells.
    dictionary : Dictionary
        Reads and writes the site; its first latents are the concepts.

    Returns
    -------
    pandas.DataFrame
        ``cosine``, ``correlation`` and ``slope``, and of each NAME_random and NAME_groups (mean size along those
        directions), NAME_q (against random labels) and NAME_groups_above (share of the groups with at least that size);
        ``correlation_mean_difference``, along the trivial rival; ``recruited`` and ``recruited_random``.
    """
    some, n = np.asarray(x, dtype=np.float64)[cav.scoring], codes.shape[1]
    active = codes.tocsr()[np.flatnonzero(cav.scoring)]
    reads, writes = directions_read(dictionary)[:n], dictionary.directions.detach().double().numpy()[:n]
    with torch.no_grad():
        p = dictionary.preactivations(torch.from_numpy(some).float())[:, :n].double().numpy()
    sd = np.where(p.std(axis=0) > 0, p.std(axis=0), np.inf)
    unit = writes / np.maximum(np.linalg.norm(writes, axis=1, keepdims=True), _TINY)

    def figures(one: Direction) -> dict[str, Array]:
        return {
            "cosine": unit @ one.vector,
            "correlation": _correlations(active, some @ one.vector),
            "slope": reads @ one.vector * one.sd / sd,
        }

    table = _beside(figures, cav)
    table["correlation_mean_difference"] = _correlations(active, some @ cav.mean_difference.vector)
    table["recruited"] = _recruited(dictionary, some, active, cav.label)
    table["recruited_random"] = np.mean([_recruited(dictionary, some, active, one) for one in cav.random], axis=0)
    return table


def gene_answers(cav: Cav, x: Array, decode: Decode) -> pd.DataFrame:
    """Return how decoded genes answer to a direction, one row a gene.

    Parameters
    ----------
    cav : Cav
    x : numpy.ndarray, shape (n, d)
        Activations of scored cells.
    decode : callable
        Decodes activations of these cells.

    Returns
    -------
    pandas.DataFrame
        ``change`` (natural logarithm, for a step of one standard deviation), ``change_random``, ``change_q``,
        ``change_groups``, ``change_groups_above``; ``rises``, and ``rises_random``, the mean along random directions of
        the share of cells that agree in sign; ``change_mean_difference``, along the trivial rival.
    """
    some = np.asarray(x, dtype=np.float64)
    shares: list[Array] = []

    def figures(one: Direction) -> dict[str, Array]:
        change, rises = _decoded(decode, some, one)
        shares.append(rises)
        return {"change": change}

    table = _beside(figures, cav)
    table["rises"] = shares[0]
    table["rises_random"] = np.mean([np.maximum(r, 1 - r) for r in shares[1 : 1 + len(cav.random)]], axis=0)
    table["change_mean_difference"] = _decoded(decode, some, cav.mean_difference)[0]
    return table


def _beside(figures: Callable[[Direction], dict[str, Array]], cav: Cav) -> pd.DataFrame:
    """Return each figure of the label's direction, its size along the null directions, q and the share of groups."""
    own = figures(cav.label)
    nulls = [[figures(one) for one in found] for found in (cav.random, cav.groups)]
    columns: dict[str, Array] = {}
    for name, values in own.items():
        random, groups = (np.array([one[name] for one in found]) for found in nulls)  # (R, m) each
        columns[name] = values
        columns[f"{name}_random"], columns[f"{name}_q"] = np.abs(random).mean(axis=0), q_against(values, random)
        columns[f"{name}_groups"] = np.abs(groups).mean(axis=0)
        columns[f"{name}_groups_above"] = (np.abs(groups) >= np.abs(values)).mean(axis=0)
    return pd.DataFrame(columns)


def q_against(values: Array, drawn: Array) -> Array:
    """Return the q-value of each of `values` (m,) against its own draws (R, m); 1 where the draws do not vary."""
    from scipy.stats import t as student

    n, sd = len(drawn), drawn.std(axis=0, ddof=1)
    still = sd <= 1e-12 * np.maximum(np.abs(drawn).max(axis=0, initial=0), _TINY)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (values - drawn.mean(axis=0)) / (sd * np.sqrt(1 + 1 / n))
    return benjamini_hochberg(np.where(still, 1.0, 2 * student.sf(np.abs(np.nan_to_num(t)), n - 1)))


def _groups(x: Array, fitting: Array, n: int, draws: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yield groups of the `n` cells nearest to a cell drawn at random, of which each half has a cell and lacks one."""
    scale = x.std(axis=0)
    u = x / np.where(scale > 0, scale, np.inf)
    for centre in rng.choice(len(x), draws, replace=draws > len(x)):
        order = np.argsort(np.square(u - u[centre]).sum(axis=1), kind="stable")
        group = np.zeros(len(x), dtype=bool)
        group[order[:n]] = True
        for side in (fitting, ~fitting):  # one that lies in one half alone takes its nearest cell of the other
            if not group[side].any():
                group[order[side[order]][0]] = True
            if group[side].all():
                group[order[side[order]][-1]] = False
        yield group


def _direction(x: Array, vector: Array, told: Array, positive: Array, fitting: Array) -> Direction:
    unit = vector / max(float(np.linalg.norm(vector)), _TINY)
    rights = [float((told == positive)[~fitting & side].mean()) for side in (positive, ~positive)]
    return Direction(unit, float((x[fitting] @ unit).std()), sum(rights) / 2)


def _correlations(codes: sp.csr_matrix, y: Array) -> Array:
    """Return the correlation of every column of `codes` (n, m) with `y` (n,), 0 where one does not vary."""
    z = y - y.mean()
    mean = np.asarray(codes.mean(axis=0)).ravel()
    variance = np.asarray(codes.multiply(codes).mean(axis=0)).ravel() - mean**2
    below = np.sqrt(np.maximum(variance, 0)) * z.std()
    return np.asarray(np.divide(codes.T @ z / len(z), below, out=np.zeros(len(mean)), where=below > 1e-12))


def _recruited(dictionary: Dictionary, x: Array, active: sp.csr_matrix, one: Direction) -> Array:
    """Return the share of the cells in which each concept's activation is higher after a step."""
    with torch.no_grad():
        moved = dictionary.encode(torch.from_numpy(x + one.vector * one.sd).float()).to_csr()[:, : active.shape[1]]
    return np.asarray(((moved - active) > 1e-6).mean(axis=0)).ravel()


def _decoded(decode: Decode, x: Array, one: Direction) -> tuple[Array, Array]:
    """Return the mean change of each gene's log expected count along a step, and the share of cells where it rises."""
    half = one.vector * one.sd / 2
    with torch.no_grad():
        up, down = (decode(torch.from_numpy(x + sign * half).float()).clamp_min(_TINY).log() for sign in (1, -1))
        change = up - down
        return change.double().mean(dim=0).numpy(), (change > 0).double().mean(dim=0).numpy()
