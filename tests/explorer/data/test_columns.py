from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import zarr

from cellglass.atlas.read import Atlas
from cellglass.errors import InputError
from cellglass.explorer.data.columns import Column, Columns, from_bytes, to_bytes


def test_a_column_file_is_little_endian_and_read_back() -> None:
    content = to_bytes(Column(np.array([1, 258]), np.array([0.5, -2.0])))
    assert content.hex() == "02000000" + "01000000" + "02010000" + "0000003f" + "000000c0"
    rows, values = from_bytes(content)
    assert rows.tolist() == [1, 258]
    assert values.tolist() == [0.5, -2.0]
    assert len(from_bytes(to_bytes(Column(np.zeros(0), np.zeros(0)))).rows) == 0
    with pytest.raises(InputError, match="20 bytes, but these are 19"):
        from_bytes(content[:-1])


def test_every_column_is_that_of_the_matrix(atlas: Atlas) -> None:
    matrix = sp.csc_matrix(atlas.concepts.X)
    columns = Columns(atlas.path / "concepts.zarr", matrix.shape)
    for number in range(len(columns)):
        dense = np.zeros(matrix.shape[0], dtype=np.float32)
        dense[columns[number].rows] = columns[number].values
        np.testing.assert_array_equal(dense, matrix[:, [number]].toarray()[:, 0])


@pytest.mark.parametrize("entries", [1, 7, 1000, 1 << 22])
def test_blocks_hold_every_entry_once(atlas: Atlas, entries: int) -> None:
    matrix = sp.csc_matrix(atlas.concepts.X)[:, :]
    columns = Columns(atlas.path / "concepts.zarr", matrix.shape)
    if entries == 1:
        columns.starts = np.minimum(columns.starts, 40)  # a few entries are enough, one at a time
        matrix = sp.csc_matrix((matrix.data[:40], matrix.indices[:40], columns.starts), matrix.shape)
    parts = list(columns.blocks(entries))
    assert all(len(rows) <= entries for _, rows, _ in parts)
    where, rows, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert len(rows) == matrix.nnz
    found = sp.coo_matrix((values, (rows, where)), matrix.shape)
    assert (found != matrix).nnz == 0


@pytest.fixture
def copied(atlas: Atlas, tmp_path: Path) -> Path:
    return Path(shutil.copytree(atlas.path / "concepts.zarr", tmp_path / "concepts.zarr"))


def _edit(place: Path, name: str, at: int, value: float) -> None:
    zarr.open_group(str(place), mode="r+")["X"][name][at] = value


@pytest.mark.parametrize(
    ("name", "at", "value", "message"),
    [
        ("indptr", 1, 10**6, "columns do not begin"),
        ("indptr", -1, 7, "columns do not begin"),
        ("indices", 3, 700, "names cell 700 of 700"),
        ("indices", 3, -1, "names cell"),
        ("data", 3, np.nan, "not finite"),
        ("data", 3, 0.0, "holds a zero"),
    ],
)
def test_a_damaged_matrix_is_named(copied: Path, name: str, at: int, value: float, message: str) -> None:
    _edit(copied, name, at, value)
    with pytest.raises(InputError, match=message) as caught:
        _ = Columns(copied, (700, 24))[0]
    assert str(copied) in str(caught.value)


def test_a_lost_chunk_and_a_foreign_matrix_are_named(copied: Path) -> None:
    with pytest.raises(InputError, match=r"X has shape \(700, 24\), but its tables say"):
        Columns(copied, (700, 25))
    columns = Columns(copied, (700, 24))
    for chunk in (copied / "X" / "indices" / "c").iterdir():
        chunk.unlink()
    with pytest.raises(InputError, match="names cell 0 twice"):
        _ = columns[0]
    zarr.open_group(str(copied), mode="r+")["X"].attrs["encoding-type"] = "csr_matrix"
    with pytest.raises(InputError, match="stored as csr_matrix"):
        Columns(copied, (700, 24))


def test_zeros_that_may_be_stored_are_left_out_and_rows_come_sorted(copied: Path) -> None:
    before = Columns(copied, (700, 24))[0]
    _edit(copied, "data", 3, 0.0)
    after = Columns(copied, (700, 24), zeros=True)[0]
    np.testing.assert_array_equal(after.rows, np.delete(before.rows, 3))
    _edit(copied, "indices", 0, before.rows[1])
    _edit(copied, "indices", 1, before.rows[0])
    again = Columns(copied, (700, 24), zeros=True)[0]
    np.testing.assert_array_equal(again.rows, after.rows)
    np.testing.assert_array_equal(again.values[:2], after.values[:2][::-1])


def test_several_columns_are_what_each_is_alone(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = Columns(atlas.path / "concepts.zarr", atlas.concepts.shape)
    chosen = [5, 6, 7, 3, 9, 10, 2, 1]
    for most in (1, int(columns.starts[7] - columns.starts[5]), 1 << 22):
        monkeypatch.setattr("cellglass.explorer.data.columns.BLOCK", most)
        for number, column in zip(chosen, columns.several(chosen), strict=True):
            assert column.rows.tolist() == columns[number].rows.tolist()
            assert column.values.tolist() == columns[number].values.tolist()
    assert columns.several([]) == []
