"""Copies agree fully, strangers as the null does, and what is silent or has no direction takes no part."""

from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.evaluation.coactivation import correlations, shuffled_cells
from cellglass.evaluation.matching import agreement, cosines, shuffled_directions
from cellglass.evaluation.stability import Latents, stability_metrics

NAMES = ["", ".max_cosine", ".above_0.7", ".above_0.9"]
NAMES += [".coactivation", ".coactivation.max", ".coactivation.above_0.7", ".coactivation.above_0.9", ".consensus"]


def _latents(directions, seed=0, n=1500):
    """Return latents that are active where a cell points their way, of cells drawn at random."""
    x = np.random.default_rng(seed).normal(size=(n, directions.shape[1]))
    p = x @ directions.T
    return Latents(directions, sp.csc_matrix(np.where(p > 1, p, 0).astype(np.float32)))


def _random(n, scales, rng):
    """Return unit vectors whose axes have these scales before they are given length 1."""
    drawn = rng.normal(size=(n, len(scales))) * scales
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def _metrics(group):
    return {m.metric: m for m in stability_metrics(group, 0, basis="b")}


def test_copies_in_another_order_and_length_agree_fully():
    rng = np.random.default_rng(1)
    first = _latents(_random(30, np.ones(10), rng))
    group = [first]
    for _ in range(2):
        order = rng.permutation(30)
        group.append(Latents(first.directions[order] * rng.uniform(0.5, 2, (30, 1)), first.codes[:, order]))
    metrics = _metrics(group)
    assert list(metrics) == [f"stability.b{name}" for name in NAMES]
    for metric in metrics.values():
        assert metric.value == pytest.approx(1)
        assert metric.spread == pytest.approx(0)
        assert metric.null < 0.8
        assert metric.n == (30 if metric.metric.endswith("consensus") else 3)
        assert "{" not in metric.definition
        assert len(metric.definition) > 60
    opposite = Latents(-first.directions, first.codes)
    assert _metrics([first, opposite])["stability.b"].value < 0.9


@pytest.mark.parametrize("scales", [np.ones(8), [3, 2, 1, 1, 1, 1, 1, 1], [5, 1, 0.3, 0.3, 0.1, 0.1, 0.1, 0.1]])
def test_strangers_score_like_the_null_however_they_are_spread(scales):
    rng = np.random.default_rng(3)
    strangers = [_latents(_random(150, scales, rng), seed) for seed in range(3)]
    metrics = _metrics(strangers)
    for name in ("", ".max_cosine", ".above_0.7"):
        metric = metrics[f"stability.b{name}"]
        assert metric.value == pytest.approx(metric.null, abs=0.1 if "above" in name else 0.04)
    for name in (".coactivation", ".coactivation.max"):  # the cells differ, too: chance is all that is left
        metric = metrics[f"stability.b{name}"]
        assert metric.value == pytest.approx(metric.null, abs=0.05)
        assert metric.null < 0.1
    assert metrics["stability.b.consensus"].value == metrics["stability.b.consensus"].null == 0


def _by_chance(group, shuffled, similarity, draws=5):
    """Return mean matched similarity and share above 0.7 between two shuffled, and between a real and a shuffled."""
    rng, found = np.random.default_rng(7), {"both": [], "one": []}
    for a, b in [pair for pair in combinations(group, 2) for _ in range(draws)]:
        for kind, first in (("both", shuffled(a, rng)), ("one", a)):
            one = agreement(similarity(first, shuffled(b, rng)))
            found[kind].append((one.matched, one.above(0.7)))
    return np.mean(found["both"], axis=0), np.mean(found["one"], axis=0)


def test_the_null_of_cosines_is_between_two_shuffled_dictionaries():
    """Directions in few clusters: shuffled ones are spread more evenly, and so match one another better than real."""
    rng = np.random.default_rng(5)
    centres = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    group = []
    for _ in range(5):
        directions = centres[np.arange(60) % 6] + 0.05 * rng.normal(size=(60, 6))
        group.append(_latents(directions / np.linalg.norm(directions, axis=1, keepdims=True)))
    both, one = _by_chance([latents.directions for latents in group], shuffled_directions, cosines)
    metrics = _metrics(group)
    assert abs(both - one).min() > 0.05  # else the two nulls would not differ
    assert metrics["stability.b"].null == pytest.approx(both[0], abs=0.02)
    assert metrics["stability.b.above_0.7"].null == pytest.approx(both[1], abs=0.05)


def test_the_null_of_correlations_is_between_two_shuffled_dictionaries():
    """Latents that are all active in the same cells: only among shuffled ones has each a partner of its own."""
    codes = sp.csc_matrix(np.repeat(np.random.default_rng(6).random((400, 1)) < 0.1, 20, axis=1).astype(np.float32))
    group = [Latents(_random(20, np.ones(8), np.random.default_rng(i)), codes) for i in range(4)]
    both, one = _by_chance([latents.codes for latents in group], shuffled_cells, correlations)
    metrics = _metrics(group)
    assert both[0] - one[0] > 0.05
    assert metrics["stability.b.coactivation"].value == pytest.approx(1)
    assert metrics["stability.b.coactivation"].null == pytest.approx(both[0], abs=0.02)


def test_the_same_cells_with_other_directions_agree_by_activation_alone():
    rng = np.random.default_rng(4)
    first = _latents(_random(20, np.ones(30), rng))
    turned = Latents(_random(20, np.ones(30), rng), first.codes)
    metrics = _metrics([first, turned])
    assert metrics["stability.b"].value < 0.5
    assert metrics["stability.b.coactivation"].value == pytest.approx(1)
    assert metrics["stability.b"].spread is None
    assert metrics["stability.b.consensus"].value == 1


def test_the_silent_and_those_without_a_direction_are_left_out():
    first = _latents(np.vstack([np.eye(6), np.zeros((1, 6)), np.ones((1, 6))]))
    codes = first.codes.tolil()
    codes[:, 7] = 0
    codes[0, 6] = 3
    first = Latents(first.directions, codes.tocsc())
    kept = Latents(first.directions[:6], first.codes[:, :6])
    metrics = _metrics([first, kept])
    assert metrics["stability.b"].value == pytest.approx(1)
    assert metrics["stability.b.consensus"].n == 6


def test_one_dictionary_has_no_stability():
    assert stability_metrics([_latents(np.eye(3))], 0, basis="pca") == []


def test_dictionaries_without_a_live_latent_have_no_figures():
    dead = [Latents(np.zeros((3, 4)), sp.csc_matrix((5, 3))) for _ in range(2)]
    assert all(np.isnan([metric.value, metric.null]).all() for metric in stability_metrics(dead, 0, basis="b"))
