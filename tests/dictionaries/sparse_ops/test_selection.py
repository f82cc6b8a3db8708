"""What rules choose, against sorting and comparing in NumPy: ties, blocks, too high a guess, nothing to choose."""

import numpy as np
import pytest
import torch

from cellglass.dictionaries.sparse_ops.products import Pattern
from cellglass.dictionaries.sparse_ops.selection import (
    Above,
    Chosen,
    LargestOfBatch,
    LargestOfRow,
    above,
    keep,
    largest,
    to_codes,
)
from cellglass.threads import threads

N, M = 23, 40
TYPES = [torch.float32, torch.float64, torch.bfloat16]


def numbers(kind: str, dtype: torch.dtype = torch.float32, n: int = N, m: int = M) -> torch.Tensor:
    x = torch.randn(n, m, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    if kind == "ties":
        x = x.round()
    elif kind == "mostly negative":
        x = x - 1.5
    elif kind == "negative":
        x = -x.abs() - 0.1
    return x.to(dtype)


def look(rule, pre: torch.Tensor, rows: int) -> Chosen:
    """Show a rule everything, as often as it asks, in memory that is overwritten each time."""
    for _ in range(2):
        for block in torch.split(pre, rows):
            seen = block.clone()
            rule.add(seen)
            seen.fill_(torch.nan)
        chosen = rule.finish(pre.shape[1])
        if chosen is not None:
            return chosen
    raise AssertionError("the rule asks for a third look")


def mask_of(chosen: Chosen, pre: torch.Tensor) -> np.ndarray:
    """The chosen entries as a mask; they name each entry at most once and hold its value."""
    pattern = chosen.pattern
    row, latent = pattern.row.long(), pattern.latent.long()
    assert pattern.start.dtype == pattern.latent.dtype == torch.int32
    assert pattern.start.tolist() == [0, *np.cumsum(np.bincount(row.numpy(), minlength=len(pre))).tolist()]
    assert torch.equal(chosen.value, pre[row, latent])
    mask = np.zeros(pre.shape, dtype=int)
    np.add.at(mask, (row.numpy(), latent.numpy()), 1)
    assert mask.max(initial=0) <= 1
    return mask.astype(bool)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", ["normal", "ties", "negative"])
@pytest.mark.parametrize(("k", "begin", "end"), [(1, 0, M), (5, 0, M), (M, 0, M), (3, 7, 19), (4, 36, M)])
@pytest.mark.parametrize("rows", [6, N])
def test_the_largest_of_each_row_equal_sorting(kind: str, k: int, begin: int, end: int, rows: int, dtype) -> None:
    pre = numbers(kind, dtype)
    mask = mask_of(look(LargestOfRow(k, begin, end), pre, rows), pre)
    x = pre.double().numpy()
    assert (mask.sum(1) == k).all()
    assert not mask[:, :begin].any()
    assert not mask[:, end:].any()
    wanted = np.sort(x[:, begin:end], axis=1)[:, end - begin - k :]
    assert (np.sort(x[mask].reshape(N, k), axis=1) == wanted).all()
    if kind == "normal" and dtype != torch.bfloat16:
        assert (mask[:, begin:end] == (x[:, begin:end] >= wanted[:, :1])).all()


@pytest.mark.parametrize("only", [[0], [3, 4, 39], list(range(1, M, 3))])
def test_only_some_latents_may_be_chosen(only: list[int]) -> None:
    pre = numbers("normal")
    k = min(3, len(only))
    mask = mask_of(look(LargestOfRow(k, 0, M, only=torch.tensor(only)), pre, 5), pre)
    wanted = np.zeros((N, M), dtype=bool)
    for i in range(N):
        wanted[i, sorted(only, key=lambda j: float(pre[i, j]))[-k:]] = True
    assert (mask == wanted).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("rows", [1, 6, N])
@pytest.mark.parametrize("kind", ["normal", "ties", "negative"])
def test_all_above_a_threshold_equal_comparing(kind: str, rows: int, dtype) -> None:
    pre = numbers(kind, dtype)
    bar = torch.randn(M, generator=torch.Generator().manual_seed(1)).round().abs()
    mask = mask_of(look(Above(bar), pre, rows), pre)
    assert (mask == (pre.double() > bar.double()).numpy()).all()
    assert mask.any() == (kind != "negative")


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("rows", [6, N])
@pytest.mark.parametrize("guess", [0.0, 0.3, 1.0, 100.0])
@pytest.mark.parametrize("kind", ["normal", "ties", "mostly negative", "negative"])
@pytest.mark.parametrize("k", [1, 4, M])
def test_the_largest_of_a_batch_equal_sorting(kind: str, guess: float, k: int, rows: int, dtype) -> None:
    pre = numbers(kind, dtype)
    mask = mask_of(look(LargestOfBatch(k, M, torch.tensor(guess)), pre, rows), pre)
    x = pre.double().numpy()
    least = np.sort(x, axis=None)[::-1][N * k - 1]
    assert (mask == ((x >= least) & (x > 0))).all()
    if kind == "normal" and dtype != torch.bfloat16 and k < 10:
        assert mask.sum() == N * k


def test_too_high_a_guess_asks_for_one_more_look_and_a_low_one_does_not() -> None:
    pre = numbers("normal")
    for guess, again in ((0.0, False), (0.5, False), (9.0, True)):
        rule = LargestOfBatch(3, M, torch.tensor(guess))
        rule.add(pre)
        assert (rule.finish(M) is None) == again
    few = LargestOfBatch(M, M, torch.tensor(0.0))
    few.add(pre)
    found = few.finish(M)
    assert found is not None
    assert len(found.value) == int((pre > 0).sum())


def test_rows_are_shared_among_threads_without_a_difference() -> None:
    pre = numbers("normal", n=700, m=500)
    bar = torch.linspace(0, 2, 500)
    with threads(1):
        alone = (*largest(pre, 7), *above(pre, bar))
    with threads(3):
        shared = (*largest(pre, 7), *above(pre, bar))
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))


def some(counts: list[int], width: int = 9) -> Chosen:
    rng = np.random.default_rng(2)
    latent = [rng.choice(width, c, replace=False) for c in counts]
    start = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])).int()
    values = torch.from_numpy(rng.random(sum(counts)) + 0.5).float()
    return Chosen(Pattern(start, torch.from_numpy(np.concatenate(latent)).int(), width), values)


@pytest.mark.parametrize("counts", [[2, 0, 5, 1], [3, 3], [0, 0], [4]])
def test_kept_entries_are_those_of_the_mask(counts: list[int]) -> None:
    chosen = some(counts)
    mask = torch.from_numpy(np.random.default_rng(0).random(sum(counts)) < 0.5)
    found = keep(chosen, mask)
    assert torch.equal(found.pattern.dense(found.value), chosen.pattern.dense(chosen.value * mask))
    assert len(found.value) == int(mask.sum())
    assert found.pattern.n_rows == len(counts)


@pytest.mark.parametrize("counts", [[2, 0, 5, 1], [3, 3], [0, 0], [4], []])
def test_codes_hold_every_entry_and_are_filled_up_with_zeros(counts: list[int]) -> None:
    chosen = some(counts) if counts else Chosen(Pattern(torch.zeros(1).int(), torch.empty(0).int(), 9), torch.empty(0))
    values = chosen.value.clone().requires_grad_()
    codes = to_codes(chosen, values)
    assert codes.indices.shape == codes.values.shape == (len(counts), max(counts, default=0))
    assert codes.indices.dtype == torch.int64
    dense = torch.zeros(len(counts), 9).scatter_add(1, codes.indices, codes.values.detach())
    assert torch.equal(dense, chosen.pattern.dense(chosen.value))
    assert int((codes.values > 0).sum()) == sum(counts)
    weight = torch.arange(1.0, 1.0 + sum(counts))
    (grad,) = torch.autograd.grad((codes.values[codes.values > 0] * weight).sum(), values)
    assert torch.equal(grad, weight)
