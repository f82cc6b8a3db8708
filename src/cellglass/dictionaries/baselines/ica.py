"""Baseline: independent components (FastICA, Hyvärinen & Oja 2000, by scikit-learn), split by sign."""

from __future__ import annotations

import logging
import warnings
from typing import ClassVar

import numpy as np
import torch

from cellglass.activations.rows import Ints, Rows
from cellglass.dictionaries.baselines.linear import LinearDictionary
from cellglass.dictionaries.components import independent_components
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
    """Fit `n_components` components (None: all) to the `chosen` rows, or to 50,000 of them drawn with `seed`.

    A fit that does not settle within 400 iterations is used as it is, and logged: gaussian directions have no unique
    answer.
    """
    from sklearn.exceptions import ConvergenceWarning

    q = rows.width if n_components is None else n_components
    if not 1 <= q <= min(rows.width, len(chosen)):
        raise InputError(
            f"n_components is {q}; it must lie between 1 and {min(rows.width, len(chosen))} (width and rows)"
        )
    sample = np.sort(generator(seed, "ica rows").permutation(chosen)[:_MOST_ROWS])
    x = rows.read(sample).double().numpy()
    model = independent_components(q, derive(seed, "ica"), iterations=_ITERATIONS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(x)
    for warning in caught:
        if not issubclass(warning.category, ConvergenceWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
        logger.info("ICA with %d components did not settle within %d iterations; used as it is", q, _ITERATIONS)
    if not np.isfinite(model.components_).all():
        raise InputError(
            f"ICA with {q} components has no finite answer: the site has fewer independent directions; lower it"
        )
    return ICA(*(torch.from_numpy(np.ascontiguousarray(a)) for a in (model.mean_, model.components_, model.mixing_.T)))


ENTRY = DictionaryKind(ICA, "baseline", fit=fit_ica)
