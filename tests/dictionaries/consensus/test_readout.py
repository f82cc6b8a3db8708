"""Readouts: on and off lie at 1 and 0, the threshold has the best F1 of all cuts, against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.dictionaries.consensus.readout import best_cut, on_cells, read_out

GRADED = np.array([False, True])


def f1(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture
def cells() -> tuple[np.ndarray, np.ndarray]:
    """Rows, and two consensus activations that can be read off them, more or less."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=(400, 5))
    sharp = np.clip(u[:, 0] - 0.8, 0, None) * 3
    blurred = np.clip(u[:, 1] + u[:, 2] + rng.normal(size=400) * 0.5 - 1, 0, None)
    return u, np.stack([sharp, blurred], axis=1)


def test_what_is_off_lies_at_0_and_what_is_on_at_1_in_the_mean(cells) -> None:
    u, activations = cells
    found = read_out(u, activations, GRADED)
    p = u @ found.encoder.T + found.offset
    for column, response, graded in zip(activations.T, p.T, GRADED, strict=True):
        on = on_cells(column, graded=graded)
        assert response[on].mean() == pytest.approx(1)
        assert response[~on].mean() == pytest.approx(0, abs=1e-12)


def test_the_threshold_has_the_best_f1_of_all_cuts(cells) -> None:
    u, activations = cells
    found = read_out(u, activations, GRADED)
    p = u @ found.encoder.T + found.offset
    for j in range(2):
        on = on_cells(activations[:, j], graded=GRADED[j])
        every = [f1(p[:, j] > cut, on) for cut in p[:, j]]
        assert f1(p[:, j] > found.threshold[j], on) == pytest.approx(found.agreement[j])
        assert found.agreement[j] == pytest.approx(max(every))
    assert found.agreement[0] > 0.93
    assert 0.6 < found.agreement[1] < 0.9


def test_the_direction_points_where_the_cells_lie(cells) -> None:
    u, activations = cells
    first, second = read_out(u, activations, GRADED).encoder
    assert first[0] / np.linalg.norm(first) > 0.95
    assert (second[1] + second[2]) / np.sqrt(2) / np.linalg.norm(second) > 0.95


def test_an_activation_is_p_above_the_threshold_and_0_elsewhere(cells) -> None:
    u, activations = cells
    found = read_out(u, activations, GRADED)
    made = found.activations(u)
    for i in range(0, 400, 37):
        for j in range(2):
            p = float(u[i] @ found.encoder[j] + found.offset[j])
            assert made[i, j] == pytest.approx(max(p, 0) if p > found.threshold[j] else 0)
    low = found._replace(threshold=found.threshold - 100)
    assert (low.activations(u) >= 0).all()


@pytest.mark.parametrize(("graded", "part"), [(False, 0.5), (True, 0.1)])
def test_a_concept_is_on_from_a_part_of_its_99th_percentile(graded: bool, part: float) -> None:
    """Half of it, or, where its strength says something, a tenth; the largest value alone decides nothing."""
    activation = np.concatenate([np.zeros(50), np.linspace(0.01, 1, 200), [30.0]])
    bar = part * np.quantile(activation[activation > 0], 0.99)
    on = on_cells(activation, graded=graded)
    np.testing.assert_array_equal(on, activation >= bar)
    assert on.sum() == pytest.approx(200 * (1 - part), abs=4)
    assert not on_cells(np.array([0, 1, 1, 1, 1.0]), graded=graded).any()


def test_what_is_on_in_too_few_or_too_many_cells_has_no_readout(cells) -> None:
    u, _ = cells
    few, most = np.zeros(400), np.ones(400)
    few[:4], most[:3] = 1, 0
    found = read_out(u, np.stack([few, most], axis=1), GRADED)
    assert np.isinf(found.threshold).all()
    assert (found.agreement == 0).all()
    assert not found.activations(u).any()
    none = read_out(u, np.zeros((400, 0)), GRADED[:0])
    assert none.encoder.shape == (0, 5)
    assert none.activations(u).shape == (400, 0)


def test_the_best_cut_of_all_orders_of_few_cells() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        p, on = rng.normal(size=9), rng.random(9) < 0.4
        if not 1 <= on.sum() <= 8:
            continue
        cut, best = best_cut(p, on)
        assert best == pytest.approx(max(f1(p > c, on) for c in np.sort(p)[:-1]))
        assert f1(p > cut, on) == pytest.approx(best)
