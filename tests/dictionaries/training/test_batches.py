"""Sources give their batches in order, from any place on, and never the rows that are held out."""

import itertools

import numpy as np
import pytest
import torch

from cellglass.activations import MemoryRows
from cellglass.activations import rows as rows_module
from cellglass.dictionaries.training import batches
from cellglass.dictionaries.training.batches import RowBatches, StreamBatches, is_stream, mean_and_variance, split_rows
from cellglass.errors import InputError


def numbered(n: int, width: int = 2) -> torch.Tensor:
    """Row i holds i everywhere."""
    return torch.arange(n, dtype=torch.float32)[:, None].repeat(1, width)


def first(source, count: int) -> list[torch.Tensor]:
    return list(itertools.islice(source.batches(), count))


def row_batches(
    learn=None, held=None, *, n: int = 500, batch_size: int = 32, sd: bool = False, **options
) -> RowBatches:
    values = numbered(n)
    rows = MemoryRows(values, torch.full_like(values, 0.3) if sd else None)
    learn, held = split_rows(rows, learn, held, 1)
    return RowBatches(rows, learn, held, **{"batch_size": batch_size, "seed": 4, **options})


# -- rows of a site ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("learn", [None, np.arange(0, 400, 3)])
@pytest.mark.parametrize("draw", [False, True])
def test_batches_are_those_of_the_rows_pass_after_pass(learn, draw: bool) -> None:
    source = row_batches(learn, np.arange(400, 500), sd=True, draw=draw)
    wanted = []
    for epoch in range(3):
        wanted += list(
            source.rows.batches(
                batch_size=32, rows=np.arange(400) if learn is None else learn, seed=4, epoch=epoch, draw=draw,
                drop_last=True,
            )
        )  # fmt: skip
    found = first(source, len(wanted))
    if learn is None:  # the same rows, in an order of its own: what is held out is left out of the shuffled whole
        per = 400 // 32
        for epoch in range(3):
            rows = torch.cat(found[epoch * per : (epoch + 1) * per])[:, 0]
            if not draw:
                assert rows.unique().numel() == per * 32
                assert float(rows.max()) < 400
    else:
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert (source.epoch, source.number) == (2, len(wanted) // 3)


@pytest.mark.parametrize("stop", [0, 1, 7, 13, 14, 15, 28, 30])
@pytest.mark.parametrize("draw", [False, True])
def test_batches_of_rows_go_on_from_any_place(stop: int, draw: bool) -> None:
    options = {"sd": True, "draw": draw}
    whole = first(row_batches(**options), 40)
    source = row_batches(**options)
    first(source, stop)
    again = row_batches(**options)
    again.seek(source.epoch, source.number)
    assert all(torch.equal(a, b) for a, b in zip(first(again, 40 - stop), whole[stop:], strict=True))


@pytest.mark.parametrize("share", [(0, 1), (1, 2)])
def test_noise_is_drawn_anew_in_every_batch_of_every_pass(share, monkeypatch) -> None:
    """What training sees: rows of zeros with sd 0.3, in pieces of 256 rows, pass after pass."""
    monkeypatch.setattr(rows_module, "BUFFER_ROWS", 256)
    rows = MemoryRows(torch.zeros(1000, 4), torch.full((1000, 4), 0.3))
    learn, held = split_rows(rows, None, None, 1)
    source = RowBatches(rows, learn, held, batch_size=32, seed=4, draw=True, share=share)
    noise = torch.cat(first(source, 100)) / 0.3
    assert source.epoch == 3
    assert len(torch.unique((noise * 1e4).round(), dim=0)) == len(noise) == 3200 // share[1]
    assert (noise.mean(0).abs() < 5 / len(noise) ** 0.5).all()
    assert ((noise.std(0) - 1).abs() < 5 / len(noise) ** 0.5).all()
    other = RowBatches(rows, learn, held, batch_size=32, seed=5, draw=True, share=share)
    assert not torch.isclose(noise[: 32 // share[1]], first(other, 1)[0] / 0.3).any()


def test_held_out_rows_are_never_learned_from_and_statistics_are_of_the_others() -> None:
    source = row_batches()
    held = set(source.held()[:, 0].tolist())
    assert len(held) == 50
    seen = set(torch.cat(first(source, 100))[:, 0].tolist())
    assert seen == set(range(500)) - held
    assert set(source.sample()[:, 0].tolist()) < seen
    mean, variance = source.statistics()
    left = torch.tensor(sorted(seen))
    assert torch.allclose(mean, left.mean().expand(2))
    assert torch.allclose(variance, left.var(correction=0).expand(2))


def test_a_sample_and_what_is_held_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(batches, "READ", 20)
    monkeypatch.setattr(batches, "_STREAM_SAMPLE", 30)
    for learn in (None, np.arange(400)):
        source = row_batches(learn, np.arange(400, 500))
        assert source.held().shape == (20, 2)
        assert float(source.held().min()) >= 400
        assert 10 < len(source.sample()) <= 30
        assert float(source.sample().max()) < 400


def test_processes_share_each_batch() -> None:
    whole = first(row_batches(), 20)
    parts = [first(row_batches(share=(i, 3)), 20) for i in range(3)]
    for i, batch in enumerate(whole):
        assert torch.equal(torch.cat([part[i] for part in parts]), batch)
    with pytest.raises(InputError, match="batches of 4 rows cannot be shared by 5 processes"):
        row_batches(batch_size=4, share=(0, 5))


def test_a_batch_is_at_most_a_quarter_of_the_rows() -> None:
    assert row_batches(n=100, batch_size=512).batch_size == 22
    assert len(first(row_batches(n=100, batch_size=512), 5)[4]) == 22


@pytest.mark.parametrize("block", [7, 1000])
@pytest.mark.parametrize("chosen", [None, np.arange(10, 300, 7)])
def test_mean_and_variance_equal_numpys_far_from_zero(block: int, chosen, monkeypatch) -> None:
    monkeypatch.setattr(batches, "READ", block)
    x = torch.randn(400, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-3, 1, 5, 100, 0.1]) + 1e4
    without = None if chosen is not None else np.arange(0, 400, 9)
    rows = np.setdiff1d(np.arange(400), without) if chosen is None else chosen
    mean, variance = mean_and_variance(MemoryRows(x), chosen, without)
    exact = x.double().numpy()[rows]
    assert np.allclose(mean.numpy(), exact.mean(0), rtol=1e-7)
    assert np.allclose(variance.numpy(), exact.var(0), rtol=1e-5)


# -- which rows --------------------------------------------------------------------------------------------------------


def test_a_tenth_is_held_out_with_the_seed_and_at_most_so_many(monkeypatch) -> None:
    rows = MemoryRows(numbered(1000))
    learn, held = split_rows(rows, None, None, 3)
    assert learn is None
    assert len(held) == len(set(held)) == 100
    assert (np.diff(held) > 0).all()
    assert (split_rows(rows, None, None, 3)[1] == held).all()
    assert not np.array_equal(split_rows(rows, None, None, 4)[1], held)
    monkeypatch.setattr(batches, "_MOST_HELD", 30)
    assert len(split_rows(rows, None, None, 3)[1]) == 30


def test_one_set_of_rows_gives_the_other() -> None:
    rows = MemoryRows(numbered(100))
    learn, held = split_rows(rows, range(0, 100, 2), None, 0)
    assert learn is not None
    assert (learn == np.arange(0, 100, 2)).all()
    assert (held == np.arange(1, 100, 2)).all()
    learn, held = split_rows(rows, None, [9, 3], 0)
    assert learn is None
    assert held.tolist() == [3, 9]
    mask = np.arange(100) < 60
    learn, held = split_rows(rows, mask, ~mask, 0)
    assert learn is not None
    assert (len(learn), len(held)) == (60, 40)


@pytest.mark.parametrize(
    ("learn", "held", "message"),
    [
        ([1], [2, 3], "1 rows to learn from and 2 held out are too few"),
        (range(10), None, "10 rows to learn from and 0 held out"),
        (None, range(10), "0 rows to learn from"),
        ([0, 10], None, "rows 0 to 9"),
        (None, [-1], "rows go from -1"),
    ],
)
def test_rows_that_cannot_be_are_named(learn, held, message: str) -> None:
    with pytest.raises(InputError, match=message):
        split_rows(MemoryRows(numbered(10)), learn, held, 0)


# -- streams -----------------------------------------------------------------------------------------------------------


def pieces(n: int, size: int) -> list[torch.Tensor]:
    return list(torch.split(numbered(n), size))


SOURCES = {
    "an iterable": lambda n, size: pieces(n, size),
    "a function": lambda n, size: lambda _epoch: iter(pieces(n, size)),
    "a generator": lambda n, size: (piece for piece in pieces(n, size)),
}


@pytest.mark.parametrize("size", [1, 3, 32, 100, 500])
@pytest.mark.parametrize("source", SOURCES)
def test_a_stream_is_regrouped_in_order_and_its_first_rows_are_held_out(source: str, size: int, monkeypatch) -> None:
    monkeypatch.setattr(batches, "READ", 30)
    monkeypatch.setattr(batches, "_STREAM_SAMPLE", 50)
    stream = StreamBatches(SOURCES[source](500, size), batch_size=32)
    held = len(stream.held())
    assert 1 <= held <= 30
    assert torch.equal(stream.held(), numbered(held))
    assert torch.equal(stream.sample(), numbered(held + len(stream.sample()))[held:])
    count = (500 - held) // 32
    found = first(stream, count)
    assert all(batch.shape == (32, 2) for batch in found)
    assert torch.equal(torch.cat(found), numbered(held + count * 32)[held:])
    mean, variance = stream.statistics()
    assert torch.allclose(mean, stream.sample().mean(0))
    assert torch.allclose(variance, stream.sample().var(0, correction=0))


@pytest.mark.parametrize("source", ["an iterable", "a function"])
@pytest.mark.parametrize("stop", [0, 1, 9, 14, 15, 16, 29, 31, 45])
def test_a_stream_goes_on_from_any_place(source: str, stop: int) -> None:
    def made() -> StreamBatches:
        return StreamBatches(SOURCES[source](500, 37), batch_size=32)

    whole = first(made(), 50)
    stream = made()
    first(stream, stop)
    again = made()
    again.seek(stream.epoch, stream.number)
    assert all(torch.equal(a, b) for a, b in zip(first(again, 50 - stop), whole[stop:], strict=True))


def test_a_generator_that_is_made_again_goes_on_too_and_a_used_one_does_not() -> None:
    whole = first(StreamBatches(iter(pieces(500, 37)), batch_size=32), 12)
    again = StreamBatches(iter(pieces(500, 37)), batch_size=32)
    again.seek(0, 5)
    assert all(torch.equal(a, b) for a, b in zip(first(again, 7), whole[5:], strict=True))
    with pytest.raises(InputError, match="can be read once"):
        first(again, 1)


def test_a_function_hears_the_number_of_the_pass() -> None:
    heard = []

    def source(epoch: int):
        heard.append(epoch)
        return pieces(100, 10) if epoch == 0 else pieces(100, 10)[::-1]

    stream = StreamBatches(source, batch_size=10)
    batches = first(stream, 8 + 10 + 10)
    assert heard == [0, 1, 2]
    assert (stream.epoch, stream.number) == (2, 10)
    assert torch.equal(torch.cat(batches[8:18]), torch.cat(pieces(100, 10)[::-1]))


def test_processes_share_each_batch_of_a_stream() -> None:
    whole = first(StreamBatches(pieces(300, 7), batch_size=20), 10)
    parts = [first(StreamBatches(pieces(300, 7), batch_size=20, share=(i, 3)), 10) for i in range(3)]
    for i, batch in enumerate(whole):
        assert torch.equal(torch.cat([part[i] for part in parts]), batch)


def test_a_stream_is_read_only_as_far_as_it_is_used(monkeypatch) -> None:
    monkeypatch.setattr(batches, "READ", 10)
    monkeypatch.setattr(batches, "_STREAM_SAMPLE", 20)
    read = []

    def endless():
        for i in itertools.count():
            read.append(i)
            yield torch.full((5, 2), float(i))

    stream = StreamBatches(endless(), batch_size=10)
    assert len(read) == 6
    first(stream, 20)
    assert len(read) <= 42


def test_numbers_of_any_type_come_as_float32() -> None:
    half = [torch.ones(40, 3, dtype=torch.float16), torch.zeros(40, 3, dtype=torch.float64, requires_grad=True)]
    stream = StreamBatches(half, batch_size=10)
    assert {batch.dtype for batch in first(stream, 6)} == {torch.float32}
    assert not any(batch.requires_grad for batch in first(StreamBatches(half, batch_size=10), 6))
    assert StreamBatches([np.ones((50, 3))], batch_size=10).held().dtype == torch.float32


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([torch.zeros(50)], r"shape \(50,\); it must be rows x width"),
        ([torch.zeros(5, 5, 2)], r"shape \(5, 5, 2\)"),
        ([torch.zeros(50, 3), torch.zeros(50, 4)], "width 4 after rows of width 3"),
        ([torch.zeros(4, 3)], "the stream gave 4 rows, too few"),
        ([], "the stream gave 0 rows, too few"),
        ([torch.zeros(20, 3)], "less than one batch of 32 rows"),
        (iter([torch.zeros(150, 3)]), "ended after 3 batches of 32 rows; lower steps"),
    ],
)
def test_a_stream_that_cannot_be_used_is_named(source, message: str) -> None:
    with pytest.raises(InputError, match=message):
        first(StreamBatches(source, batch_size=32), 10)


def test_a_width_that_changes_later_is_named(monkeypatch) -> None:
    monkeypatch.setattr(batches, "READ", 10)
    monkeypatch.setattr(batches, "_STREAM_SAMPLE", 20)
    stream = StreamBatches([torch.zeros(50, 3), torch.zeros(50, 4)], batch_size=32)
    with pytest.raises(InputError, match="width 4 after rows of width 3"):
        first(stream, 3)


def test_what_is_a_stream() -> None:
    assert not any(is_stream(x) for x in (torch.zeros(2, 2), np.zeros((2, 2)), MemoryRows(torch.zeros(2, 2))))
    assert all(is_stream(x) for x in ([torch.zeros(2, 2)], iter([]), lambda epoch: []))
