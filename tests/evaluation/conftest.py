"""A small dictionary for the tests of evaluation: positive parts of x times given unit directions, k largest a row."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cellglass.dictionaries.base import Codes, Dictionary


class Linear(Dictionary):
    """Codes are the k largest positive products with the directions; the reconstruction is their sum."""

    kind = "linear"

    def __init__(self, directions, k=None):
        self._directions = torch.as_tensor(np.asarray(directions), dtype=torch.float32)
        self.n_latents, self.d_in = self._directions.shape
        self.d_out = self.d_in
        self.k = k or self.n_latents

    def preactivations(self, x):
        return x @ self._directions.T

    def encode(self, x):
        values, indices = self.preactivations(x).clamp(min=0).topk(self.k, dim=1)
        return Codes(indices, values, self.n_latents)

    def decode(self, codes):
        return (codes.values[..., None] * self._directions[codes.indices]).sum(dim=1)

    @property
    def directions(self):
        return self._directions

    def save(self, folder: Path) -> None:
        raise NotImplementedError


@pytest.fixture(scope="session")
def linear():
    """Return the class: linear(directions, k=None)."""
    return Linear
