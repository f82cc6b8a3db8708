"""Influence and scores against sums over all paths, and the floor of a graph without features."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.circuits.influence import influence, normalised, normalised_sparse, scores

FEATURES, ERRORS, TOKENS, ANSWERS = 4, 2, 3, 2
N = FEATURES + ERRORS + TOKENS + ANSWERS


def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Feature i is read from features before it; answers from all."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(FEATURES + ANSWERS, N))
    rows[:, -ANSWERS:] = 0
    for i in range(FEATURES):
        rows[i, i:FEATURES] = 0
    target = np.array([*range(FEATURES), N - 2, N - 1])
    return normalised(rows), target, np.array([0, 0, 0, 0, 0.7, 0.3])


def test_rows_add_up_to_one_and_empty_ones_stay() -> None:
    n = normalised(np.array([[1.0, -3.0], [0.0, 0.0]]))
    np.testing.assert_allclose(n, [[0.25, 0.75], [0, 0]])


def test_sparse_rows_are_the_same_with_some_columns_left_out() -> None:
    rows, without = np.random.default_rng(1).normal(size=(4, 6)), np.array([False, True, False, False, True, False])
    rows[2] = 0
    expected = normalised(np.where(without, 0, rows))
    np.testing.assert_allclose(normalised_sparse(sp.csr_matrix(rows), without).toarray(), expected)


def test_influence_is_the_sum_over_all_paths() -> None:
    rows, target, answers = drawn()
    whole = np.zeros((N, N))
    whole[target] = rows
    expected = np.zeros(N)
    for length in range(FEATURES + 1):
        for between in itertools.permutations(range(FEATURES), length):
            for answer, end in itertools.product((N - 2, N - 1), range(N)):
                path = [answer, *between, end]
                weight = np.prod([whole[a, b] for a, b in itertools.pairwise(path)])
                expected[end] += answers[list(target).index(answer)] * weight
    np.testing.assert_allclose(influence(rows, target, answers), expected)


def test_scores_are_their_formulas() -> None:
    rows, target, answers = drawn()
    kind = np.array([0] * FEATURES + [1] * ERRORS + [2] * TOKENS + [3] * ANSWERS)
    b = influence(rows, target, answers)
    found = scores(rows, target, answers, kind == 2, kind == 1)
    assert found.replacement == pytest.approx(b[kind == 2].sum() / (b[kind == 2].sum() + b[kind == 1].sum()))
    whole, w = np.zeros((N, N)), np.zeros(N)
    whole[target], w[target] = rows, answers
    expected = ((1 - whole[:, kind == 1].sum(1)) * (b + w)).sum() / (b + w).sum()
    assert found.completeness == pytest.approx(expected)


def test_without_features_a_direct_share_scores_itself_and_half_of_one_more() -> None:
    rows = normalised(np.array([[0.2, 0.3, 0.25, 0.25, 0.0]]))  # two tokens, two errors, the answer
    kind = np.array([2, 2, 1, 1, 3])
    found = scores(rows, np.array([4]), np.array([1.0]), kind == 2, kind == 1)
    assert found.replacement == pytest.approx(0.5)
    assert found.completeness == pytest.approx(0.75)


def test_a_graph_without_weights_has_no_scores() -> None:
    kind = np.array([2, 1, 3])
    found = scores(np.zeros((1, 3)), np.array([2]), np.array([1.0]), kind == 2, kind == 1)
    assert np.isnan(found.replacement)
    assert found.completeness == 1
