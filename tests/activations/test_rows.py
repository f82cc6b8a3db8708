"""Shuffled batches: every row once, the same order from the same seed, draws with the right mean and spread."""

import numpy as np
import pytest
import torch

from cellglass.activations.rows import BLOCK, MemoryRows, as_rows
from cellglass.errors import InputError


def numbered(n: int, spread: bool = False) -> MemoryRows:
    values = torch.arange(n, dtype=torch.float32)[:, None].repeat(1, 2)
    return MemoryRows(values, torch.full_like(values, 0.5) if spread else None)


@pytest.mark.parametrize("buffer_rows", [100, 600, 10_000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_each_row_comes_once(buffer_rows: int, shuffle: bool) -> None:
    chosen = np.arange(0, 3000, 2)
    batches = list(numbered(3000).batches(batch_size=64, rows=chosen, shuffle=shuffle, buffer_rows=buffer_rows))
    assert [len(batch) for batch in batches] == [64] * 23 + [28]
    seen = torch.cat(batches)[:, 0].numpy()
    assert (np.sort(seen) == chosen).all()
    assert (seen == chosen).all() != shuffle


def test_same_seed_and_epoch_give_the_same_batches_and_others_do_not() -> None:
    rows = numbered(1000, spread=True)

    def all_rows(seed: int, epoch: int) -> torch.Tensor:
        return torch.cat(list(rows.batches(batch_size=50, seed=seed, epoch=epoch, draw=True, buffer_rows=300)))

    assert torch.equal(all_rows(1, 2), all_rows(1, 2))
    assert not torch.equal(all_rows(1, 2), all_rows(1, 3))
    assert not torch.equal(all_rows(1, 2), all_rows(2, 2))


def test_a_buffer_holds_blocks_from_all_over() -> None:
    first = next(iter(numbered(100 * BLOCK).batches(batch_size=512, buffer_rows=10 * BLOCK)))
    blocks = np.unique(first[:, 0].numpy() // BLOCK)
    assert len(blocks) == 10
    assert blocks.max() - blocks.min() > 20


def test_reading_is_bounded_by_the_buffer() -> None:
    read: list[int] = []

    class Watched(MemoryRows):
        def read(self, rows):
            read.append(len(rows))
            return super().read(rows)

    rows = Watched(torch.zeros(5000, 3))
    assert sum(len(batch) for batch in rows.batches(batch_size=100, buffer_rows=1024)) == 5000
    assert max(read) <= 1024 + 100


def test_draws_have_the_posteriors_mean_and_spread() -> None:
    rows = MemoryRows(torch.full((20_000, 2), 3.0), torch.tensor([0.5, 2.0]).repeat(20_000, 1))
    drawn = torch.cat(list(rows.batches(batch_size=1000, draw=True)))
    assert torch.allclose(drawn.mean(0), torch.tensor([3.0, 3.0]), atol=0.06)
    assert torch.allclose(drawn.std(0), torch.tensor([0.5, 2.0]), rtol=0.03)


def test_drop_last_leaves_out_the_small_batch() -> None:
    assert [len(b) for b in numbered(250).batches(batch_size=100, drop_last=True)] == [100, 100]


def test_a_mask_selects_rows_and_arrays_become_rows() -> None:
    rows = as_rows(np.arange(8, dtype=np.float64).reshape(4, 2))
    assert as_rows(rows) is rows
    mask = np.array([True, False, False, True])
    assert rows.read(rows.positions(mask)).tolist() == [[0, 1], [6, 7]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: list(numbered(5).batches(batch_size=0)), "batch_size is 0"),
        (lambda: list(numbered(5).batches(batch_size=2, rows=[1, 5])), "rows 0 to 4"),
        (lambda: list(numbered(5).batches(batch_size=2, draw=True)), "no posterior spread"),
        (lambda: numbered(5).read_spread(np.array([0])), "no posterior spread"),
        (lambda: numbered(5).positions(np.array([True])), "1 entries"),
        (lambda: MemoryRows(torch.zeros(3)), "rows x width"),
        (lambda: MemoryRows(torch.zeros(3, 2), torch.zeros(2, 2)), "spread has shape"),
        (lambda: MemoryRows(torch.full((3, 2), torch.nan)), "NaN"),
    ],
)
def test_wrong_use_is_named(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
