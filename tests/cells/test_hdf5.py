"""Files that are fine but open elsewhere, or packed with what is not installed: neither is called damaged."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from cellglass.cells import read_cells
from cellglass.cells.hdf5 import missing_filters
from cellglass.errors import InputError

UNKNOWN = 32099
"""A number that no filter is registered under."""


def packed(path, name, number=UNKNOWN):
    """Replace a dataset by one that says to be packed with a filter; its bytes are of no account."""
    with h5py.File(path, "r+") as file:
        values = file[name][...]
        attributes = dict(file[name].attrs)
        del file[name]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk(values.shape)
        plan.set_filter(number, h5py.h5z.FLAG_OPTIONAL, ())
        kind, space = h5py.h5t.py_create(values.dtype), h5py.h5s.create_simple(values.shape)
        made = h5py.Dataset(h5py.h5d.create(file.id, name.encode(), kind, space, plan))
        made.id.write_direct_chunk((0,) * values.ndim, values.tobytes(), 0)
        made.attrs.update(attributes)


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        read_cells(path, **options)
    assert "\n" not in str(caught.value)
    assert "damaged" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def path(adata, tmp_path):
    adata.layers["other"] = adata.X.toarray()
    adata.write_h5ad(tmp_path / "my.h5ad")
    return tmp_path / "my.h5ad"


@pytest.mark.parametrize("part", ["X/data", "X/indptr", "var/_index"])
def test_a_missing_filter_is_named_with_what_to_install(part, path):
    if part == "var/_index":
        with h5py.File(path, "r+") as file:
            file["var/_index_old"] = file["var/_index"]  # text of no fixed length cannot be packed like that
            del file["var/_index"]
            file["var/_index"] = np.arange(40)
    packed(path, part, 32099)
    message = refusal(path)
    assert "is packed with filter 32099, an HDF5 filter that is not installed" in message
    assert "pip install hdf5plugin" in message


def test_a_missing_filter_of_a_layer_that_nobody_needs_is_no_matter(path):
    packed(path, "layers/other")
    with h5py.File(path) as file:
        assert missing_filters(file) == "filter 32099"
    assert read_cells(path).n_cells == 60
    assert "pip install hdf5plugin" in refusal(path, counts="other")


def test_known_filters_have_names(path):
    packed(path, "layers/other", 32015)
    with h5py.File(path) as file:
        assert missing_filters(file) in ("Zstandard", "")  # nothing is missing where hdf5plugin is installed


def test_a_file_that_another_program_writes_is_open_elsewhere(path):
    code = "import sys, h5py; file = h5py.File(sys.argv[1], 'r+'); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        assert "is open elsewhere" in refusal(path)
        other.stdin.close()
    assert read_cells(path).n_cells == 60
