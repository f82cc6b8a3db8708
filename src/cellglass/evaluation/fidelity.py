"""Fidelity: how much of the held-out activations a dictionary gives back, with how many latents, and how many are dead.

    variance explained = 1 - sum ||x - x_hat||^2 / sum ||x - mean(x)||^2        (mean over the held-out cells)

One pass over batches: besides one batch it keeps a vector as long as the site is wide and one flag a latent, however
many cells there are. It does not decide which cells are held out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch

from cellglass.dictionaries.base import Dictionary
from cellglass.errors import InputError
from cellglass.evaluation.metric import Metric
from cellglass.moments import Moments

_ROUNDING = 1e-24
"""Share of the squares around 0 that rounding leaves around the mean of equal rows; float32 cannot vary so little."""


class Fidelity(NamedTuple):
    """Fidelity of one dictionary on one set of cells.

    Attributes
    ----------
    variance_explained : float
        1 is perfect, 0 as good as the mean, below 0 worse than the mean; NaN where the activations do not vary.
    l0 : float
        Mean number of active latents (activation > 0) of a cell.
    dead_share : float
        Share of latents that are active in none of the cells.
    n : int
        Number of cells.
    """

    variance_explained: float
    l0: float
    dead_share: float
    n: int


def fidelity(dictionary: Dictionary, batches: Iterable[torch.Tensor]) -> Fidelity:
    """Measure an autoencoding dictionary on batches of activations.

    Parameters
    ----------
    dictionary : Dictionary
        One that writes the site that it reads.
    batches : iterable of torch.Tensor
        Activations of held-out cells, float32 (n, d_in) each; read once.

    Returns
    -------
    Fidelity
    """
    if dictionary.d_in != dictionary.d_out:
        raise InputError(
            f"the {dictionary.kind} dictionary reads {dictionary.d_in} numbers and writes {dictionary.d_out}: it is no "
            "autoencoder, so its fidelity cannot be measured against its own input"
        )
    moments = Moments(dictionary.d_in, together=True)
    seen = torch.zeros(dictionary.n_latents, dtype=torch.bool)
    active, error = 0, 0.0
    with torch.no_grad():
        for x in batches:
            if not len(x):
                continue
            codes = dictionary.encode(x)
            positive = codes.values > 0
            active += int(positive.sum())
            seen[codes.indices[positive]] = True
            error += float(((x.double() - dictionary.decode(codes).double()) ** 2).sum())
            moments.add(x)
    if not moments.n:
        raise InputError(
            "fidelity needs at least one held-out cell, and there is none; hold out a larger share of the cells"
        )
    squares, least = float(moments.squares), _ROUNDING * moments.n * float(moments.mean.square().sum())
    return Fidelity(
        1 - error / squares if squares > least else float("nan"),
        active / moments.n,
        1 - int(seen.sum()) / len(seen),
        moments.n,
    )


def fidelity_metrics(result: Fidelity, null: Fidelity | None = None) -> list[Metric]:
    """Return the three records of `result`; `null` is the result of random directions with as many active latents."""
    against = "Null: random directions with the same number of active latents a cell."
    texts = {
        "variance_explained": "1 - sum of squared errors / sum of squares around the mean, on held-out cells.",
        "l0": "Mean number of active latents a cell, on held-out cells.",
        "dead_share": "Share of latents that are active in no held-out cell.",
    }
    return [
        Metric(
            metric=f"fidelity.{name}",
            value=getattr(result, name),
            null=getattr(null, name) if null is not None else None,
            n=result.n,
            definition=f"{text} {against} n: held-out cells.",
        )
        for name, text in texts.items()
    ]
