"""Formats are told by content: the ending of a name does not matter (what is refused is in test_refusals.py)."""

import subprocess
import sys

import pytest

from cellglass.cells.formats import open_contents


@pytest.mark.parametrize("ending", ["h5ad", "h5", "dat"])
def test_the_ending_does_not_matter(ending, adata, counts, tenx_h5, tmp_path):
    adata.write_h5ad(tmp_path / f"a.{ending}")
    tenx_h5(tmp_path / f"b.{ending}", counts)
    with open_contents(tmp_path / f"a.{ending}") as contents:
        assert list(contents.slots) == ["X"]
        assert contents.slots["X"].label == "X"
    with open_contents(tmp_path / f"b.{ending}") as contents:
        assert contents.slots["X"].label == "matrix"


def test_importing_cells_imports_no_file_library():
    code = (
        "import sys, cellglass.cells; print(sorted({'anndata', 'scanpy', 'h5py', 'zarr', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
