"""Where numbers lie in memory does not matter: nothing assumes that arrays begin at a multiple of 16, 32 or 64 bytes.

Tensors of a file, a slice or another library may begin anywhere; a vector instruction that assumes otherwise crashes.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from cellglass.compiled import compiled
from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.dictionaries.sparse import combine
from cellglass.dictionaries.sparse_ops import _kernels, products
from cellglass.dictionaries.sparse_ops.products import Pattern
from cellglass.dictionaries.sparse_ops.selection import above, largest

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def moved(x: torch.Tensor) -> torch.Tensor:
    """The same numbers, one number (4 or 8 bytes) behind a multiple of 64 bytes."""
    room = torch.empty(x.numel() + 64 // x.element_size() + 1, dtype=x.dtype)
    start = (-room.data_ptr() % 64) // x.element_size() + 1
    there = room[start : start + x.numel()].view(x.shape).copy_(x)
    assert not x.numel() or there.data_ptr() % 64 == x.element_size()
    return there


def moved_array(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return moved(torch.from_numpy(x)).numpy()


def moved_weights(dictionary: Dictionary) -> Dictionary:
    """The same dictionary with every weight at such an address."""
    other = copy.deepcopy(dictionary)
    if isinstance(other, torch.nn.Module):
        for weight in [*other.parameters(), *other.buffers()]:
            weight.data = moved(weight.data)
        return other
    for name, value in vars(other).items():
        if isinstance(value, torch.Tensor):
            setattr(other, name, moved(value))
    return other


@pytest.mark.slow
def test_codes_and_reconstructions_of_every_kind(one, positive) -> None:
    other, x = moved_weights(one), moved(positive)
    plain, codes = one.encode(positive), other.encode(x)
    assert np.allclose(codes.to_csr().toarray(), plain.to_csr().toarray(), **CLOSE)
    there = Codes(moved(plain.indices), moved(plain.values), plain.width)
    assert torch.allclose(other.decode(there), one.decode(plain), **CLOSE)
    latent = torch.arange(len(x)) % one.n_latents
    assert torch.allclose(other.activations_of(x, moved(latent)), one.activations_of(positive, latent), **CLOSE)
    assert torch.allclose(other.preactivations(x), one.preactivations(positive), **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 5, 37])
def test_selection(dtype: torch.dtype, k: int) -> None:
    pre = torch.randn(25, 203, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    bar = torch.linspace(0, 1, 203)
    assert all(map(torch.equal, largest(moved(pre), k, 3, 200), largest(pre, k, 3, 200)))
    only = torch.arange(0, 203, 3)
    assert all(map(torch.equal, largest(moved(pre), k, 0, 203, moved(only)), largest(pre, k, 0, 203, only)))
    assert all(map(torch.equal, above(moved(pre), moved(bar)), above(pre, bar)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_that_write_there_too(dtype: type) -> None:
    rng = np.random.default_rng(0)
    x, bar = rng.standard_normal((20, 131)).astype(dtype), rng.standard_normal(131).astype(dtype)
    value, latent = moved_array(np.zeros((20, 9), dtype)), moved_array(np.zeros((20, 9), np.int32))
    compiled(_kernels.top_k_rows)(moved_array(x), 0, 131, moved_array(np.empty(0, np.int32)), 9, value, latent, 0, 20)
    assert (np.sort(value, axis=1) == np.sort(x, axis=1)[:, -9:]).all()
    assert (np.take_along_axis(x, latent, axis=1) == value).all()
    count = moved_array(np.zeros(20, np.int64))
    compiled(_kernels.count_above)(moved_array(x), moved_array(bar), count, 0, 20)
    assert (count == (x > bar).sum(1)).all()
    start = moved_array(np.concatenate([[0], np.cumsum(count)]))
    value, latent = moved_array(np.zeros(start[-1], dtype)), moved_array(np.zeros(start[-1], np.int32))
    compiled(_kernels.take_above)(moved_array(x), moved_array(bar), start, value, latent, 0, 20)
    assert (latent == np.nonzero(x > bar)[1]).all()
    assert (value == x[x > bar]).all()


@pytest.mark.parametrize("share", [0.0, 1.0], ids=["dense", "sparse"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_and_their_gradients(dtype: torch.dtype, share: float, monkeypatch) -> None:
    monkeypatch.setattr(products, "_DENSE_SHARE", share)
    noise = torch.Generator().manual_seed(0)
    n, m, d, k = 30, 57, 19, 4
    start = torch.arange(0, n * k + 1, k, dtype=torch.int32)
    latent = torch.rand(n, m, generator=noise).topk(k, dim=1).indices.int().reshape(-1)
    given = [torch.randn(shape, generator=noise, dtype=torch.float64).to(dtype) for shape in ((n * k,), (m, d), (n, d))]

    def results(at) -> list[torch.Tensor]:
        pattern = Pattern(at(start), at(latent), m)
        values, weight, x = (at(one).requires_grad_() for one in given)
        bias = at(torch.zeros(d, dtype=dtype))
        loss, residual = products.squared_error(pattern, values, weight, bias, x)
        decoded = products.decode(pattern, values, weight)
        with torch.no_grad():
            pre = products.dots(pattern, x, weight)
        responses = products.encode(pattern, at(pre), x.detach(), weight)
        grads = torch.autograd.grad(loss + decoded.square().sum() + responses.square().sum(), (values, weight, x))
        codes = Codes(at(latent.long().view(n, k)), at(values.detach().view(n, k)), m)
        return [loss, residual, decoded, responses, combine(codes, weight), *grads]

    for there, here in zip(results(moved), results(torch.clone), strict=True):
        assert torch.allclose(there, here, rtol=1e-5, atol=1e-4)
