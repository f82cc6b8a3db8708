"""What is no file of cells is told for what it is, in one line, with a way out; nothing of it is called damaged."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest

from cellglass.atlas.write import write_zarr
from cellglass.cells import read_cells
from cellglass.errors import InputError


def zipped(**files):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return target.getvalue()


def tarred():
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("matrix.mtx"), io.BytesIO(b""))
    return target.getvalue()


def parquet():
    target = io.BytesIO()
    pd.DataFrame({"a": [1]}).to_parquet(target)
    return target.getvalue()


def numpy():
    target = io.BytesIO()
    np.save(target, np.zeros(3))
    return target.getvalue()


RDS = b"X\n\x00\x00\x00\x03\x00\x04\x03\x01"
CONTENT = {
    "empty": (b"", "is empty"),
    "Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n",
        "is a Git LFS pointer.*git lfs",
    ),
    "R": (gzip.compress(RDS), "is an R object"),
    "R, bzip2": (bz2.compress(RDS), "is an R object"),
    "R, xz": (lzma.compress(RDS), "is an R object"),
    "R, plain": (RDS, "is an R object"),
    "R, RData": (gzip.compress(b"RDX3\nX\n\x00"), "is an R object.*write_h5ad"),
    "zip": (zipped(data__a_dot_h5ad="x"), r"is a zip archive; unpack it .*\(data/a.h5ad\)"),
    "Excel": (zipped(xl__workbook_dot_xml="x"), "is a workbook of Excel; save it as .csv"),
    "PyTorch": (zipped(archive__data_dot_pkl="x"), "is a file of PyTorch.*--model"),
    "npz": (zipped(a_dot_npy="x"), "is an archive of NumPy arrays"),
    "zip cut short": (zipped(a="x")[:30], "is a zip archive that is cut short"),
    "tar": (tarred(), "is a tar archive; unpack it"),
    "HDF5 in gzip": (gzip.compress(b"\x89HDF\r\n\x1a\n" + b"\0" * 99), "is HDF5 inside of gzip; unpack it first"),
    "web page": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page"),
    "matrix alone": (
        b"%%MatrixMarket matrix coordinate integer general\n1 1 1\n1 1 1\n",
        "is the matrix alone; name the",
    ),
    "matrix alone, gzip": (gzip.compress(b"%%MatrixMarket matrix coordinate integer general\n"), "is the matrix alone"),
    "pickle": (pickle.dumps({"a": 1}), "is a Python pickle, which cellglass never opens"),
    "parquet": (parquet(), "is a parquet table"),
    "npy": (numpy(), "is one array of NumPy"),
    "JSON": (json.dumps({"a": 1}).encode(), "is JSON"),
    "binary": (bytes(range(5, 256)) * 3, "is no file of cells that is known here"),
    "prose": (b"Dear colleagues,\nthe counts follow.\n", "is a table of text without numbers"),
    "a list": (b"CD3E\nCD4\n", "is text, but no table"),
    "one line": (b"a,b,c\n", "is text of one line"),
    "UTF-16": ("a,b\nc,1\n".encode("utf-16"), "is text in UTF-16; save it as UTF-8"),
}


@pytest.mark.parametrize("name", ["my.h5ad", "my.rds"])
@pytest.mark.parametrize("case", CONTENT)
def test_a_file_of_something_else_says_what_it_is(case, name, tmp_path):
    content, says = CONTENT[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says) as refused:
        read_cells(tmp_path / name)
    message = str(refused.value)
    assert message.startswith(str(tmp_path / name))
    assert "\n" not in message
    assert "damaged" not in message


GROUPS = {
    "h5Seurat": (("assays", "cell.names", "meta.data"), "is an h5Seurat file"),
    "molecules": (("barcode_idx", "umi", "count"), "is Cell Ranger's list of molecules"),
    "weights": (("model_weights",), "holds weights of a model"),
    "something": (("odd",), "is HDF5 but neither AnnData"),
}


@pytest.mark.parametrize("case", GROUPS)
def test_hdf5_of_something_else_says_what_it_is(case, tmp_path):
    names, says = GROUPS[case]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name in names:
            file.create_group(name)
    with pytest.raises(InputError, match=says):
        read_cells(tmp_path / "x.h5")


def test_a_folder_above_the_cells_names_them(adata, counts, tenx_mtx, tmp_path):
    (tmp_path / "run" / "outs").mkdir(parents=True)
    tenx_mtx(tmp_path / "run" / "outs" / "filtered_feature_bc_matrix", counts)
    with pytest.raises(InputError, match=r"is a folder above the cells; name .*run/outs/filtered_feature_bc_matrix$"):
        read_cells(tmp_path / "run")
    adata.write_h5ad(tmp_path / "run" / "a.h5ad")
    write_zarr(adata, tmp_path / "run" / "b.zarr")
    with pytest.raises(InputError, match=r"name .*run/a.h5ad \(there are also .*run/b.zarr, .*filtered_feature"):
        read_cells(tmp_path / "run")


def test_spatialdata_names_its_table(adata, tmp_path):
    import zarr

    zarr.open_group(tmp_path / "s.zarr", mode="w").create_group("images")
    (tmp_path / "s.zarr" / "tables").mkdir()
    with pytest.raises(InputError, match="is SpatialData; name the table in it"):
        read_cells(tmp_path / "s.zarr")
    write_zarr(adata, tmp_path / "s.zarr" / "tables" / "table")
    with pytest.raises(InputError, match=r"is SpatialData; name the table in it: .*s\.zarr/tables/table$"):
        read_cells(tmp_path / "s.zarr")
    assert read_cells(tmp_path / "s.zarr" / "tables" / "table").n_cells == 60
