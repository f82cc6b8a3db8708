"""Archetypal: every decoder row is a weighted mean of data points, by linear programming on a small case."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from cellglass.dictionaries import Archetypal, ArchetypalConfig, TrainConfig, train
from cellglass.dictionaries.kinds.archetypal import centres
from cellglass.errors import InputError

QUICK = TrainConfig(steps=80, batch_size=64, check_every=20)


def outside(row: np.ndarray, points: np.ndarray) -> float:
    """How far, in the dimension that is worst, `row` is from the nearest weighted mean of `points` (n, d)."""
    n, d = points.shape
    # min s over (w, s): |w points - row| <= s, w >= 0, sum of w = 1
    slack = -np.ones((d, 1))
    bounds = np.block([[points.T, slack], [-points.T, slack]])
    found = linprog(np.r_[np.zeros(n), 1], A_ub=bounds, b_ub=np.r_[row, -row], A_eq=[np.r_[np.ones(n), 0]], b_eq=[1])
    assert found.success
    return float(found.x[-1])


def data(n: int = 240, d: int = 4) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(3)) ** 3 + 2


@pytest.mark.parametrize("role", ["autoencoder", "transcoder"])
def test_decoder_rows_lie_in_the_hull_of_the_data(role: str) -> None:
    x = data()
    y = x @ torch.randn(4, 3, generator=torch.Generator().manual_seed(4)) if role == "transcoder" else None
    config = ArchetypalConfig(4, 12, 2, n_points=30, d_out=None if y is None else 3)
    learn = np.arange(200)
    dictionary = train(Archetypal(config), x, QUICK, target=y, rows_train=learn, seed=0)
    assert bool((dictionary.mixing >= 0).all())
    assert torch.allclose(dictionary.mixing.sum(1), torch.ones(12), atol=1e-5)
    assert torch.allclose(dictionary.decoder, dictionary.mixing @ dictionary.points, atol=1e-6)
    assert int((dictionary.mixing > 1e-4).sum(1).max()) > 1, "no row is mixed: training did nothing"
    scaled = (dictionary.normalise(x) if y is None else dictionary.normalise_target(y))[learn].double().numpy()
    for rows in (dictionary.points, dictionary.decoder):
        assert max(outside(row, scaled) for row in rows.double().numpy()) < 1e-4
    far = 3 * np.abs(scaled).max() * np.ones(scaled.shape[1])
    assert outside(far, scaled) > 1


def test_what_is_saved_is_in_the_hull_too(tmp_path) -> None:
    dictionary = train(Archetypal(ArchetypalConfig(4, 12, 2, n_points=30)), data(), QUICK, seed=0)
    dictionary.save(tmp_path / "d")
    again = Archetypal.load(tmp_path / "d")
    assert torch.allclose(again.decoder_rows(), dictionary.decoder_rows(), rtol=1e-5, atol=1e-6)
    assert torch.allclose(again.decoder, again.mixing @ again.points, atol=1e-6)


def test_rows_that_leave_the_hull_are_brought_back() -> None:
    dictionary = Archetypal(ArchetypalConfig(2, 3, 1, n_points=2))
    with torch.no_grad():
        dictionary.points.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        dictionary.mixing.copy_(torch.tensor([[3.0, 1.0], [-1.0, 0.5], [0.2, 0.2]]))
    dictionary.settle([], None, lambda value: value)
    assert torch.allclose(dictionary.mixing, torch.tensor([[0.75, 0.25], [0.0, 1.0], [0.5, 0.5]]))
    assert torch.allclose(dictionary.decoder, torch.tensor([[0.75, 0.5], [0.0, 2.0], [0.5, 1.0]]))


def test_centres_are_means_of_groups_and_few_rows_are_repeated() -> None:
    noise = torch.Generator().manual_seed(0)
    middle = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    group = torch.arange(300) % 3
    x = middle[group] + torch.randn(300, 2, generator=noise)
    found = centres(x, 3, seed=1)
    truth = torch.stack([x[group == g].mean(0) for g in range(3)])
    nearest = torch.cdist(truth, found).argmin(1)
    assert sorted(nearest.tolist()) == [0, 1, 2]
    assert torch.allclose(found[nearest], truth, atol=1e-4)
    assert torch.equal(centres(x, 3, seed=1), found)
    assert torch.equal(centres(x[:4], 10, seed=0), x[torch.arange(10) % 4])
    assert torch.allclose(centres(x[:1].repeat(50, 1), 3, seed=0), x[:1].repeat(3, 1))


@pytest.mark.parametrize("n_points", [1, 0])
def test_a_hull_of_one_point_is_refused(n_points: int) -> None:
    with pytest.raises(InputError, match=f"n_points is {n_points}; a hull needs at least 2"):
        ArchetypalConfig(4, 8, 2, n_points=n_points)
