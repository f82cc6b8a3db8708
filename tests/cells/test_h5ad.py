"""AnnData of every age and kind of matrix."""

import logging

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.cells import cells_from_anndata, demo_cells, read_cells
from cellglass.cells.demo import _bundled
from cellglass.errors import InputError


def test_files_older_than_encodings_are_read(adata, tmp_path):
    # Tables as compound arrays and the sparse matrix with h5sparse attributes, as anndata 0.6 wrote them.
    path = tmp_path / "old.h5ad"
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs.update({"h5sparse_format": b"csr", "h5sparse_shape": np.array(adata.shape)})
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(adata.X, part)
        file["obs"] = np.array([(f"c{i}".encode(), i) for i in range(60)], dtype=[("index", "S5"), ("age", "i8")])
        file["var"] = np.array([(f"G{i}".encode(),) for i in range(40)], dtype=[("index", "S5")])
    cells = read_cells(path)
    np.testing.assert_array_equal(cells.counts.toarray(), adata.X.toarray())
    assert list(cells.obs["age"][:3]) == [0, 1, 2]
    assert cells.genes.index[1] == "G1"


def test_the_old_file_of_the_demo_is_read_and_its_values_refused():
    with pytest.raises(InputError, match=r"X is scaled.*raw is probably log-transformed"):
        read_cells(_bundled())
    assert demo_cells().n_cells == 700


@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, sp.csc_array, np.asarray])
def test_objects_with_any_matrix(layout, adata, counts):
    adata.layers["counts"] = layout(counts.toarray())
    cells = cells_from_anndata(adata)
    assert cells.source == "AnnData, layers['counts']"
    np.testing.assert_array_equal(cells.counts.toarray(), counts.toarray())


@pytest.mark.parametrize("layout", ["csr", "csc", "dense"])
def test_backed_objects_and_views(layout, adata, counts, tmp_path):
    adata.X = counts.toarray() if layout == "dense" else counts.asformat(layout)
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    np.testing.assert_array_equal(cells_from_anndata(backed).counts.toarray(), counts.toarray())
    backed.file.close()
    view = adata[5:20, 3:9]
    np.testing.assert_array_equal(cells_from_anndata(view).counts.toarray(), counts.toarray()[5:20, 3:9])


def test_obsm_keeps_matrices_of_numbers(adata, tmp_path, caplog):
    adata.obsm["table"] = pd.DataFrame({"a": np.arange(60), "b": np.arange(60) / 2}, index=adata.obs_names)
    adata.obsm["text"] = pd.DataFrame({"a": ["x"] * 60}, index=adata.obs_names)
    adata.obsm["sparse"] = sp.csr_matrix(np.eye(60))
    adata.write_h5ad(tmp_path / "a.h5ad")
    with caplog.at_level(logging.INFO, logger="cellglass"):
        cells = read_cells(tmp_path / "a.h5ad")
    assert sorted(cells.obsm) == ["X_emb", "table"]
    np.testing.assert_array_equal(cells.obsm["table"][:, 1], np.arange(60) / 2)
    assert "left out obsm['sparse']" in caplog.text
    assert "left out obsm['text']" in caplog.text


def test_mixed_columns_become_text(adata, tmp_path):
    adata.obs["mixed"] = pd.Series([1, "a", None] * 20, index=adata.obs_names, dtype=object)
    cells = cells_from_anndata(adata, spool=tmp_path / "s")
    assert list(cells.obs["mixed"][:2]) == ["1", "a"]
    assert cells.obs["mixed"].isna().sum() == 20


# -- parts that nobody needs -----------------------------------------------------------------------------------------


def spoiled(file, name, kind):
    """Make a part of a file unreadable, in one of several ways."""
    if kind == "unknown":
        del file[name]
        file.create_group(name).attrs.update({"encoding-type": "of-tomorrow", "encoding-version": "9.9"})
    elif kind == "text":
        del file[name]
        file[name] = "not what it was"
    elif kind == "short":
        del file[name]
        file[name] = np.zeros((3, 2))
        file[name].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    else:
        del file[name]
        file[name] = h5py.SoftLink("/nowhere")


PARTS = ("layers/spare", "obsm/X_emb", "obs/note", "var/length", "raw/X", "uns")
WAYS = [(part, kind) for part in PARTS for kind in ("unknown", "text", "short", "broken link")]
WAYS = [way for way in WAYS if way not in [("obs/note", "text"), ("var/length", "text")]]  # one text for all rows: read


@pytest.mark.parametrize(("part", "kind"), WAYS)
def test_an_unreadable_part_that_nobody_needs_is_left_out_and_named(part, kind, adata, tmp_path, caplog):
    adata.var["length"] = 1.0
    adata.raw = adata.copy()
    adata.layers["spare"] = adata.X.copy()
    adata.write_h5ad(tmp_path / "my.h5ad")
    with h5py.File(tmp_path / "my.h5ad", "r+") as file:
        spoiled(file, part, kind)
    with caplog.at_level(logging.INFO, logger="cellglass"):
        cells = read_cells(tmp_path / "my.h5ad")
    np.testing.assert_array_equal(cells.counts.toarray(), adata.X.toarray())
    assert {"kind", "age"} <= set(cells.obs)
    assert list(cells.symbols[:2]) == ["SYM0", "SYM1"]
    if part == "uns":
        return
    name = part.split("/")[1] if part != "raw/X" else "raw"
    assert name in caplog.text
    assert "left out" in caplog.text
    asked = {"layers/spare": {"counts": "spare"}, "raw/X": {"counts": "raw"}, "obs/note": {"columns": ["note"]}}
    if part in asked:
        with pytest.raises(InputError, match=name) as refused:
            read_cells(tmp_path / "my.h5ad", **asked[part])
        assert "\n" not in str(refused.value)


def test_a_layer_of_counts_that_cannot_be_read_is_passed_over_with_a_warning(adata, tmp_path, caplog):
    adata.layers["counts"] = adata.X.copy()
    adata.write_h5ad(tmp_path / "my.h5ad")
    with h5py.File(tmp_path / "my.h5ad", "r+") as file:
        file["layers/counts/indices"][...] = 10_000
    assert read_cells(tmp_path / "my.h5ad").source == "my.h5ad, X"
    assert "took X, since layers['counts'] is not to be read" in caplog.text
    with pytest.raises(InputError, match="names position 10000 of 40"):
        read_cells(tmp_path / "my.h5ad", counts="layers/counts")


def test_a_layer_with_a_slash_in_its_name_is_left_out_and_named(adata, tmp_path, caplog):
    adata.layers["norm"] = adata.X.copy()
    adata.write_h5ad(tmp_path / "my.h5ad")
    with h5py.File(tmp_path / "my.h5ad", "r+") as file:
        file.move("layers/norm", "layers/scran/norm")
    assert read_cells(tmp_path / "my.h5ad").n_cells == 60
    assert "left out layers['scran/norm'], which has a slash in its name" in caplog.text
    with pytest.raises(InputError, match=r"layers\['scran/norm'\] has a slash"):
        read_cells(tmp_path / "my.h5ad", counts="scran/norm")


def test_columns_whose_names_have_slashes_are_read(adata, tmp_path):
    adata.write_h5ad(tmp_path / "my.h5ad")
    with h5py.File(tmp_path / "my.h5ad", "r+") as file:
        file.move("obs/note", "obs/T/NK note")
        file["obs"].attrs["column-order"] = ["kind", "age", "T/NK note"]
    cells = read_cells(tmp_path / "my.h5ad", columns=["T/NK note"])
    assert cells.obs["T/NK note"].tolist() == adata.obs["note"].tolist()
    safe = read_cells(tmp_path / "my.h5ad", columns=["T_NK note"], safe_names=True)
    assert list(safe.obs.columns) == ["kind", "age", "T_NK note"]
