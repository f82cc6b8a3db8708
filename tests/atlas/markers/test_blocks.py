"""Blocks of columns against the whole matrix, and what is said of a damaged one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

from cellglass.atlas import open_atlas
from cellglass.atlas.markers import blocks
from cellglass.atlas.markers.blocks import Columns, latents_of
from cellglass.atlas.write import write_zarr
from cellglass.errors import DamagedError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    dense = np.random.default_rng(0).random((50, 12))
    dense[dense < 0.6] = 0
    dense[:, 4] = 0
    return write_zarr(AnnData(X=sp.csc_matrix(dense.astype(np.float32))), tmp_path / "m.zarr")


@pytest.mark.parametrize("size", [1, 30, 10_000])
def test_blocks_are_the_matrix(place: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    import anndata

    whole = sp.csc_matrix(anndata.read_zarr(place).X)
    monkeypatch.setattr(blocks, "BLOCK", size)
    matrix = Columns(place)
    parts = [sp.csc_matrix((data, rows, indptr), (50, len(indptr) - 1)) for data, rows, indptr in matrix.blocks()]
    assert (matrix.shape, matrix.n_stored) == ((50, 12), whole.nnz)
    np.testing.assert_array_equal(sp.hstack(parts).toarray(), whole.toarray())
    largest = max(np.diff(whole.indptr))
    assert all(len(data) <= max(size, largest) for data, _, _ in matrix.blocks())
    assert len(parts) == {1: 12, 10_000: 1}.get(size, len(parts))


def test_latents_are_those_of_the_table(full_folder: Path) -> None:
    expected = open_atlas(full_folder).concepts.var["latent"].to_numpy()
    np.testing.assert_array_equal(latents_of(full_folder / "concepts.zarr"), expected)


def test_a_chunk_that_is_lost_reads_as_zeros_which_there_are_none_of(place: Path) -> None:
    for chunk in (place / "X" / "data" / "c").iterdir():
        chunk.unlink()
    assert not any(block.data.any() for block in Columns(place).blocks())
    with pytest.raises(DamagedError, match="it holds a zero"):
        list(Columns(place, zeros=False).blocks())


def spoil(place: Path, what: str) -> None:
    import zarr

    matrix = zarr.open_group(str(place), mode="r+")["X"]
    if what == "offsets":
        matrix["indptr"][1] = 10**6
    elif what == "start":
        matrix["indptr"][0] = 1
    elif what == "too many":
        ends = matrix["indptr"][:]
        ends[1:-1] = ends[-1]
        matrix["indptr"][:] = ends
    elif what == "rows":
        matrix["indices"][3] = 50
    elif what == "value":
        matrix["data"][3] = np.nan
    elif what == "kind":
        matrix.attrs["encoding-type"] = "csr_matrix"
    elif what == "shape":
        matrix.attrs["shape"] = [50, 13]
    elif what == "gone":
        shutil.rmtree(place)
    else:
        meta = place / "X" / "data" / "zarr.json"
        meta.write_text(json.dumps({**json.loads(meta.read_text()), "zarr_format": "junk"}))


@pytest.mark.parametrize(
    "what", ["offsets", "start", "too many", "rows", "value", "kind", "shape", "gone", "description"]
)
def test_a_damaged_matrix_is_said_to_be_one(place: Path, what: str) -> None:
    spoil(place, what)
    with pytest.raises(DamagedError, match=r"m\.zarr: it cannot be read") as caught:
        list(Columns(place).blocks())
    assert "\n" not in str(caught.value)
    assert "write the atlas again" in str(caught.value)
    with pytest.raises(DamagedError):
        latents_of(place)
