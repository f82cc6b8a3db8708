"""Sparse products and their gradients against dense matrices: either form, empty rows, no entry, one row."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from cellglass.dictionaries.sparse_ops import products
from cellglass.dictionaries.sparse_ops.products import Pattern
from cellglass.threads import threads

M, D = 30, 6
COUNTS = {
    "some": [3, 0, 5, 1, 0],
    "even": [2] * 7,
    "one row": [4],
    "an empty row": [0],
    "nothing": [0, 0, 0],
    "full": [30, 29],
}


@pytest.fixture(params=COUNTS)
def counts(request) -> list[int]:
    return COUNTS[request.param]


@pytest.fixture(params=["sparse", "dense", "as measured"])
def form(request, monkeypatch) -> None:
    """Each of the two ways that a product can be taken, and the choice between them."""
    share = {"sparse": 1.0, "dense": -1.0}.get(request.param, products._DENSE_SHARE)
    monkeypatch.setattr(products, "_DENSE_SHARE", share)


def made(counts: list[int], dtype: torch.dtype = torch.float64):
    """A pattern, its values, and the dense matrix that holds them."""
    rng = np.random.default_rng(4)
    latent = np.concatenate([rng.choice(M, c, replace=False) for c in counts])
    start = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])).int()
    pattern = Pattern(start, torch.from_numpy(latent).int(), M)
    values = torch.from_numpy(rng.standard_normal(len(latent))).to(dtype)
    dense = torch.zeros(len(counts), M, dtype=dtype)
    for i, (a, b) in enumerate(pairwise(start)):
        for e in range(a, b):
            dense[i, latent[e]] = values[e]
    return pattern, values, dense


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def test_a_pattern_is_the_dense_matrix(counts) -> None:
    pattern, values, dense = made(counts)
    assert torch.equal(pattern.dense(values), dense)
    assert pattern.row.tolist() == [i for i, c in enumerate(counts) for _ in range(c)]
    assert torch.equal(dense.view(-1)[pattern.places], values)
    assert torch.allclose(pattern.sums(values), dense.sum(0), atol=1e-12)
    start, row, order = pattern.transposed
    assert start.tolist() == [0, *np.cumsum((dense != 0).sum(0).numpy()).tolist()]
    for j in range(M):
        own = slice(int(start[j]), int(start[j + 1]))
        assert row[own].tolist() == torch.nonzero(dense[:, j])[:, 0].tolist()
        assert torch.equal(values[order[own]], dense[dense[:, j] != 0, j])


def test_whether_it_is_crowded_is_the_share_of_entries() -> None:
    assert not made([1, 2, 1])[0].crowded
    assert made([2, 2, 1])[0].crowded


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.usefixtures("form")
def test_the_three_products_equal_dense_ones(counts, dtype) -> None:
    pattern, values, dense = made(counts, dtype)
    weight, x = normal(M, D, dtype=dtype), normal(len(counts), D, seed=1, dtype=dtype)
    close = {"atol": 1e-5 if dtype == torch.float32 else 1e-12}
    assert torch.allclose(products.combine(pattern, values, weight), dense @ weight, **close)
    assert torch.allclose(products.scatter(pattern, values, x), dense.T @ x, **close)
    found = products.dots(pattern, x, weight)
    assert found.shape == values.shape
    assert torch.allclose(found, (x @ weight.T)[pattern.row.long(), pattern.latent.long()], **close)


@pytest.mark.usefixtures("form")
def test_rows_that_lie_apart_in_memory_are_read_right() -> None:
    pattern, values, dense = made(COUNTS["some"])
    x = normal(D, 5).T
    assert not x.is_contiguous()
    assert torch.allclose(products.scatter(pattern, values, x), dense.T @ x, atol=1e-12)
    assert torch.allclose(products.dots(pattern, x, normal(M, D)), (x @ normal(M, D).T).view(-1)[pattern.places])
    repeated = values[:1].expand(len(values))
    assert torch.allclose(products.combine(pattern, repeated, normal(M, D)), pattern.dense(repeated) @ normal(M, D))


@pytest.mark.usefixtures("form")
def test_gradients_of_all_three_functions_equal_finite_differences(counts) -> None:
    pattern, values, _ = made(counts)
    decoder, bias, target = normal(M, D), normal(D, seed=1), normal(len(counts), D, seed=2)
    leaves = [x.requires_grad_() for x in (values, decoder, bias, target)]
    assert torch.autograd.gradcheck(lambda *a: products.squared_error(pattern, *a)[0], leaves)
    assert torch.autograd.gradcheck(lambda f, w: products.decode(pattern, f, w), leaves[:2])
    u, encoder, encoder_bias = normal(len(counts), D, seed=3), normal(M, D, seed=4), normal(M, seed=5)

    def encoded(e: torch.Tensor, b: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        pre = ((u - shift) @ e.T + b).view(-1)[pattern.places].detach()
        return products.encode(pattern, pre, u, e, b, shift)

    assert torch.autograd.gradcheck(encoded, [x.requires_grad_() for x in (encoder, encoder_bias, normal(D, seed=6))])


@pytest.mark.usefixtures("form")
def test_the_squared_error_and_the_residual_equal_a_plain_mean(counts) -> None:
    pattern, values, dense = made(counts)
    decoder, bias, target = normal(M, D), normal(D, seed=1), normal(len(counts), D, seed=2)
    loss, residual = products.squared_error(pattern, values, decoder, bias, target)
    wanted = dense @ decoder + bias - target
    assert torch.allclose(residual, wanted, atol=1e-12)
    assert torch.allclose(loss, wanted.square().mean(), atol=1e-12)


def test_several_threads_give_the_same_error_bit_for_bit() -> None:
    noise = torch.Generator().manual_seed(0)
    n, d, k = 1500, 200, 4
    start = torch.arange(0, n * k + 1, k, dtype=torch.int32)
    latent = torch.rand(n, 500, generator=noise).topk(k, dim=1).indices.int().reshape(-1)
    values, decoder = torch.rand(n * k, generator=noise), torch.randn(500, d, generator=noise)
    target = torch.randn(n, d, generator=noise)

    def run(count: int):
        with threads(count):
            f, w = values.clone().requires_grad_(), decoder.clone().requires_grad_()
            loss, residual = products.squared_error(Pattern(start, latent, 500), f, w, torch.zeros(d), target)
            loss.backward()
            return loss.detach(), residual, f.grad

    for one, three in zip(run(1), run(3), strict=True):
        assert torch.equal(one, three)
