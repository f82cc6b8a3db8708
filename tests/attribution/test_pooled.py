"""Activations max-pooled over the tokens of cells, against a plain loop."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cellglass.attribution.pooled import Pooled, max_pooled
from cellglass.errors import InputError


def test_max_pooling_equals_a_loop():
    rng = np.random.default_rng(0)
    dense = rng.random((60, 7)).astype(np.float32) * (rng.random((60, 7)) < 0.3)
    cell = np.sort(rng.integers(0, 9, 60))
    cell[cell == 4] = 5  # a cell without tokens
    found = max_pooled(sp.csr_matrix(dense), cell, 10)
    wanted = np.zeros((10, 7), dtype=np.float32)
    for value, i in zip(dense, cell, strict=True):
        wanted[i] = np.maximum(wanted[i], value)
    assert (found.toarray() == wanted).all()
    assert found.nnz == np.count_nonzero(wanted)
    assert max_pooled(sp.csr_matrix((0, 7)), np.empty(0, dtype=int), 3).shape == (3, 7)


def test_the_dictionary_of_a_pooled_site_reads_what_it_is_given(tmp_path):
    dictionary = Pooled(5)
    x = torch.rand(4, 5)
    codes = dictionary.encode(x)
    assert torch.equal(dictionary.decode(codes), x)
    assert torch.equal(dictionary.preactivations(x) @ dictionary.directions, x)
    latent = torch.tensor([0, 4, 2, 2])
    assert torch.equal(dictionary.activations_of(x, latent), x[torch.arange(4), latent])
    with pytest.raises(InputError, match="nothing to save"):
        dictionary.save(tmp_path)
