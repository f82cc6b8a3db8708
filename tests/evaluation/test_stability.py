"""Agreement against brute force over all matchings, and on copies and strangers."""

from itertools import permutations

import numpy as np
import pytest

from cellglass.evaluation.stability import agreement, random_directions, stability_metric


def test_equals_brute_force():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 4)), rng.normal(size=(6, 4))
    cosine = np.array([[u @ v / np.linalg.norm(u) / np.linalg.norm(v) for v in b] for u in a])
    best = max(np.mean([cosine[i, order[i]] for i in range(5)]) for order in permutations(range(6), 5))
    result = agreement(a, b)
    assert result.matched_cosine == pytest.approx(best)
    to_b = np.mean([max(row) for row in cosine])
    to_a = np.mean([max(row) for row in cosine.T])
    assert result.max_cosine == pytest.approx((to_a + to_b) / 2)


def test_the_same_directions_in_another_order_and_length_agree_fully():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(30, 10))
    b = a[rng.permutation(30)] * rng.random((30, 1))
    assert agreement(a, b) == pytest.approx((1, 1))
    assert agreement(a, -a).matched_cosine < 0.9


def test_directions_of_length_zero_are_left_out():
    a = np.eye(3)
    assert agreement(np.vstack([a, np.zeros(3)]), a) == pytest.approx((1, 1))
    assert np.isnan(agreement(np.zeros((2, 3)), a).matched_cosine)


def test_random_directions_have_the_covariance():
    rng = np.random.default_rng(2)
    root = rng.normal(size=(4, 4)) * [3, 1, 0.5, 0.1]
    covariance = root @ root.T
    drawn = random_directions(200_000, covariance, rng)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1)
    plain = rng.multivariate_normal(np.zeros(4), covariance, 200_000)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(drawn.T @ drawn / 200_000, plain.T @ plain / 200_000, atol=0.01)


def test_strangers_score_like_the_null_and_copies_above_it():
    rng = np.random.default_rng(3)
    covariance = np.diag([9.0, 4, 1, 1, 1, 1, 1, 1])
    strangers = [random_directions(40, covariance, rng) for _ in range(3)]
    metric = stability_metric(strangers, covariance, 0, basis="ica")
    assert metric.metric == "stability.ica"
    assert metric.n == 3
    assert metric.value == pytest.approx(metric.null, abs=0.05)
    noisy = [strangers[0] + 0.02 * rng.normal(size=(40, 8)) for _ in range(3)]
    metric = stability_metric(noisy, covariance, 0, basis="concepts")
    assert metric.value > 0.98 > metric.null + 0.1
    assert metric.spread < 0.01


def test_one_dictionary_has_no_stability():
    assert stability_metric([np.eye(3)], np.eye(3), 0, basis="pca") is None
    assert stability_metric([np.eye(3), np.eye(3)], np.eye(3), 0, basis="pca").spread is None
