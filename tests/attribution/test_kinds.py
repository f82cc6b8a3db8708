"""Every trained kind of dictionary is attributed to genes as the definitions say, on a small model."""

import numpy as np
import pytest
import torch

from cellglass.attribution import AttributionConfig, attribute
from cellglass.attribution.effects import effects
from cellglass.attribution.gradients import path_effects
from cellglass.attribution.methods.swap import swap_edits
from cellglass.dictionaries import TrainConfig, default_config, fit
from cellglass.dictionaries.registry import trained

QUICK = TrainConfig(steps=60, batch_size=32, check_every=20)


@pytest.fixture(params=trained())
def fitted(request, toy):
    """The toy model with a trained dictionary of each kind, its codes, and a latent that some cells have."""
    config = default_config(6, 160, kind=request.param, n_latents=24, k=4)
    toy.dictionary = fit(request.param, torch.from_numpy(toy.z), config=config, training=QUICK, seed=0)
    toy.codes = toy.dictionary.encode(torch.from_numpy(toy.z)).to_csr().tocsc()
    active = np.diff(toy.codes.indptr)
    return toy, np.flatnonzero((active >= 12) & (active <= 140))[:3]


def test_swaps_equal_cells_encoded_alone(fitted):
    toy, concepts = fitted
    prototype = np.array([np.flatnonzero(toy.codes[:, c].toarray().ravel() > 0)[0] for c in concepts])
    partner = (prototype + 77) % 160
    edits = swap_edits(toy.cells.counts, prototype, partner, concepts)
    found = effects(toy.work(), edits, ("activation", "preactivation"))
    counts, lost = toy.cells.counts.toarray(), 0
    for on, values in found.items():
        for i in range(0, len(values), 7):
            cell, concept = edits.cell[i], edits.concept[i]
            changed = toy.cells.counts[[cell]].tolil()
            changed[0, edits.gene[i]] = counts[partner[edits.row[i]], edits.gene[i]]
            before = toy.read(toy.cells.counts[[cell]], cell, concept, on)
            after = toy.read(changed.tocsr(), cell, concept, on)
            wanted = (before - after) / before if before > 0 else np.nan
            assert values[i] == pytest.approx(wanted, rel=1e-3, abs=1e-4, nan_ok=True)
            lost += abs(values[i]) > 1e-3
    assert lost > 5


@pytest.mark.slow
@pytest.mark.parametrize("on", ["activation", "preactivation"])
def test_path_effects_add_up_to_the_difference(fitted, on):
    toy, concepts = fitted
    prototype = np.concatenate([np.flatnonzero(toy.codes[:, c].toarray().ravel() > 0)[:3] for c in concepts])
    pairs = prototype, (prototype + 77) % 160, np.repeat(concepts, 3)
    found = path_effects(toy.work(), *pairs, on=on, steps=256)
    pre = toy.dictionary.preactivations(torch.from_numpy(toy.z[prototype]))[torch.arange(len(prototype)), pairs[2]]
    readout = pre.relu() if on == "activation" else pre
    assert np.allclose(found.readout, readout.numpy(), rtol=1e-4, atol=1e-5)
    if on == "activation":  # where a latent is active, its activation is what it would be without selection
        codes = np.asarray(toy.codes[prototype, pairs[2]]).ravel()
        assert np.allclose(found.readout, codes, rtol=1e-3, atol=1e-5)
    scale = np.abs(found.readout).mean()
    assert np.allclose(found.effects.sum(1) * found.readout, found.difference, rtol=0.02, atol=0.01 * scale)
    assert np.abs(found.effects).max() > 1e-3


def test_all_methods_run_from_end_to_end(fitted):
    toy, concepts = fitted
    parts = (toy.model, toy.cells, "z", toy.dictionary, toy.codes, toy.z)
    result = attribute(*parts, concepts[:1], config=AttributionConfig(prototypes=4, partners=2))
    assert result.notes == ()
    assert set(result.genes["method"]) == {"swap", "knockout", "path", "de"}
    assert set(result.genes["concept"]) == set(concepts[:1])
    assert not result.genes[["effect", "score"]].isna().any(axis=None)
