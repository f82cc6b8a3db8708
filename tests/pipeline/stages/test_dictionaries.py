"""Dictionaries and codes of a run: what lies on disk, the split of the cells, what seeds change."""

from __future__ import annotations

import numpy as np

from cellglass.pipeline.runner import Run
from cellglass.pipeline.stages import dictionaries as learn
from cellglass.pipeline.stages.activations import open_activations


def test_the_three_parts_of_the_cells_share_none_and_leave_none_out(small_run: Run) -> None:
    for n in (10, 400, 1237):
        parts = learn.held_out(small_run, n)
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(n))
        assert len(parts[1]) == len(parts[2]) == n // 10


def test_every_basis_is_there_from_every_seed(small_run: Run) -> None:
    found = {basis: learn.open_dictionaries(small_run, basis) for basis in (*learn.BASES, learn.CONTROL)}
    assert {basis: len(group) for basis, group in found.items()} == {
        "concepts": 2, "neurons": 1, "pca": 1, "ica": 2, "random": 2, "random_k": 2,
    }  # fmt: skip
    concepts = found["concepts"]
    assert [dictionary.kind for dictionary in concepts] == ["matryoshka", "matryoshka"]
    assert concepts[0].n_latents == 24
    assert not np.allclose(concepts[0].directions, concepts[1].directions, atol=0.1)


def test_random_controls_have_as_many_latents_and_as_many_active_latents(small_run: Run) -> None:
    store, site = open_activations(small_run)
    x = store.read(site, np.arange(50))
    assert learn.open_dictionaries(small_run, "random")[0].n_latents == 24
    control = learn.open_dictionaries(small_run, learn.CONTROL)[0].encode(x).to_csr()
    assert np.all(np.diff(control.indptr) == 4)


def test_the_codes_on_disk_are_the_dictionarys(small_run: Run) -> None:
    store, site = open_activations(small_run)
    codes = learn.open_codes(small_run)
    expected = learn.open_concepts(small_run).encode(store.read(site, np.arange(400))).to_csr()
    assert codes.format == "csc"
    assert codes.shape == (400, 24)
    assert abs(codes - expected).max() < 1e-5
    assert codes.data.min() > 0
    assert np.diff(codes.tocsr().indptr).max() <= 4
