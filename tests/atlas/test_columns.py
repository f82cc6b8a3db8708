"""Columns and blocks of columns against the whole matrix, and what is said of a damaged one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from anndata import AnnData

from cellglass.atlas import columns as module
from cellglass.atlas.columns import Columns
from cellglass.atlas.write import write_zarr
from cellglass.errors import DamagedError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """50 x 12; column 4 holds nothing, and so does the last one."""
    dense = np.random.default_rng(0).random((50, 12))
    dense[dense < 0.6] = 0
    dense[:, [4, 11]] = 0
    return write_zarr(AnnData(X=sp.csc_matrix(dense.astype(np.float32))), tmp_path / "m.zarr")


def whole(place: Path) -> sp.csc_matrix:
    return sp.csc_matrix(anndata.read_zarr(place).X)


def edit(place: Path, name: str, at: int, value: float) -> None:
    zarr.open_group(str(place), mode="r+")["X"][name][at] = value


def test_every_column_is_that_of_the_matrix(place: Path) -> None:
    columns, matrix = Columns(place), whole(place)
    assert (columns.shape, len(columns), columns.n_stored) == ((50, 12), 12, matrix.nnz)
    np.testing.assert_array_equal(columns.sizes, np.diff(matrix.indptr))
    for number in range(len(columns)):
        dense = np.zeros(50, dtype=np.float32)
        dense[columns[number].rows] = columns[number].values
        np.testing.assert_array_equal(dense, matrix[:, [number]].toarray()[:, 0])


@pytest.mark.parametrize("entries", [1, 7, 30, None])
def test_blocks_are_the_matrix_and_hold_at_most_what_was_asked_or_one_column(place: Path, entries: int | None) -> None:
    columns, matrix = Columns(place), whole(place)
    blocks = list(columns.blocks(entries))
    parts = [sp.csc_matrix((data, rows, indptr), (50, len(indptr) - 1)) for data, rows, indptr, _ in blocks]
    np.testing.assert_array_equal(sp.hstack(parts).toarray(), matrix.toarray())
    assert [block.first for block in blocks] == np.cumsum([0, *(part.shape[1] for part in parts[:-1])]).tolist()
    assert all(len(block.data) <= (entries or module.BLOCK) or len(block.indptr) == 2 for block in blocks)
    where, rows, values = (
        np.concatenate(part) for part in zip(*((b.columns, b.rows, b.data) for b in blocks), strict=True)
    )
    assert (sp.coo_matrix((values, (rows, where)), (50, 12)) != matrix).nnz == 0
    if entries is None:
        assert len(blocks) == 1


def test_several_columns_are_what_each_is_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = Columns(place)
    chosen = [5, 6, 7, 3, 4, 9, 10, 11, 2, 1]
    for most in (1, int(columns.starts[7] - columns.starts[5]), 1 << 22):
        monkeypatch.setattr(module, "BLOCK", most)
        for number, column in zip(chosen, columns.several(chosen), strict=True):
            assert column.rows.tolist() == columns[number].rows.tolist()
            assert column.values.tolist() == columns[number].values.tolist()
    assert columns.several([]) == []


def test_a_matrix_without_columns_or_entries_has_none(tmp_path: Path) -> None:
    none = write_zarr(AnnData(X=sp.csc_matrix((5, 0), dtype=np.float32)), tmp_path / "none.zarr")
    assert list(Columns(none).blocks()) == []
    empty = Columns(write_zarr(AnnData(X=sp.csc_matrix((5, 3), dtype=np.float32)), tmp_path / "empty.zarr"))
    assert [len(block.data) for block in empty.blocks()] == [0]
    assert [len(column.rows) for column in empty.several([0, 1, 2])] == [0, 0, 0]


def test_a_lost_chunk_of_values_reads_as_zeros_which_there_are_none_of(place: Path) -> None:
    for chunk in (place / "X" / "data" / "c").iterdir():
        chunk.unlink()
    assert not any(block.data.any() for block in Columns(place, zeros=True).blocks())
    for read in (lambda: list(Columns(place).blocks()), lambda: Columns(place)[0]):
        with pytest.raises(DamagedError, match="column 0 holds a zero"):
            read()


def test_a_lost_chunk_of_rows_names_a_cell_twice(place: Path) -> None:
    for chunk in (place / "X" / "indices" / "c").iterdir():
        chunk.unlink()
    for read in (lambda: list(Columns(place).blocks()), lambda: Columns(place)[0]):
        with pytest.raises(DamagedError, match="column 0 names cell 0 twice"):
            read()


def test_zeros_that_may_be_stored_are_left_out_of_columns_and_stay_in_blocks(place: Path) -> None:
    before = Columns(place)[0]
    edit(place, "data", 3, 0.0)
    columns = Columns(place, zeros=True)
    np.testing.assert_array_equal(columns[0].rows, np.delete(before.rows, 3))
    assert sum(len(block.data) for block in columns.blocks()) == columns.n_stored


def test_rows_come_sorted_with_their_values(place: Path) -> None:
    before = [Columns(place)[number] for number in (0, 1)]
    for at, value in enumerate(before[0].rows[::-1]):
        edit(place, "indices", at, value)
    again = Columns(place).several([0, 1])
    np.testing.assert_array_equal(again[0].rows, before[0].rows)
    np.testing.assert_array_equal(again[0].values, before[0].values[::-1])
    np.testing.assert_array_equal(again[1].rows, before[1].rows)
    np.testing.assert_array_equal(again[1].values, before[1].values)
    block = next(Columns(place).blocks())
    np.testing.assert_array_equal(block.rows[: len(before[0].rows)], before[0].rows)
    np.testing.assert_array_equal(block.data[: len(before[0].rows)], before[0].values[::-1])


def test_a_shape_that_the_tables_do_not_have_is_named(place: Path) -> None:
    assert Columns(place, (50, 12)).shape == (50, 12)
    with pytest.raises(DamagedError, match=r"m\.zarr: X has shape \(50, 12\), but its tables say \(50, 13\)"):
        Columns(place, (50, 13))


def spoil(place: Path, what: str) -> None:
    matrix = zarr.open_group(str(place), mode="r+")["X"]
    if what == "too many":
        ends = matrix["indptr"][:]
        ends[1:-1] = ends[-1]
        matrix["indptr"][:] = ends
    elif what == "kind":
        matrix.attrs["encoding-type"] = "csr_matrix"
    elif what == "shape":
        matrix.attrs["shape"] = [50, 13]
    elif what == "gone":
        shutil.rmtree(place)
    elif what == "description":
        meta = place / "X" / "data" / "zarr.json"
        meta.write_text(json.dumps({**json.loads(meta.read_text()), "zarr_format": "junk"}))
    else:
        name, at, value = {
            "offset": ("indptr", 1, 10**6),
            "start": ("indptr", 0, 1),
            "end": ("indptr", -1, 7),
            "row": ("indices", 3, 50),
            "negative row": ("indices", 3, -1),
            "value": ("data", 3, np.nan),
        }[what]
        edit(place, name, at, value)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("offset", "columns do not begin"),
        ("start", "columns do not begin"),
        ("end", "columns do not begin"),
        ("too many", "columns do not begin"),
        ("shape", "columns do not begin"),
        ("row", "names cell 50 of 50"),
        ("negative row", "names cell"),
        ("value", "not finite"),
        ("kind", "stored as csr_matrix"),
        ("gone", "cannot be read"),
        ("description", "cannot be read"),
    ],
)
def test_a_damaged_matrix_is_said_to_be_one(place: Path, what: str, message: str) -> None:
    spoil(place, what)
    for read in (lambda: list(Columns(place).blocks()), lambda: Columns(place)[0]):
        with pytest.raises(DamagedError, match=message) as caught:
            read()
        assert str(caught.value).startswith(f"{place}: ")
        assert "\n" not in str(caught.value)
        assert "again" in str(caught.value)
