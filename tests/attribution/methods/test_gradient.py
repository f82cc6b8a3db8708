"""Gradient x difference against the derivative of one cell at a time."""

import numpy as np
import pytest
import torch

from cellglass.attribution.gradients import path_effects
from cellglass.attribution.methods.gradient import ENTRY


def test_it_is_the_slope_at_the_prototype_times_the_difference(toy):
    block = toy.block((3,), methods=("gradient",), path_on=("preactivation",), match_depth=False)
    real = block.pairs[block.pairs["kind"] == "real"]
    total, change = np.zeros(40), np.zeros(40)
    for cell, partner in zip(real["prototype"], real["partner"], strict=True):
        x, x0 = (torch.log1p(torch.from_numpy(toy.cells.counts[i].toarray())) for i in (cell, partner))
        x.requires_grad_()
        f = toy.dictionary.preactivations(toy.model.path_gradient("z", x, toy.cells[[cell]]))[0, 3]
        slope = torch.autograd.grad(f, x)[0]
        total += ((x - x0) * slope / f).detach().numpy()[0] / len(real)
        change += (x - x0).detach().numpy()[0]
    rows = ENTRY.rows(block, "preactivation").set_index("gene")
    seen = rows["effect"].reindex(toy.cells.genes.index)
    assert seen.fillna(0).to_numpy() == pytest.approx(total, rel=1e-4, abs=1e-6)
    sign = np.where(change < 0, -1, 1)
    assert (rows["score"].reindex(toy.cells.genes.index) * sign).fillna(0).to_numpy() == pytest.approx(total, abs=1e-5)
    assert rows["q"].notna().any()
    assert block.pairs["difference"].isna().all()  # what a pair's whole difference is, paths say
    assert not block.gaps


def test_it_is_exact_where_the_model_is_linear(toy):
    toy.model._rest = lambda h: h @ toy.model.out.T
    prototype, partner, concept = (np.array(x) for x in ([3, 5], [8, 9], [1, 2]))
    ends = path_effects(toy.work(), prototype, partner, concept, on="preactivation", rule="end", steps=1)
    paths = path_effects(toy.work(), prototype, partner, concept, on="preactivation", steps=64)
    np.testing.assert_allclose(ends.effects, paths.effects, rtol=1e-3, atol=1e-5)
    assert ends.gap == pytest.approx(0, abs=1e-3)
