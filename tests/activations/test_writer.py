"""The writer keeps token rows with their genes, refuses what does not fit, and goes on where it stopped."""

import numpy as np
import pytest
import torch

from cellglass.activations.manifest import StoredSite
from cellglass.activations.store import open_store
from cellglass.activations.writer import SiteBatch, Writer
from cellglass.errors import InputError


def tokens(first: int, last: int) -> SiteBatch:
    """Cell c has c + 1 tokens: its genes 0 to c."""
    cell = np.concatenate([np.full(c + 1, c) for c in range(first, last)])
    gene = np.concatenate([np.arange(c + 1) for c in range(first, last)])
    return SiteBatch(torch.from_numpy(np.stack([cell, gene], 1)).float(), cell, gene)


def cells(first: int, last: int) -> SiteBatch:
    return SiteBatch(torch.arange(first, last)[:, None].float(), np.arange(first, last))


SITES = {"t/odd name": StoredSite(2, "token", "float16"), "z": StoredSite(1)}


def test_token_rows_carry_cell_and_gene_across_shards(tmp_path) -> None:
    writer = Writer(tmp_path / "s", 10, "test", SITES, shard_bytes=40)
    for first, last in ((0, 3), (3, 4), (4, 8), (8, 10)):
        writer.add(last, {"t/odd name": tokens(first, last), "z": cells(first, last)})
    writer.close()
    store = open_store(tmp_path / "s")
    assert len(store.manifest.shards) > 1
    rows = store.rows("t/odd name")
    assert (rows.n_rows, store.n_rows("z")) == (55, 10)
    picked = np.array([54, 0, 20, 7])
    whole = tokens(0, 10)
    assert torch.equal(rows.read(picked), whole.values[picked])
    assert (rows.cells() == whole.cell).all()
    assert (rows.genes(picked) == whole.gene[picked]).all()
    with pytest.raises(InputError, match="no gene"):
        store.rows("z").genes()


def test_an_interrupted_writer_goes_on_from_the_last_whole_shard(tmp_path) -> None:
    writer = Writer(tmp_path, 6, "test", {"z": StoredSite(1)}, shard_bytes=8)
    writer.add(2, {"z": cells(0, 2)})
    writer.add(3, {"z": cells(2, 3)})
    (tmp_path / "z" / ".writing-1-00009.safetensors").write_text("left by a kill")
    again = Writer(tmp_path, 6, "test", {"z": StoredSite(1)}, shard_bytes=8)
    assert again.next_cell == 2
    assert not list(tmp_path.rglob(".writing-*"))
    again.add(6, {"z": cells(2, 6)})
    again.close()
    assert open_store(tmp_path).read("z")[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_another_capture_is_not_gone_on_with(tmp_path) -> None:
    Writer(tmp_path / "s", 6, "test", {"z": StoredSite(1)})
    for n, source, site in ((7, "test", 1), (6, "other", 1), (6, "test", 2)):
        with pytest.raises(InputError, match="another capture"):
            Writer(tmp_path / "s", n, source, {"z": StoredSite(site)})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        Writer(tmp_path / "mine", 6, "test", {"z": StoredSite(1)})
    assert (tmp_path / "mine" / "notes.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("stop", "batch", "message"),
    [
        (2, {"y": cells(0, 2)}, "sites"),
        (2, {"z": SiteBatch(torch.zeros(2, 3), np.arange(2))}, "shape"),
        (2, {"z": SiteBatch(torch.zeros(2, 1), np.array([1, 0]))}, "order"),
        (2, {"z": SiteBatch(torch.zeros(2, 1), np.array([1, 2]))}, "order"),
        (2, {"z": SiteBatch(torch.zeros(2, 1), np.arange(2), sd=torch.ones(2, 1))}, "sd or gene"),
        (2, {"z": SiteBatch(torch.tensor([[1.0], [torch.inf]]), np.arange(2))}, "cells 0 to 1 are NaN, infinite"),
        (2, {"z": SiteBatch(torch.tensor([[1.0], [1e6]]), np.arange(2))}, "too large for float16"),
    ],
)
def test_a_batch_that_does_not_fit_is_named(tmp_path, stop: int, batch, message: str) -> None:
    writer = Writer(tmp_path, 2, "test", {"z": StoredSite(1, dtype="float16")})
    with pytest.raises(InputError, match=message):
        writer.add(stop, batch)


def test_closing_early_is_refused(tmp_path) -> None:
    writer = Writer(tmp_path, 5, "test", {"z": StoredSite(1)})
    writer.add(2, {"z": cells(0, 2)})
    with pytest.raises(InputError, match="2 of 5 cells"):
        writer.close()
