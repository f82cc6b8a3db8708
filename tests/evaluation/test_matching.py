"""Matchings against brute force over all permutations, planted permutations, and chance against what it should be."""

from itertools import permutations

import numpy as np
import pytest

from cellglass.evaluation.matching import agreement, cosines, match, shuffled_directions


@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (7, 4), (1, 6)])
@pytest.mark.parametrize("seed", range(5))
def test_pairs_equal_brute_force(shape, seed):
    similarity = np.random.default_rng(seed).uniform(-1, 1, shape)
    wide = similarity if shape[0] <= shape[1] else similarity.T
    few, many = wide.shape
    best = max(sum(wide[i, order[i]] for i in range(few)) for order in permutations(range(many), few))
    pairs = match(similarity)
    assert pairs.similarity.sum() == pytest.approx(best)
    np.testing.assert_array_equal(pairs.similarity, similarity[pairs.a, pairs.b])
    assert len(set(pairs.a)) == len(set(pairs.b)) == few
    assert (np.diff(pairs.a) > 0).all()


def test_figures_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 4)), rng.normal(size=(6, 4))
    cosine = np.array([[u @ v / np.linalg.norm(u) / np.linalg.norm(v) for v in b] for u in a])
    np.testing.assert_allclose(cosines(a, b), cosine)
    found = agreement(cosine)
    assert found.best == pytest.approx((np.mean([max(r) for r in cosine]) + np.mean([max(c) for c in cosine.T])) / 2)
    matched = sorted(found.pairs.similarity)
    cut = (matched[1] + matched[2]) / 2
    assert found.matched == pytest.approx(np.mean(matched))
    assert found.above(cut) == pytest.approx(3 / 5)
    assert found.found(cut) == pytest.approx((3 / 5, 3 / 6))


def test_a_planted_permutation_comes_back_from_noise():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(60, 20))
    order = rng.permutation(60)
    b = a[order] * rng.uniform(0.5, 2, (60, 1)) + 0.2 * rng.normal(size=(60, 20))
    found = agreement(cosines(a, b))
    np.testing.assert_array_equal(order[found.pairs.b], found.pairs.a)
    assert found.above(0.7) == 1
    # cos of x and x + noise of relative size s: 1 / sqrt(1 + s^2), with s = 0.2 / scale, averaged over the scales
    assert found.matched == pytest.approx(np.mean(1 / np.sqrt(1 + (0.2 / np.linspace(0.5, 2, 1000)) ** 2)), abs=0.01)


def test_a_part_of_a_dictionary_is_found_whole_in_it():
    rng = np.random.default_rng(2)
    b = rng.normal(size=(40, 12))
    part = rng.choice(40, 15, replace=False)
    found = agreement(cosines(b[part], b))
    np.testing.assert_array_equal(found.pairs.b, part)
    assert found.found(0.999) == (1, 15 / 40)
    assert found.best_b[part] == pytest.approx(1)


def test_a_row_of_zeros_is_like_nothing_and_an_empty_side_has_no_figures():
    assert (cosines(np.zeros((2, 3)), np.eye(3)) == 0).all()
    nothing = agreement(np.zeros((0, 4)))
    assert np.isnan([nothing.matched, nothing.best, nothing.above(0.7)]).all()
    assert nothing.best_b.shape == (4,)
    assert nothing.found(0.7) == (0, 0)


def test_a_shuffled_dictionary_keeps_to_the_axes_of_the_real_one_and_to_nothing_else():
    rng = np.random.default_rng(2)
    real = rng.normal(size=(5000, 4)) * [4, 2, 1, 0.5] @ np.linalg.qr(rng.normal(size=(4, 4)))[0]
    real /= np.linalg.norm(real, axis=1, keepdims=True)
    mixed = shuffled_directions(3 * real, rng)
    np.testing.assert_allclose(np.linalg.norm(mixed, axis=1), 1)
    np.testing.assert_allclose(mixed.T @ mixed / 5000, real.T @ real / 5000, atol=0.06)
    assert abs((mixed * real).sum(axis=1).mean()) < 0.03
    few = rng.normal(size=(3, 10))  # fewer than dimensions: the shuffled stay in the span of the real
    assert np.linalg.matrix_rank(np.vstack([few, shuffled_directions(few, rng)]), tol=1e-8) == 3
    assert shuffled_directions(np.zeros((0, 5)), rng).shape == (0, 5)


@pytest.mark.parametrize("scales", [np.ones(12), [3, 2, *np.ones(10)], [5, 3, 2, 1, *np.full(8, 0.3)]])
def test_shuffled_dictionaries_agree_as_strangers_of_the_same_spread_do(scales):
    rng, strangers, shuffled = np.random.default_rng(3), [], []
    for _ in range(8):
        a, b = (rng.normal(size=(100, 12)) * scales for _ in range(2))
        strangers.append(agreement(cosines(a, b)))
        shuffled.append(agreement(cosines(shuffled_directions(a, rng), shuffled_directions(b, rng))))
    assert np.mean([s.matched for s in shuffled]) == pytest.approx(np.mean([s.matched for s in strangers]), abs=0.03)
    assert np.mean([s.best for s in shuffled]) == pytest.approx(np.mean([s.best for s in strangers]), abs=0.03)


@pytest.mark.parametrize("width", [2, 8, 32])
def test_best_of_random_directions_is_what_theory_says(width):
    """In d dimensions (1 + cos) / 2 is Beta((d-1)/2, (d-1)/2), so the expected best of n is an integral over it."""
    from scipy.stats import beta

    rng = np.random.default_rng(width)
    a, b = (rng.normal(size=(300, width)) for _ in range(2))
    cosine = np.linspace(-1, 1, 20_001)
    half = (width - 1) / 2
    expected = 1 - np.trapezoid(beta.cdf((1 + cosine) / 2, half, half) ** 300, cosine)
    assert agreement(cosines(a, b)).best == pytest.approx(expected, abs=0.01)


def test_the_cosine_of_a_direction_with_itself_is_at_most_one():
    """Rounding takes some of 400 to above 1, which no cosine is."""
    a = np.random.default_rng(0).normal(size=(400, 20))
    found = cosines(a, np.concatenate([a, -a, np.zeros((1, 20)), a * 1e-160, a * 1e150]))
    assert np.abs(found).max() <= 1
    np.testing.assert_allclose(np.diag(found[:, :400]), 1)
    assert (found[:, 800] == 0).all()
