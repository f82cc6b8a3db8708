"""Clusters: the nearest centre, as many as two halves of the cells agree on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass import dictionaries
from cellglass.dictionaries.baselines.clusters import Clusters, stable_number
from cellglass.errors import InputError


def blobs(n: int, k: int, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Return rows of `k` clusters that lie apart, far from 0, and the cluster of each."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, 5)) * 10 + 50
    label = rng.integers(0, k, n)
    return torch.from_numpy(centres[label] + rng.normal(size=(n, 5))).float(), label


def test_each_row_has_its_nearest_centre_and_nothing_else() -> None:
    x, _ = blobs(300, 6)
    made = dictionaries.fit("clusters", x, n_components=7)
    codes = made.encode(x).to_csr().toarray()
    nearest = torch.cdist(x.double(), made.centres.double()).argmin(dim=1).numpy()
    np.testing.assert_array_equal(codes, np.eye(7)[nearest])
    np.testing.assert_allclose(made.decode(made.encode(x)), made.centres[nearest])
    assert torch.equal(made.directions, made.centres)
    assert (made.n_latents, made.d_in, made.d_out) == (7, 5, 5)


def test_preactivations_rank_the_centres_by_distance_and_have_a_gradient() -> None:
    x, _ = blobs(40, 4)
    made = dictionaries.fit("clusters", x, n_components=4)
    moved = x.clone().requires_grad_()
    p = made.preactivations(moved)
    wanted = -torch.cdist(x.double(), made.centres.double()).square() / 2
    differences = (p[:, 1:] - p[:, :1]).detach().double()
    np.testing.assert_allclose(differences, wanted[:, 1:] - wanted[:, :1], atol=0.02)
    (gradient,) = torch.autograd.grad(p[:, 2].sum(), moved)
    assert torch.allclose(gradient, made.centres[2].expand_as(x))


def test_planted_clusters_are_found_and_counted() -> None:
    x, label = blobs(600, 6)
    made = dictionaries.fit("clusters", x, seed=1)
    assert made.n_latents == 6
    found = made.encode(x).indices.numpy().ravel()
    table = np.zeros((6, 6))
    np.add.at(table, (label, found), 1)
    assert ((table > 0).sum(axis=0) == 1).all()
    assert ((table > 0).sum(axis=1) == 1).all()


def test_the_number_is_the_largest_that_halves_agree_on() -> None:
    for k in (4, 6):
        assert stable_number(blobs(600, k, 1)[0].double().numpy(), 0) == k
    noise = np.random.default_rng(0).normal(size=(400, 6))
    assert stable_number(noise, 0) in (4, 6, 8, 10, 12)  # nothing agrees; what comes nearest
    assert [stable_number(noise[:n], 0) for n in (1, 2, 119)] == [1, 2, 2]


@pytest.mark.parametrize("n", [2, 5, 40])
def test_few_rows_have_clusters_too(n: int) -> None:
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    made = dictionaries.fit("clusters", x, rows_train=np.arange(n), rows_valid=np.arange(n))
    assert 1 <= made.n_latents <= n
    assert made.encode(x).to_csr().nnz == n


def test_a_wrong_number_is_named() -> None:
    x, _ = blobs(50, 3)
    for number in (0, 51):
        with pytest.raises(InputError, match=f"n_components is {number}; it must lie between 1"):
            dictionaries.fit("clusters", x, n_components=number, rows_train=np.arange(50), rows_valid=np.arange(50))


def test_saved_and_loaded_is_the_same_and_what_is_missing_is_named(tmp_path) -> None:
    x, _ = blobs(100, 4)
    made = dictionaries.fit("clusters", x, n_components=4)
    made.save(tmp_path / "d")
    again = dictionaries.load(tmp_path / "d")
    assert isinstance(again, Clusters)
    assert torch.equal(again.centres, made.centres)
    (tmp_path / "d" / "cfg.json").write_text((tmp_path / "d" / "cfg.json").read_text().replace("n_clusters", "n"))
    with pytest.raises(InputError, match="lacks n_clusters or d_in"):
        dictionaries.load(tmp_path / "d")
