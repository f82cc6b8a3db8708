"""Consensus concepts: those that most of the other seeds' dictionaries hold too.

The dictionary that is shown is matched one to one with that of each other seed, so that the sum of the correlations of
activations over the same cells is largest. A concept is *found* in another dictionary if its partner there correlates
with at least 0.7, and a consensus concept if it is found in more than half of the others.

Activations decide, not directions: what a concept is to its reader is where it is active, and in a narrow space some
random directions have a cosine of 0.7 with a partner. Fits nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.evaluation.coactivation import correlations
from cellglass.evaluation.matching import Matching, match

Array = np.ndarray[Any, Any]

THRESHOLD = 0.7
"""Correlation from which on a concept counts as found."""


def needed(others: int) -> int:
    """Return in how many of `others` dictionaries a consensus concept is found at least: more than half."""
    return others // 2 + 1


def consensus(codes: Sequence[sp.csc_matrix]) -> pd.DataFrame:
    """Say of each latent of the first dictionary how many others hold it.

    Parameters
    ----------
    codes : sequence of scipy.sparse.csc_matrix, each (n_cells, n_latents)
        Activations of one dictionary a seed in the same cells; at least two.

    Returns
    -------
    pandas.DataFrame
        One row for each latent of the first: ``latent``, ``found_in`` (int32: others in which it is found),
        ``stability`` (float32: mean correlation with its partner over the others, 0 where one has none left for it;
        NaN if it is active in none of these cells), ``consensus`` (bool).
    """
    first, live = codes[0], live_latents(codes[0])
    matchings = []
    for other in codes[1:]:
        matchings.append(match(correlations(first[:, live], other[:, live_latents(other)])))
    n, others = first.shape[1], len(codes) - 1
    found, total = np.zeros(n, dtype=np.int32), np.full(n, np.nan)
    total[live] = 0
    for pairs in matchings:
        found[live[pairs.a]] += pairs.similarity >= THRESHOLD
        total[live[pairs.a]] += pairs.similarity
    return pd.DataFrame(
        {
            "latent": np.arange(n, dtype=np.int32),
            "found_in": found,
            "stability": (total / max(others, 1)).astype(np.float32),
            "consensus": found >= needed(others),
        }
    )


def consensus_shares(matchings: dict[tuple[int, int], Matching], sizes: Sequence[int]) -> list[float]:
    """Return, with each dictionary in turn as the one that is shown, the share of its latents that are consensus.

    Parameters
    ----------
    matchings : dict
        The pairs of dictionaries i and j under (i, j), i < j.
    sizes : sequence of int
        Live latents of each dictionary.
    """
    found = [np.zeros(size, dtype=np.int64) for size in sizes]
    for (i, j), pairs in matchings.items():
        good = pairs.similarity >= THRESHOLD
        found[i][pairs.a[good]] += 1
        found[j][pairs.b[good]] += 1
    return [float((count >= needed(len(sizes) - 1)).mean()) if len(count) else float("nan") for count in found]


def live_latents(codes: sp.csc_matrix) -> Array:
    """Return the latents that are active in at least one cell."""
    return np.flatnonzero(np.diff(codes.indptr))
