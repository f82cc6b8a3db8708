"""Baseline: random directions, split by sign: what any direction would get. Reconstructs by least squares."""

from __future__ import annotations

from typing import ClassVar

import torch

from cellglass.activations.rows import Ints, Rows
from cellglass.dictionaries.baselines.linear import LinearDictionary
from cellglass.dictionaries.kind import DictionaryKind
from cellglass.dictionaries.training.batches import mean_and_variance
from cellglass.errors import InputError
from cellglass.seeds import derive


class RandomDirections(LinearDictionary):
    """Random unit directions through the mean."""

    kind: ClassVar[str] = "random"


def fit_random(rows: Rows, chosen: Ints, n_components: int | None = None, seed: int = 0) -> RandomDirections:
    """Draw `n_components` directions (None: as many as the site is wide), uniform on the sphere.

    The synthesis rows are the pseudo-inverse of the analysis rows, so with as many directions as dimensions nothing
    is lost.
    """
    q = rows.width if n_components is None else n_components
    if q < 1:
        raise InputError(f"n_components is {q}; it must be at least 1")
    noise = torch.Generator().manual_seed(derive(seed, "random directions"))
    axes = torch.nn.functional.normalize(torch.randn(q, rows.width, generator=noise, dtype=torch.float64), dim=1)
    return RandomDirections(mean_and_variance(rows, chosen)[0], axes, torch.linalg.pinv(axes).T)


ENTRY = DictionaryKind(RandomDirections, "baseline", fit=fit_random)
