"""Shuffled batches: every row once, the same order from the same seed, draws with the right mean and sd."""

import numpy as np
import pytest
import torch

from cellglass.activations.rows import BLOCK, MemoryRows, Rows, SideBySide, as_rows
from cellglass.errors import InputError


def numbered(n: int, sd: bool = False) -> MemoryRows:
    values = torch.arange(n, dtype=torch.float32)[:, None].repeat(1, 2)
    return MemoryRows(values, torch.full_like(values, 0.5) if sd else None)


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
    rows = numbered(1000, sd=True)

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


def test_draws_have_the_posteriors_mean_and_sd() -> None:
    rows = MemoryRows(torch.full((20_000, 2), 3.0), torch.tensor([0.5, 2.0]).repeat(20_000, 1))
    drawn = torch.cat(list(rows.batches(batch_size=1000, draw=True)))
    assert torch.allclose(drawn.mean(0), torch.tensor([3.0, 3.0]), atol=0.06)
    assert torch.allclose(drawn.std(0), torch.tensor([0.5, 2.0]), rtol=0.03)


def noise_by_row(rows: Rows, sd: torch.Tensor, **options) -> torch.Tensor:
    """Return (draw - mean) / sd of each row, in the order of the rows; their first number says which they are."""
    drawn = torch.cat(list(rows.batches(draw=True, **options)))
    assert (drawn[:, 0].sort().values == torch.arange(rows.n_rows)).all()
    drawn = drawn[drawn[:, 0].long().argsort()]
    return ((drawn - rows.read(np.arange(rows.n_rows))) / sd)[:, 1:]


@pytest.mark.parametrize("buffer_rows", [300, 10_000])  # ten pieces, or one
@pytest.mark.parametrize("batch_size", [64, 1000])
def test_noise_is_drawn_anew_for_each_row_piece_pass_and_seed(buffer_rows: int, batch_size: int) -> None:
    """In units of the kept sd, which differs from row to row: mean 0, sd 1, independent, and none comes twice."""
    n, width = 3000, 5
    values = torch.randn(n, width, generator=torch.Generator().manual_seed(1))
    values[:, 0] = torch.arange(n)
    sd = torch.rand(n, width, generator=torch.Generator().manual_seed(2)) + 0.1
    rows = MemoryRows(values, sd * (torch.arange(width) > 0))
    options = {"buffer_rows": buffer_rows, "batch_size": batch_size}
    places = [(seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    passes = [noise_by_row(rows, sd, seed=seed, epoch=epoch, **options) for seed, epoch in places]
    together = torch.cat(passes)
    limit = 5 / n**0.5
    for noise in passes:
        assert (noise.mean(0).abs() < limit).all()
        assert ((noise.std(0) - 1).abs() < limit).all()
    assert len(together.unique(dim=0)) == len(passes) * n
    assert len(torch.unique((together * 1e4).round(), dim=0)) == len(passes) * n  # nor but for rounding
    columns = torch.cat([*(noise.T for noise in passes), passes[0].roll(1, 0).T, passes[0].roll(256, 0).T])
    assert (torch.corrcoef(columns).fill_diagonal_(0).abs() < limit).all()


def test_drop_last_leaves_out_the_small_batch() -> None:
    assert [len(b) for b in numbered(250).batches(batch_size=100, drop_last=True)] == [100, 100]


@pytest.mark.parametrize("buffer_rows", [600, 10_000])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("rows", [None, np.arange(0, 3000, 2)])
def test_rows_that_are_left_out_are_the_only_ones_missing(buffer_rows: int, shuffle: bool, rows) -> None:
    without = np.sort(np.random.default_rng(0).choice(3000, 700, replace=False))
    options = {"batch_size": 64, "rows": rows, "shuffle": shuffle, "buffer_rows": buffer_rows}
    batches = list(numbered(3000).batches(without=without, **options))
    wanted = np.setdiff1d(np.arange(3000) if rows is None else rows, without)
    assert (np.sort(torch.cat(batches)[:, 0].numpy()) == wanted).all()
    assert {len(batch) for batch in batches[:-1]} == {64}
    whole = torch.cat(list(numbered(3000).batches(**options)))[:, 0].numpy()
    assert (torch.cat(batches)[:, 0].numpy() == whole[~np.isin(whole, without)]).all()
    everything = list(numbered(3000).batches(without=np.arange(3000), **options))
    assert everything == []


@pytest.mark.parametrize("skip", [0, 1, 3, 11, 12, 40, 46, 47, 99])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("draw", [False, True])
@pytest.mark.parametrize("buffer_rows", [600, 10_000])
def test_skipped_batches_are_the_first_and_change_no_other(skip: int, drop_last, draw, buffer_rows: int) -> None:
    rows = numbered(3000, sd=True)
    options = {"batch_size": 64, "seed": 2, "draw": draw, "drop_last": drop_last, "buffer_rows": buffer_rows}
    options["without"] = np.arange(100, 160)
    whole = list(rows.batches(**options))
    found = list(rows.batches(skip=skip, **options))
    assert len(found) == max(0, len(whole) - skip)
    assert all(torch.equal(a, b) for a, b in zip(found, whole[skip:], strict=True))


def test_skipped_batches_are_not_read() -> None:
    read: list[int] = []

    class Watched(MemoryRows):
        def read(self, rows):
            read.append(len(rows))
            return super().read(rows)

    rows = Watched(torch.zeros(5000, 3))
    assert len(list(rows.batches(batch_size=100, buffer_rows=1024, skip=47))) == 3
    assert sum(read) == 300


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
@pytest.mark.parametrize("drop_last", [False, True])
def test_shares_make_up_the_batches(parts: int, drop_last: bool) -> None:
    rows = numbered(1000)
    options = {"batch_size": 30, "seed": 1, "buffer_rows": 300, "drop_last": drop_last}
    whole = list(rows.batches(**options))
    shares = [list(rows.batches(share=(i, parts), **options)) for i in range(parts)]
    assert {len(share) for share in shares} == {len(whole)}
    for number, batch in enumerate(whole):
        assert torch.equal(torch.cat([share[number] for share in shares]), batch)
        assert max(len(share[number]) for share in shares) - min(len(share[number]) for share in shares) <= 1


def test_draws_of_different_processes_differ() -> None:
    rows = MemoryRows(torch.zeros(200, 2), torch.ones(200, 2))
    first, second = (torch.cat(list(rows.batches(batch_size=50, draw=True, share=(i, 2)))) for i in range(2))
    assert not torch.isclose(first, second).any()


def test_sites_side_by_side_are_read_row_for_row() -> None:
    noise = torch.Generator().manual_seed(0)
    a, b = torch.randn(300, 3, generator=noise), torch.randn(300, 5, generator=noise)
    both = SideBySide([MemoryRows(a, torch.ones(300, 3)), as_rows(b)])
    assert (both.n_rows, both.width, both.has_sd) == (300, 8, False)
    rows = np.array([4, 299, 4, 0])
    assert torch.equal(both.read(rows), torch.cat([a, b], dim=1)[rows])
    for batch in both.batches(batch_size=32, seed=5):
        found = torch.cdist(batch[:, :3], a).argmin(dim=1)
        assert torch.equal(batch, torch.cat([a, b], dim=1)[found])
    assert torch.equal(
        torch.cat(list(both.batches(batch_size=32, seed=5)))[:, :3],
        torch.cat(list(as_rows(a).batches(batch_size=32, seed=5))),
    )


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
        (lambda: list(numbered(5).batches(batch_size=2, draw=True)), "to draw from"),
        (lambda: numbered(5).read_sd(np.array([0])), "no posterior standard deviation"),
        (lambda: numbered(5).positions(np.array([True])), "1 entries"),
        (lambda: SideBySide([numbered(5), numbered(4)]), r"sites have \[5, 4\] rows; they must be of the same cells"),
        (lambda: SideBySide([numbered(5)]).read_sd(np.array([0])), "side by side have no posterior standard deviation"),
        (
            lambda: list(SideBySide([numbered(5, True)]).batches(batch_size=2, draw=True)),
            "no posterior standard deviation",
        ),
        (lambda: MemoryRows(torch.zeros(3)), "rows x width"),
        (lambda: MemoryRows(torch.zeros(3, 2), torch.zeros(2, 2)), "sd has shape"),
        (lambda: MemoryRows(torch.full((3, 2), torch.nan)), "NaN"),
    ],
)
def test_wrong_use_is_named(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
