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


class _Spread:
    """Sum of squares around the mean, batch by batch, in float64 (update of Chan, Golub and LeVeque 1983)."""

    def __init__(self, width: int) -> None:
        self.n = 0
        self.mean = torch.zeros(width, dtype=torch.float64)
        self.squares = 0.0

    def add(self, x: torch.Tensor) -> None:
        n = len(x)
        mean = x.mean(dim=0)
        step = mean - self.mean
        total = self.n + n
        self.squares += float(((x - mean) ** 2).sum() + (step**2).sum() * (self.n * n / total))
        self.mean += step * (n / total)
        self.n = total


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
    spread = _Spread(dictionary.d_in)
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
            spread.add(x.double())
    if not spread.n:
        raise InputError(
            "fidelity needs at least one held-out cell, and there is none; hold out a larger share of the cells"
        )
    return Fidelity(
        1 - error / spread.squares if spread.squares > 0 else float("nan"),
        active / spread.n,
        1 - int(seen.sum()) / len(seen),
        spread.n,
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
