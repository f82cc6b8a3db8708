"""What comes back, against a matching by hand; turned dictionaries are as sparse and come back by chance alone."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cellglass import dictionaries
from cellglass.dictionaries import TrainConfig
from cellglass.evaluation.reproducibility import (
    COMES_BACK,
    Return,
    comes_back,
    control,
    directions_read,
    reproducibility_metrics,
    turned,
)

N = 500


def draw(n_latents: int, seed: int) -> np.ndarray:
    """Return codes of unrelated latents, (N, n_latents)."""
    rng = np.random.default_rng(seed)
    return (rng.random((N, n_latents)) < rng.uniform(0.1, 0.4, n_latents)) * rng.uniform(1, 2, (N, n_latents))


def near(codes: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return the codes with a share of the cells exchanged among each other, each latent in its own way."""
    rng, made = np.random.default_rng(seed), codes.copy()
    for column in made.T:
        cells = rng.permutation(N)[: round(share * N)]
        column[cells] = column[rng.permutation(cells)]
    return made


def test_latents_are_matched_one_to_one_with_the_largest_sum() -> None:
    base = draw(5, 0)
    a, b = base[:, :4], near(base[:, [3, 1, 0, 4, 2]], 0.1, 1)
    b[:, 2] = near(base[:, [0]], 0.6, 2)[:, 0]  # hardly like its partner
    found = comes_back(sp.csc_matrix(a), sp.csc_matrix(b))
    r = np.corrcoef(a, b, rowvar=False)[:4, 4:]
    best = max(permutations(range(5), 4), key=lambda order: sum(r[i, j] for i, j in enumerate(order)))
    pairs = np.array([r[i, j] for i, j in enumerate(best)])
    assert found.pairs == (pairs >= COMES_BACK).sum() == 3
    assert found.sizes == (4, 5)
    assert found.shares == (3 / 4, 3 / 5)
    assert found.share == pytest.approx((3 / 4 + 3 / 5) / 2)
    assert found.correlation == pytest.approx(pairs.mean())


def test_a_latent_that_two_are_like_comes_back_once() -> None:
    a = draw(1, 3)
    found = comes_back(sp.csc_matrix(a), sp.csc_matrix(np.hstack([a, near(a, 0.05, 4)])))
    assert (found.pairs, found.shares) == (1, (1, 1 / 2))


def test_silent_latents_do_not_count_and_of_none_nothing_comes_back() -> None:
    a = np.hstack([draw(3, 5), np.zeros((N, 2))])
    assert comes_back(sp.csc_matrix(a), sp.csc_matrix(a[:, ::-1])) == Return((1, 1), 3, (3, 3), pytest.approx(1))
    for one, other in ((a, a[:, :0]), (a[:, 3:], a), (a[:, :0], a[:, :0])):
        found = comes_back(sp.csc_matrix(one), sp.csc_matrix(other))
        assert (found.shares, found.pairs, found.share) == ((0, 0), 0, 0)
        assert np.isnan(found.correlation)


def test_a_turned_dictionary_is_as_sparse_with_the_same_angles() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(N, 6)), rng.normal(size=(9, 6))
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    densities = np.array([0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.9, 0.002])
    codes = turned(x, densities, rotation, w)
    assert np.diff(codes.indptr).tolist() == [max(1, round(d * N)) for d in densities]
    assert codes.data.min() > 0
    p = x @ (w @ rotation).T
    for j in range(9):
        on = codes[:, j].toarray().ravel() > 0
        assert p[on, j].min() > p[~on, j].max()
    np.testing.assert_allclose((w @ rotation) @ (w @ rotation).T, w @ w.T, atol=1e-10)
    same = turned(x, densities, np.eye(6), w)
    order = [np.argsort(-p) for p in (x @ w.T).T]
    assert all(same[o[0], j] == same[:, j].max() for j, o in enumerate(order))


def test_densities_of_0_and_1_are_brought_inside() -> None:
    x = np.random.default_rng(1).normal(size=(20, 3))
    assert np.diff(turned(x, np.array([0.0, 1.0]), np.eye(3), np.eye(3)[:2]).indptr).tolist() == [1, 19]


@pytest.mark.parametrize("scales", [np.ones(20), np.geomspace(10, 0.1, 20)])
def test_of_a_dictionary_that_is_found_again_little_is_left_when_it_is_turned(scales: np.ndarray) -> None:
    """Not even where a few axes hold most of the variance: what points there would come back by itself."""
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(2000, 20)) * scales + 3, rng.normal(size=(12, 20)) / scales
    p = (x - x.mean(axis=0)) @ w.T
    bar = np.quantile(p, 0.85, axis=0)
    codes = sp.csc_matrix(np.where(p > bar, p, 0))
    assert comes_back(codes, codes).share == 1
    density = np.diff(codes.indptr) / 2000
    chance = [control(x, w, w, (density, density), np.random.default_rng(seed)) for seed in range(3)]
    assert max(one.share for one in chance) <= 1 / 12
    assert {one.sizes for one in chance} == {(12, 12)}
    again = control(x, w, w, (density, density), np.random.default_rng(0))
    assert again == chance[0]


def test_dimensions_that_do_not_vary_are_no_place_to_turn_to() -> None:
    rng = np.random.default_rng(3)
    x = np.hstack([rng.normal(size=(300, 3)), np.full((300, 2), 7.0)])
    w = rng.normal(size=(4, 5))
    density = np.full(4, 0.2)
    found = control(x, w, w, (density, density), np.random.default_rng(0))
    assert found.sizes == (4, 4)
    assert np.isfinite(found.correlation)


def test_metrics_are_means_over_splits_with_their_spread_and_null() -> None:
    found = [Return((0.5, 0.7), 5, (10, 8), 0.8), Return((0.9, 0.7), 7, (8, 10), 0.8)]
    chance = [Return((0.1, 0.1), 1, (10, 8), 0.2), Return((0.0, 0.0), 0, (8, 10), 0.2)]
    share, count = reproducibility_metrics(found, chance, basis="concepts")
    assert (share.metric, count.metric) == ("reproducibility.concepts", "reproducibility.concepts.count")
    assert (share.value, share.null) == (pytest.approx(0.7), pytest.approx(0.05))
    assert share.spread == pytest.approx(np.std([0.6, 0.8], ddof=1))
    assert (count.value, count.null, count.n, share.n) == (6, 0.5, 9, 9)
    assert "turned at random" in share.definition
    assert "disjoint halves of the cells" in count.definition
    one, _ = reproducibility_metrics(found[:1], [], basis="clusters", parts="donors")
    assert (one.spread, one.null) == (None, None)
    assert "Null" not in one.definition
    assert "disjoint donors" in one.definition


@pytest.mark.parametrize("kind", ["pca", "ica", "random", "clusters", "topk"])
def test_directions_are_those_that_preactivations_follow(kind: str) -> None:
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 7)
    training = {"training": TrainConfig(steps=20, batch_size=64)} if kind == "topk" else {}
    dictionary = dictionaries.fit(kind, x, seed=0, **training)
    found = directions_read(dictionary)
    assert found.shape == (dictionary.n_latents, 6)
    with torch.no_grad():
        change = (dictionary.preactivations(x[1:]) - dictionary.preactivations(x[:-1])).numpy()
    np.testing.assert_allclose(change, (x[1:] - x[:-1]).numpy() @ found.T, atol=1e-3)
