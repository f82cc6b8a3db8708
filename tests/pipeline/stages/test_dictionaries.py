"""Dictionaries of a run: one of each basis from every seed."""

from __future__ import annotations

import numpy as np

from cellglass.pipeline import workspace
from cellglass.pipeline.run import Run


def test_every_basis_is_there_from_every_seed(small_run: Run) -> None:
    found = {basis: workspace.open_dictionaries(small_run, basis) for basis in (*workspace.BASES, workspace.CONTROL)}
    assert {basis: len(group) for basis, group in found.items()} == {
        "concepts": 2, "neurons": 1, "clusters": 2, "pca": 1, "ica": 2, "random": 2, "random_k": 2,
    }  # fmt: skip
    concepts = found["concepts"]
    assert [dictionary.kind for dictionary in concepts] == ["matryoshka", "matryoshka"]
    assert concepts[0].n_latents == 24
    assert not np.allclose(concepts[0].directions, concepts[1].directions, atol=0.1)


def test_a_consensus_dictionary_is_fitted_once_and_its_baselines_from_every_seed(default_run: Run) -> None:
    found = {basis: workspace.open_dictionaries(default_run, basis) for basis in (*workspace.BASES, workspace.CONTROL)}
    assert {basis: len(group) for basis, group in found.items()} == {
        "concepts": 1, "neurons": 1, "clusters": 2, "pca": 1, "ica": 2, "random": 2, "random_k": 2,
    }  # fmt: skip
    assert found["concepts"][0].kind == "consensus"
    assert not default_run.path("work", "units").exists() or not list(default_run.path("work", "units").rglob("*.npz"))


def test_random_controls_have_as_many_latents_and_as_many_active_latents(small_run: Run) -> None:
    store, site = workspace.open_activations(small_run)
    x = store.read(site, np.arange(50))
    assert workspace.open_dictionaries(small_run, "random")[0].n_latents == 24
    control = workspace.open_dictionaries(small_run, workspace.CONTROL)[0].encode(x).to_csr()
    assert np.all(np.diff(control.indptr) == 4)
