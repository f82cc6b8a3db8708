"""Normal scores keep the order, share ties, and are normal."""

from statistics import NormalDist

import numpy as np

from cellglass.enrichment.normal_scores import normal_scores


def test_scores_equal_a_plain_loop_and_keep_order_and_ties() -> None:
    rng = np.random.default_rng(0)
    scores = np.round(rng.standard_t(1.5, size=(3, 40)), 1)
    found = normal_scores(scores)
    for row in range(3):
        for gene in range(40):
            below = np.sum(scores[row] < scores[row, gene])
            same = np.sum(scores[row] == scores[row, gene])
            rank = below + (same + 1) / 2
            assert np.isclose(found[row, gene], NormalDist().inv_cdf((rank - 0.5) / 40), atol=1e-6)


def test_heavy_tails_become_normal() -> None:
    scores = np.random.default_rng(1).standard_cauchy((2, 5000))
    found = normal_scores(scores)
    assert np.abs(found).max() < 4
    assert np.allclose(found.std(axis=1), 1, atol=0.01)
    assert np.array_equal(np.argsort(found, axis=1), np.argsort(scores, axis=1))
