"""Baseline: independent components (FastICA, Hyvärinen & Oja 2000), split by sign."""

from __future__ import annotations

import logging
from typing import ClassVar

import numpy as np
import torch

from cellglass.activations.rows import Ints, Rows
from cellglass.dictionaries.baselines.linear import LinearDictionary
from cellglass.dictionaries.components import directions, independent_components
from cellglass.dictionaries.kind import DictionaryKind
from cellglass.errors import InputError
from cellglass.seeds import derive, generator

logger = logging.getLogger(__name__)

_MOST_ROWS = 50_000
_ITERATIONS = 400


class ICA(LinearDictionary):
    """Independent components."""

    kind: ClassVar[str] = "ica"


def fit_ica(rows: Rows, chosen: Ints, n_components: int | None = None, seed: int = 0) -> ICA:
    """Fit `n_components` components to the `chosen` rows, or to 50,000 of them drawn with `seed`.

    By default as many as there are directions in which rows vary.

    A fit that does not settle within 400 iterations is used as it is, and logged: gaussian directions have no unique
    answer.
    """
    most = min(rows.width, len(chosen))
    if n_components is not None and not 1 <= n_components <= most:
        raise InputError(f"n_components is {n_components}; it must lie between 1 and {most} (width and rows)")
    sample = np.sort(generator(seed, "ica rows").permutation(chosen)[:_MOST_ROWS])
    x = rows.read(sample).double().numpy()
    q = max(1, min(most, directions(x))) if n_components is None else n_components
    found = independent_components(x, q, derive(seed, "ica"), iterations=_ITERATIONS)
    if not np.isfinite(found.unmixing).all():
        raise InputError(
            f"ICA with {q} components has no finite answer: the site has fewer independent directions; lower it"
        )
    if not found.settled:
        logger.info("ICA with %d components did not settle within %d iterations; used as it is", q, _ITERATIONS)
    parts = (found.mean, found.unmixing, found.mixing.T)
    return ICA(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))


ENTRY = DictionaryKind(ICA, "baseline", fit=fit_ica)
