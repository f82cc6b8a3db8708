"""Concepts of gene tokens as numbers of cells, against one token at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass.attribution.tokens import POOLED, TokenConcepts
from cellglass.cells import simulate
from cellglass.dictionaries import TopK, TopKConfig
from cellglass.errors import InputError
from cellglass.models.kind import FitConfig
from cellglass.models.registry import fit

SITE = "layers.0.resid"


@pytest.fixture(scope="module")
def cells():
    return simulate(n_cells=30, n_genes=40, n_programs=2, genes_per_program=8, n_types=2, seed=3).cells


@pytest.fixture(scope="module")
def model(cells):
    return fit("scgpt", cells, FitConfig(layers=1, width=16, epochs=1))


@pytest.fixture(scope="module")
def dictionary():
    torch.manual_seed(1)
    return TopK(TopKConfig(16, 24, k=3))


def by_hand(model, dictionary, one) -> np.ndarray:
    largest = np.zeros(24, dtype=np.float32)
    for row in model.token_activations(one, [SITE])[SITE].values:
        with torch.no_grad():
            codes = dictionary.encode(row[None])
        for latent, value in zip(codes.indices[0].tolist(), codes.values[0].tolist(), strict=True):
            largest[latent] = max(largest[latent], value)
    return largest


def test_each_cell_has_the_largest_of_its_tokens(model, dictionary, cells, monkeypatch):
    monkeypatch.setattr("cellglass.attribution.tokens._CELLS", 7)
    concepts = TokenConcepts(model, SITE, dictionary)
    found = concepts.activations(cells, [POOLED])[POOLED].numpy()
    for i in range(cells.n_cells):
        np.testing.assert_allclose(found[i], by_hand(model, dictionary, cells[[i]]), atol=1e-4)


def test_a_swap_runs_the_changed_cell(model, dictionary, cells):
    concepts = TokenConcepts(model, SITE, dictionary)
    found = concepts.perturbed_activations(
        cells, POOLED, np.array([2, 5]), np.array([0, 7]), np.array([30, 0], dtype=np.float32)
    )
    for row, (c, g, count) in enumerate([(2, 0, 30), (5, 7, 0)]):
        one = cells[[c]]
        counts = one.counts.tolil()
        counts[0, g] = count
        np.testing.assert_allclose(found[row], by_hand(model, dictionary, one.with_counts(counts.tocsr())), atol=1e-4)


def test_sites_of_cells_are_refused(model, dictionary, tmp_path):
    with pytest.raises(InputError, match="'cell' has one row for each cell"):
        TokenConcepts(model, "cell", dictionary)
    with pytest.raises(InputError, match="each by itself"):
        TokenConcepts(model, SITE, dictionary).save(tmp_path)


def test_a_path_begins_and_ends_at_the_largest_of_the_tokens(model, dictionary, cells):
    concepts = TokenConcepts(model, SITE, dictionary)
    assert concepts.lacks("path", POOLED) is None
    aligned = concepts.align(cells)
    prototype, partner = np.array([2, 5, 9]), np.array([7, 1, 20])
    line = concepts.line(POOLED, aligned, prototype, partner)
    for u, which in ((0.0, partner), (1.0, prototype)):
        with torch.no_grad():
            found = line.read(torch.full(line.gene.shape, u))
            for row, cell in enumerate(which):
                values = model.token_activations(aligned[[cell]], [SITE])[SITE].values
                largest = torch.relu(dictionary.preactivations(values)).amax(0)
                torch.testing.assert_close(found[row], largest, atol=1e-4, rtol=1e-3)
    u = torch.full(line.gene.shape, 0.5).requires_grad_()
    assert (torch.autograd.grad(line.read(u).sum(), u)[0][line.gene < 0] == 0).all()
