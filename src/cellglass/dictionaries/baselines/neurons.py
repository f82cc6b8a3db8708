"""Baseline: the site's own axes, centred and split by sign (2d latents, d of them active in a row). Loses nothing."""

from __future__ import annotations

from typing import ClassVar

import torch

from cellglass.activations.rows import Ints, Rows
from cellglass.dictionaries.baselines.linear import LinearDictionary
from cellglass.dictionaries.kind import DictionaryKind
from cellglass.dictionaries.training.batches import mean_and_variance


class Neurons(LinearDictionary):
    """The site's axes."""

    kind: ClassVar[str] = "neurons"


def fit_neurons(rows: Rows, chosen: Ints) -> Neurons:
    """Centre the axes on the mean of the `chosen` rows."""
    axes = torch.eye(rows.width)
    return Neurons(mean_and_variance(rows, chosen)[0], axes, axes)


ENTRY = DictionaryKind(Neurons, "baseline", fit=lambda rows, chosen, _count, _seed: fit_neurons(rows, chosen))
