"""Baseline: non-negative matrix factorisation (Lee & Seung 1999, by scikit-learn), where activations are non-negative.

    x ≈ f S,   f >= 0,   S >= 0

Encoding solves the non-negative least squares of each row by accelerated projected gradient, in torch and in batches.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch

from cellglass.activations.rows import Ints, Rows
from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.dictionaries.files import read_config, read_weights, write_dictionary
from cellglass.dictionaries.kind import DictionaryKind
from cellglass.errors import InputError
from cellglass.seeds import derive, generator

logger = logging.getLogger(__name__)

_MOST_ROWS = 50_000
_FIT_ITERATIONS, _ENCODE_ITERATIONS = 400, 300
_READ = 8192


class NMF(Dictionary):
    """Non-negative parts.

    Parameters
    ----------
    parts
        S, (n_latents, d), each row of norm 1.
    """

    kind: ClassVar[str] = "nmf"

    def __init__(self, parts: torch.Tensor) -> None:
        self.parts = parts.float()
        self.n_latents, self.d_in = int(parts.shape[0]), int(parts.shape[1])
        self.d_out = self.d_in
        self._gram = self.parts @ self.parts.T
        self._step = 1 / float(torch.linalg.eigvalsh(self._gram.double())[-1].clamp_min(1e-12))

    def encode(self, x: torch.Tensor) -> Codes:
        """Return the non-negative least-squares codes; rows with negative entries get the closest non-negative sum."""
        target = x @ self.parts.T
        f = torch.zeros_like(target)
        ahead, momentum = f, 1.0
        for _ in range(_ENCODE_ITERATIONS):
            new = (ahead - self._step * (ahead @ self._gram - target)).relu()
            following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = new + (momentum - 1) / following * (new - f)
            f, momentum = new, following
        return Codes(torch.arange(self.n_latents).expand_as(f), f, self.n_latents)

    def decode(self, codes: Codes) -> torch.Tensor:
        """Return the reconstruction, float32 (n, d_out)."""
        f = codes.values.new_zeros(len(codes.values), self.n_latents)
        return f.scatter_add(1, codes.indices, codes.values) @ self.parts

    def preactivations(self, x: torch.Tensor) -> torch.Tensor:
        """Return the products of each row with each part, float32 (n, n_latents); differentiable in `x`."""
        return x @ self.parts.T

    @property
    def directions(self) -> torch.Tensor:
        """The parts, float32 (n_latents, d_out)."""
        return self.parts

    def save(self, folder: Path) -> None:
        """Write ``cfg.json`` and ``weights.safetensors``."""
        write_dictionary(
            Path(folder), self.kind, {"d_in": self.d_in, "n_latents": self.n_latents}, {"parts": self.parts}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote."""
        config = read_config(folder)[1]
        try:
            shape = (int(config["n_latents"]), int(config["d_in"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{folder / 'cfg.json'}: lacks n_latents or d_in; fit and save the dictionary again"
            ) from error
        return cls(read_weights(folder, {"parts": shape})["parts"])


def fit_nmf(rows: Rows, chosen: Ints, n_components: int | None = None, seed: int = 0) -> NMF:
    """Fit `n_components` parts (None: as many as the site is wide) to the `chosen` rows (at most 50,000 of them)."""
    from sklearn import decomposition
    from sklearn.exceptions import ConvergenceWarning

    q = rows.width if n_components is None else n_components
    if not 1 <= q <= min(rows.width, len(chosen)):
        raise InputError(
            f"n_components is {q}; it must lie between 1 and {min(rows.width, len(chosen))} (width and rows)"
        )
    for batch in rows.batches(batch_size=_READ, rows=chosen, shuffle=False):
        if float(batch.min()) < 0:
            raise InputError("NMF needs activations >= 0, and this site has negative ones; choose pca, ica or neurons")
    sample = np.sort(generator(seed, "nmf rows").permutation(chosen)[:_MOST_ROWS])
    model = decomposition.NMF(q, init="nndsvda", max_iter=_FIT_ITERATIONS, random_state=derive(seed, "nmf") % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows.read(sample).double().numpy())
    if model.n_iter_ >= _FIT_ITERATIONS:
        logger.info("NMF with %d parts did not settle within %d iterations; used as it is", q, _FIT_ITERATIONS)
    return NMF(torch.nn.functional.normalize(torch.from_numpy(model.components_), dim=1))


ENTRY = DictionaryKind(NMF, "baseline", fit=fit_nmf)
