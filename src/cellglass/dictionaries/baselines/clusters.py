"""Baseline: k-means clusters, each a latent that is 1 in its cells and 0 elsewhere; their number chosen by stability.

    latent j is on where centre j is nearest;   x̂ = the nearest centre

Clusters are the rival to beat: they need no dictionary, and every concept that is one of them says what a clustering of
the site says too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from cellglass.activations.rows import Ints, Rows
from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.dictionaries.clusterings import centres, one_hot, standardised
from cellglass.dictionaries.files import read_config, read_weights, write_dictionary
from cellglass.dictionaries.kind import DictionaryKind
from cellglass.errors import InputError
from cellglass.seeds import derive, generator

_MOST_ROWS, _MOST_TO_JUDGE = 50_000, 8_000
_STARTS, _STARTS_TO_JUDGE = 10, 3
_NUMBERS = (4, 6, 8, 10, 12, 14, 16, 20, 24)
_PAIRS, _CELLS_A_CLUSTER = 4, 15
_FOUND, _STABLE = 0.7, 0.8


class Clusters(Dictionary):
    """Clusters by their centres, float32 (k, d)."""

    kind: ClassVar[str] = "clusters"

    def __init__(self, centres: torch.Tensor) -> None:
        self.centres = centres.float()
        self.n_latents, self.d_in = (int(n) for n in centres.shape)
        self.d_out = self.d_in

    def encode(self, x: torch.Tensor) -> Codes:
        """Return the nearest centre of each row, with activation 1."""
        return Codes(self.preactivations(x).argmax(dim=1, keepdim=True), x.new_ones(len(x), 1), self.n_latents)

    def decode(self, codes: Codes) -> torch.Tensor:
        """Return the centres, float32 (n, d)."""
        return torch.einsum("nk,nkd->nd", codes.values, self.centres[codes.indices])

    def preactivations(self, x: torch.Tensor) -> torch.Tensor:
        """Return c x - |c|² / 2 for each centre c, which is largest for the nearest, (n, k); differentiable in `x`."""
        return x @ self.centres.T - self.centres.square().sum(dim=1) / 2

    @property
    def directions(self) -> torch.Tensor:
        """The centres, float32 (k, d)."""
        return self.centres

    def save(self, folder: Path) -> None:
        """Write ``cfg.json`` and ``weights.safetensors``."""
        size = {"d_in": self.d_in, "n_clusters": self.n_latents}
        write_dictionary(Path(folder), self.kind, size, {"centres": self.centres.clone()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote."""
        config: dict[str, Any] = read_config(folder)[1]
        try:
            shape = (int(config["n_clusters"]), int(config["d_in"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder / 'cfg.json'}: lacks n_clusters or d_in; fit and save it again") from error
        return cls(read_weights(folder, {"centres": shape})["centres"])


def fit_clusters(rows: Rows, chosen: Ints, n_components: int | None = None, seed: int = 0) -> Clusters:
    """Fit k-means with `n_components` clusters (None: `stable_number`) to the rows, or to 50,000 drawn with `seed`."""
    sample = np.sort(generator(seed, "cluster rows").permutation(chosen)[:_MOST_ROWS])
    x = rows.read(sample).double().numpy()
    k = stable_number(x, seed) if n_components is None else n_components
    if not 1 <= k <= len(x):
        raise InputError(f"n_components is {k}; it must lie between 1 and the number of rows, {len(x)}")
    return Clusters(torch.from_numpy(centres(x, k, derive(seed, "clusters"), starts=_STARTS)))


def stable_number(x: np.ndarray[Any, Any], seed: int) -> int:
    """Return the largest number of clusters of which four in five come back in another half of the rows.

    Clusters of two halves, of at most 8,000 rows, are read in all of them and matched one to one; one comes back if it
    correlates with its partner at 0.7 or more; mean over four pairs of halves. If no number is stable, the one of which
    the largest share is. Of fewer than 120 rows, two.
    """
    from scipy.optimize import linear_sum_assignment

    x = x[np.sort(generator(seed, "cluster sample").permutation(len(x))[:_MOST_TO_JUDGE])]
    numbers = [k for k in _NUMBERS if k * _CELLS_A_CLUSTER <= len(x) // 2]
    if not numbers:
        return min(2, len(x))
    shares = []
    for k in numbers:
        found = []
        for pair in range(_PAIRS):
            order = generator(seed, "cluster halves", pair).permutation(len(x))
            halves = (order[: len(x) // 2], order[len(x) // 2 :])
            seeds = (derive(seed, "clusters", k, pair, side) for side in range(2))
            fits = (centres(x[np.sort(h)], k, s, starts=_STARTS_TO_JUDGE) for h, s in zip(halves, seeds, strict=True))
            a, b = (standardised(one_hot(x, fit)) for fit in fits)
            r = a.T @ b / len(x)
            found.append((r[linear_sum_assignment(r, maximize=True)] >= _FOUND).mean())
        shares.append(float(np.mean(found)))
    stable = [k for k, share in zip(numbers, shares, strict=True) if share >= _STABLE]
    return max(stable) if stable else numbers[int(np.argmax(shares))]


ENTRY = DictionaryKind(Clusters, "baseline", fit=fit_clusters)
