"""Recovery: whether gene effects find the genes of planted programs. Needs simulated cells, whose truth is known.

Each program is matched to the concept whose activation follows the program's activity best over cells; gene scores play
no part in the match, so a method cannot choose the concept that flatters it. Then the concept's gene scores are asked
to rank the program's genes above all others:

    AUROC = P(score of a member > score of another gene) + P(equal) / 2

Computes no gene scores itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.errors import InputError

Array = np.ndarray[Any, Any]


def correlations(codes: sp.csc_matrix, activity: Array) -> Array:
    """Return Pearson's correlation of every latent with every program over cells, staying sparse.

    Parameters
    ----------
    codes : scipy.sparse matrix, shape (n_cells, n_latents)
    activity : numpy.ndarray, shape (n_cells, n_programs)

    Returns
    -------
    numpy.ndarray, float64, shape (n_latents, n_programs)
        0 where either does not vary.
    """
    if codes.shape[0] != len(activity):
        raise InputError(
            f"codes have {codes.shape[0]} cells and activity {len(activity)}; give both for the same cells"
        )
    n = len(activity)
    codes = codes.astype(np.float64)
    activity = np.asarray(activity, dtype=np.float64)
    centred = activity - np.mean(activity, axis=0)
    mean = np.asarray(codes.mean(axis=0)).ravel()
    square = np.asarray(codes.multiply(codes).mean(axis=0)).ravel()
    variance = _above_rounding(square - mean**2, square)
    own = _above_rounding((centred**2).mean(axis=0), (activity**2).mean(axis=0))
    scale = np.sqrt(variance[:, None] * own[None, :])
    covariance = np.asarray(codes.T @ centred) / n
    r = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    return np.asarray(np.clip(r, -1, 1))


def _above_rounding(variance: Array, square: Array) -> Array:
    """Return `variance`, or 0 where it is what rounding leaves of the mean `square` of a constant."""
    return np.where(variance > 1e-12 * square, variance, 0)


def match_programs(codes: sp.csc_matrix, activity: Array) -> pd.DataFrame:
    """Return the best concept of each program: columns ``program`` (position), ``latent`` and ``correlation``.

    Two programs may have the same concept.
    """
    r = correlations(codes, activity)
    latent = r.argmax(axis=0)
    programs = np.arange(r.shape[1])
    return pd.DataFrame({"program": programs, "latent": latent, "correlation": r[latent, programs]})


def auroc(scores: Array, members: Array) -> float:
    """Return the area under the ROC curve of `scores` (n,) for the mask `members` (n,); NaN if it is all or none."""
    from scipy.stats import rankdata

    members = np.asarray(members, dtype=bool)
    positive, negative = int(members.sum()), int((~members).sum())
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[members].sum() - positive * (positive + 1) / 2) / (positive * negative))


def recovery(scores: Mapping[str, Array | pd.DataFrame], membership: Array, match: pd.DataFrame) -> pd.DataFrame:
    """Return how well each method's gene scores recover each program.

    Parameters
    ----------
    scores : mapping of str to numpy.ndarray or pandas.DataFrame, each (n_latents, n_genes)
        Gene scores of each method; a gene that drives the concept has a large one. A DataFrame may hold some latents
        only, by its index; a program whose concept it lacks is left out.
    membership : numpy.ndarray of bool, shape (n_genes, n_programs)
        Which genes belong to which program.
    match : pandas.DataFrame
        From `match_programs`.

    Returns
    -------
    pandas.DataFrame
        One row for each method and program: ``method``, ``program``, ``latent``, ``correlation``, ``auroc``,
        ``precision`` (share of members among as many top genes as the program has; equal scores in order of position).
    """
    rows = []
    for method, matrix in scores.items():
        table = matrix if isinstance(matrix, pd.DataFrame) else pd.DataFrame(matrix)
        if table.shape[1] != len(membership):
            raise InputError(
                f"{method}: scores have {table.shape[1]} genes and membership {len(membership)}; give the same genes"
            )
        known = set(table.index)
        for program, latent, correlation in zip(
            match["program"].tolist(), match["latent"].tolist(), match["correlation"].tolist(), strict=True
        ):
            if latent not in known:
                continue
            row = table.loc[latent].to_numpy(dtype=float)
            members = membership[:, program].astype(bool)
            top = np.argsort(-row, kind="stable")[: members.sum()]
            precision = float(members[top].mean()) if members.any() else float("nan")
            rows.append((method, program, latent, correlation, auroc(row, members), precision))
    return pd.DataFrame(rows, columns=["method", "program", "latent", "correlation", "auroc", "precision"])


def summary(tables: Mapping[int, pd.DataFrame], by: list[str]) -> pd.DataFrame:
    """Return mean and standard deviation over seeds of each seed's mean AUROC and precision, for each group of `by`.

    Parameters
    ----------
    tables : mapping of seed to pandas.DataFrame
        From `recovery`, with the columns `by`.
    by : list of str
        Columns that name a group, such as ``["basis", "method"]``.
    """
    columns = ["auroc", "precision"]
    seeds = pd.concat([table.groupby(by, sort=False)[columns].mean() for table in tables.values()])
    grouped = seeds.groupby(level=list(range(len(by))), sort=False)
    return grouped.mean().join(grouped.std(ddof=1), rsuffix="_sd").reset_index()
