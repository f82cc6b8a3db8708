"""Candidates: clusters and halves of components against their definitions; a state that clusters share is one."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.dictionaries.consensus.candidates import candidates, cluster_numbers, otsu


def f1(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_a_state_that_every_cluster_has_is_one_candidate_and_each_cluster_is_another(crossed) -> None:
    x = crossed.x.double().numpy()
    found = candidates(x, x, 0)
    on = found.activations > 0
    best = [max(range(on.shape[1]), key=lambda j, truth=truth: f1(on[:, j], truth)) for truth in truths(crossed)]
    assert [f1(on[:, j], truth) > 0.98 for j, truth in zip(best, truths(crossed), strict=True)] == [True] * 5
    assert found.component[best].tolist() == [False, False, False, True, True]
    halves = found.activations[:, best[3:]]
    assert set(np.unique(halves)) == {0, 1}  # two modes: on or off
    assert not found.graded[best].any()
    assert found.graded.any()
    np.testing.assert_array_equal(found.graded, [not set(np.unique(c)) <= {0, 1} for c in found.activations.T])
    np.testing.assert_array_equal(halves.sum(axis=1), 1)


def truths(crossed) -> list[np.ndarray]:
    return [*(crossed.kind == i for i in range(3)), crossed.state, ~crossed.state]


def test_halves_of_a_component_with_one_mode_are_what_passes_one_standard_deviation() -> None:
    x = np.random.default_rng(0).laplace(size=(2000, 1)) * 3 + 1
    found = candidates(x, x[:500], 0)
    halves = found.activations[:, found.component].astype(np.float64)
    r = (x[:500, 0] - x.mean()) / x.std()
    expected = np.stack([np.clip(r - 1, 0, None), np.clip(-r - 1, 0, None)], axis=1)
    assert halves.shape == expected.shape
    order = [0, 1] if np.corrcoef(halves[:, 0], expected[:, 0])[0, 1] > 0.5 else [1, 0]
    np.testing.assert_allclose(halves[:, order], expected, atol=1e-4)


def test_the_cut_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    r = np.concatenate([rng.normal(0, 1, 60), rng.normal(6, 1, 30)])

    def between(cut: float) -> float:
        low, high = r[r <= cut], r[r > cut]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    cut = otsu(r)
    assert 2 < cut < 4
    assert between(cut) == pytest.approx(max(between(c) for c in np.sort(r)[:-1]))
    assert np.abs(r - cut).min() == pytest.approx(min(r[r > cut].min() - cut, cut - r[r < cut].max()))


def test_no_two_candidates_are_alike_and_none_is_constant(crossed) -> None:
    x = crossed.x.double().numpy()
    found = candidates(x[::2], x[1::2], 3)
    r = np.corrcoef(found.activations, rowvar=False)
    assert not np.isnan(r).any()
    assert (r - np.eye(len(r))).max() < 0.95
    assert found.activations.dtype == np.float32
    assert (found.activations >= 0).all()


@pytest.mark.parametrize(
    ("n", "last"), [(20, None), (29, None), (30, 2), (150, 10), (160, 10), (3999, 40), (4000, 64), (10**6, 64)]
)
def test_a_cluster_has_15_cells_on_average(n: int, last: int | None) -> None:
    numbers = cluster_numbers(n)
    assert (numbers[-1] if numbers else None) == last
    assert all(k * 15 <= n for k in numbers)
    assert numbers == sorted(set(numbers))


def test_few_cells_and_rows_that_are_all_equal_give_no_candidate() -> None:
    assert candidates(np.random.default_rng(0).normal(size=(6, 5)), np.ones((4, 5)), 0).activations.shape == (4, 0)
    equal = candidates(np.ones((200, 3)), np.ones((50, 3)), 0)
    assert equal.activations.shape == (50, 0)
    assert equal.component.shape == equal.graded.shape == (0,)


def test_a_dimension_that_does_not_vary_takes_no_component_from_the_others(crossed) -> None:
    """As the first of a diffusion map; whitened, it would be rounding errors made large."""
    x = crossed.x.double().numpy()
    flat = np.column_stack([np.full(len(x), 0.1), x, x[:, 0]])
    found = candidates(flat, flat, 0).activations > 0
    assert sum(f1(on, crossed.state) > 0.98 for on in found.T) == 1


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(crossed) -> None:
    x = crossed.x.double().numpy()
    first, again, other = (candidates(x, x[:100], seed).activations for seed in (5, 5, 6))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
