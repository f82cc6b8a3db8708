"""The compiled loops against sorting and comparing, run as plain Python too."""

import numpy as np
import pytest

from cellglass.compiled import compiled
from cellglass.dictionaries.sparse_ops import _kernels

EVERY = np.empty(0, np.int32)


@pytest.mark.parametrize("kind", ["normal", "ties", "one value", "wide", "infinite"])
@pytest.mark.parametrize(("m", "k"), [(1, 1), (5, 5), (7, 1), (40, 3), (128, 12), (700, 32), (4096, 8)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_top_k_rows_equals_sorting(kind: str, m: int, k: int, dtype) -> None:
    rng = np.random.default_rng(m + k)
    x = rng.standard_normal((30, m + 3)).astype(dtype)
    if kind == "ties":
        x = np.round(x)
    elif kind == "one value":
        x[:] = 2.5
    elif kind == "wide":
        x = np.sign(x) * np.exp(10 * np.abs(x)).astype(dtype)
    elif kind == "infinite":
        x[:, ::4], x[:, 1::5] = np.inf, -np.inf
    value, latent = np.zeros((30, k), dtype), np.zeros((30, k), np.int32)
    compiled(_kernels.top_k_rows)(x, 2, 2 + m, EVERY, k, value, latent, 0, 30)
    assert (np.sort(value, axis=1) == np.sort(x[:, 2 : 2 + m], axis=1)[:, m - k :]).all()
    assert all(len(set(row)) == k for row in latent)
    assert (latent >= 2).all()
    assert (latent < 2 + m).all()
    assert (np.take_along_axis(x, latent, axis=1) == value).all()


def test_numbers_that_are_none_are_handed_on() -> None:
    x = np.full((2, 9), np.nan, np.float32)
    value, latent = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.int32)
    compiled(_kernels.top_k_rows)(x, 0, 9, EVERY, 3, value, latent, 0, 2)
    assert np.isnan(value).all()


@pytest.mark.parametrize("run", ["plain", "compiled"])
def test_above_equals_comparing(run: str) -> None:
    count, take = _kernels.count_above, _kernels.take_above
    if run == "compiled":
        count, take = compiled(count), compiled(take)
    rng = np.random.default_rng(0)
    x, bar = rng.standard_normal((20, 37)), rng.standard_normal(37)
    found = np.zeros(20, np.int64)
    count(x, bar, found, 0, 20)
    assert (found == (x > bar).sum(1)).all()
    start = np.concatenate([[0], np.cumsum(found)])
    value, latent = np.zeros(start[-1]), np.zeros(start[-1], np.int32)
    take(x, bar, start, value, latent, 0, 20)
    assert (latent == np.nonzero(x > bar)[1]).all()
    assert (value == x[x > bar]).all()


@pytest.mark.parametrize("run", ["plain", "compiled"])
def test_transpose_equals_a_stable_sort(run: str) -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 6, 15)
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    latent = np.concatenate([rng.choice(8, c, replace=False) for c in counts]).astype(np.int32)
    start_t, row_t, order = np.zeros(9, np.int32), np.zeros(start[-1], np.int32), np.zeros(start[-1], np.int64)
    work = _kernels.transpose if run == "plain" else compiled(_kernels.transpose)
    work(start, latent, start_t, row_t, order)
    assert (order == np.argsort(latent, kind="stable")).all()
    assert (row_t == np.repeat(np.arange(15), counts)[order]).all()
    assert (np.diff(start_t) == np.bincount(latent, minlength=8)).all()


@pytest.mark.parametrize("run", ["plain", "compiled"])
def test_squared_errors_equal_dense_products(run: str) -> None:
    rng = np.random.default_rng(2)
    start = np.array([0, 2, 2, 5], np.int32)
    latent = np.array([3, 1, 0, 2, 3], np.int32)
    value, decoder, bias, target = rng.random(5), rng.random((4, 6)), rng.random(6), rng.random((3, 6))
    value[1] = 0
    dense = np.zeros((3, 4))
    dense[np.repeat(np.arange(3), np.diff(start)), latent] = value
    wanted = dense @ decoder + bias - target
    residual, total, slope = np.zeros((3, 6)), np.zeros(3), np.zeros(5)
    work = _kernels.squared_errors if run == "plain" else compiled(_kernels.squared_errors, any_order=True)
    work(start, latent, value, decoder, bias, target, residual, total, slope, 0, 3)
    assert np.allclose(residual, wanted, atol=1e-12)
    assert np.allclose(total, (wanted**2).sum(1), atol=1e-12)
    assert np.allclose(slope, (wanted @ decoder.T)[np.repeat(np.arange(3), np.diff(start)), latent], atol=1e-12)


def test_squared_errors_of_float32_are_summed_without_loss() -> None:
    rng = np.random.default_rng(3)
    n, m, d, k = 40, 50, 3000, 6
    start = np.arange(0, n * k + 1, k, dtype=np.int32)
    latent = np.concatenate([rng.choice(m, k, replace=False) for _ in range(n)]).astype(np.int32)
    wide = [rng.standard_normal(shape) for shape in ((n * k,), (m, d), (d,), (n, d))]
    results = []
    for kind in (np.float64, np.float32):
        residual, total, slope = np.zeros((n, d), kind), np.zeros(n), np.zeros(n * k, kind)
        given = [x.astype(np.float32).astype(kind) for x in wide]
        compiled(_kernels.squared_errors, any_order=True)(start, latent, *given, residual, total, slope, 0, n)
        results.append((residual, total, slope))
    for exact, found in zip(*results, strict=True):
        assert np.allclose(found, exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max())
