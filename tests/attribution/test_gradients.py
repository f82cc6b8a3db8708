import numpy as np
import pytest
import torch

from cellglass.attribution.gradients import path_effects, steps_of
from cellglass.errors import InputError
from cellglass.models.base import CellModel


def some_pairs(toy):
    concept, prototype = [], []
    for c in range(5):
        active = np.flatnonzero(toy.codes[:, c].toarray().ravel() > 0)[:3]
        prototype += active.tolist()
        concept += [c] * len(active)
    prototype = np.array(prototype)
    return prototype, (prototype * 11 + 5) % toy.cells.n_cells, np.array(concept)


def slow(toy, p, q, c, on, steps, match_depth):
    """Midpoint rule, one step and one gradient at a time, through the whole model in float64."""
    counts = toy.cells.counts.toarray().astype(np.float64)
    depth = counts[p].sum() / counts[q].sum() if match_depth else 1.0
    x, x0 = torch.from_numpy(np.log1p(counts[p])), torch.from_numpy(np.log1p(counts[q] * depth))
    shift = toy.model.shift[int(toy.cells.obs["batch"].iloc[p])].double()

    def f(y):
        z = torch.relu((toy.model.weight.double() @ y + shift) * 0.8 + 0.1) @ toy.model.out.double().T
        value = z @ toy.dictionary.weight[c].double() + toy.dictionary.bias[c].double()
        return torch.relu(value) if on == "activation" else value

    total = torch.zeros_like(x)
    for i in range(steps):
        y = (x0 + (i + 0.5) / steps * (x - x0)).requires_grad_()
        total += torch.autograd.grad(f(y), y)[0] / steps
    return ((x - x0) * total / f(x)).numpy(), float(f(x)), float(f(x) - f(x0))


@pytest.mark.parametrize("on", ["activation", "preactivation"])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("match_depth", [True, False])
def test_path_effects_equal_a_plain_loop(toy, on, fast, match_depth):
    toy.model.fast = fast
    pairs = some_pairs(toy)
    found = path_effects(toy.work(), *pairs, on=on, steps=8, match_depth=match_depth)
    for i, (p, q, c) in enumerate(zip(*pairs, strict=True)):
        effects, readout, difference = slow(toy, p, q, c, on, 8, match_depth)
        np.testing.assert_allclose(found.effects[i], effects, rtol=1e-3, atol=1e-5)
        assert found.readout[i] == pytest.approx(readout, rel=1e-4)
        assert found.difference[i] == pytest.approx(difference, rel=1e-3, abs=1e-5)
        gap = abs(effects.sum() * readout - difference) / abs(difference)
        assert found.gap[i] == pytest.approx(gap, rel=0.05, abs=1e-3)


@pytest.mark.parametrize("rule", ["midpoint", "gauss"])
def test_effects_add_up_to_the_difference(toy, rule):
    pairs = some_pairs(toy)
    found = path_effects(toy.work(), *pairs, steps=512, rule=rule)
    np.testing.assert_allclose(
        found.effects.sum(axis=1) * found.readout, found.difference, rtol=0.02, atol=0.005 * found.readout.mean()
    )
    assert np.nanmedian(found.gap) < 0.005


def test_genes_with_equal_counts_have_no_effect_and_blocks_change_nothing(toy, monkeypatch):
    prototype, partner, concept = some_pairs(toy)
    found = path_effects(toy.work(), prototype, partner, concept, match_depth=False)
    equal = (toy.cells.counts[prototype] != toy.cells.counts[partner]).toarray() == 0
    assert equal.any()
    assert (found.effects[equal] == 0).all()
    monkeypatch.setattr("cellglass.attribution.gradients._DENSE", 100)
    monkeypatch.setattr("cellglass.attribution.gradients._ROWS", 40)
    again = path_effects(toy.work(), prototype, partner, concept, match_depth=False)
    for a, b in zip(found, again, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_a_cell_against_itself_has_no_gap(toy):
    one = np.array([3])
    found = path_effects(toy.work(), one, one, np.array([0]), on="preactivation")
    assert (found.effects == 0).all()
    assert found.difference[0] == 0
    assert np.isnan(found.gap[0])
    none = one[:0]
    assert path_effects(toy.work(), none, none, none).effects.shape == (0, 40)


def test_only_counts_move_and_the_prototypes_batch_is_kept(toy):
    batch = toy.cells.obs["batch"].to_numpy()
    p, c = (int(x[0]) for x in np.nonzero((toy.codes.toarray() > 0) & (batch == 0)[:, None]))
    q = int(np.flatnonzero(batch == 1)[0])
    found = path_effects(
        toy.work(), np.array([p]), np.array([q]), np.array([c]), on="preactivation",
        match_depth=False,
    )  # fmt: skip
    moved = toy.cells[[p]].with_counts(toy.cells.counts[[q]])
    start = toy.dictionary.preactivations(toy.model.activations(moved, ["z"])["z"])[0, c]
    assert found.readout[0] - found.difference[0] == pytest.approx(float(start), rel=1e-4)


@pytest.mark.parametrize("rule", ["midpoint", "gauss"])
def test_rules_integrate_a_line_exactly(rule):
    position, weight = steps_of(rule, 7)
    assert weight.sum() == pytest.approx(1.0)
    assert (weight * (3 * position + 1)).sum() == pytest.approx(2.5)


def test_what_cannot_be_is_refused(toy):
    with pytest.raises(InputError, match="at least 1"):
        steps_of("midpoint", 0)
    with pytest.raises(InputError, match="midpoint"):
        steps_of("simpson", 4)

    class NoGradient(type(toy.model)):
        path_gradient = CellModel.path_gradient

    toy.model.__class__, toy.model.fast, one = NoGradient, False, np.array([0])
    with pytest.raises(InputError, match="no gradient with respect to counts"):
        path_effects(toy.work(), one, one + 1, one)
