"""Everything that is no cells: each is refused with one line that names the file, the slot and a way out.

All of it goes through real files and the public function.
"""

import gzip
import pickle
import zipfile

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.cells import cells_from_anndata, read_cells
from cellglass.errors import InputError


def normalised(counts, total=1e4):
    return counts.multiply(total / counts.sum(axis=1)).tocsr().astype(np.float32)


def logged(counts, log=np.log1p):
    out = normalised(counts)
    out.data = log(out.data)
    return out


def scaled(counts):
    dense = logged(counts).toarray()
    return ((dense - dense.mean(axis=0)) / (dense.std(axis=0) + 1e-6)).astype(np.float32)


def with_value(value):
    def change(counts):
        dense = counts.toarray()
        dense[7, 11] = value
        return dense

    return change


def half(counts):
    out = counts.copy()
    out.data = out.data * np.random.default_rng(0).uniform(0.9, 1.1, out.nnz).astype(np.float32) * 30
    return out


HERE = "cell 'cell-7', gene 'ENSG00000000011.3'"
VALUES = {
    "log1p": (logged, "is log-transformed (log1p: undone, every cell sums to 10000)"),
    "log2": (lambda c: logged(c, lambda v: np.log2(1 + v)), "is log-transformed (log2(1 + x)"),
    "log10": (lambda c: logged(c, lambda v: np.log10(1 + v)), "is log-transformed (log10(1 + x)"),
    "log1p of some genes": (lambda c: logged(c)[:, 5:], "is log-transformed (log1p: undone, a cell's values"),
    "log1p dense": (lambda c: logged(c).toarray(), "is log-transformed"),
    "scaled": (scaled, "is scaled"),
    "normalised": (normalised, "is normalised (every cell sums to 10000)"),
    "counts per million": (lambda c: normalised(c, 1e6), "is normalised (every cell sums to 1e+06)"),
    "normalised, some genes": (lambda c: normalised(c)[:, 5:], "is normalised (a cell's values"),
    "shares": (lambda c: normalised(c, 1.0), "is normalised (every cell sums to 1)"),
    "square root": (lambda c: np.sqrt(c), "is probably log-transformed"),
    "fractional": (half, "holds fractional values"),
    "one fractional": (with_value(2.5), f"holds fractional values, first 2.5 in {HERE}"),
    "negative": (with_value(-3), f"holds negative values, first -3 in {HERE}"),
    "NaN": (with_value(np.nan), f"holds NaN, first in {HERE}"),
    "infinity": (with_value(np.inf), f"holds infinity, first in {HERE}"),
    "huge": (with_value(3e9), f"holds 3e+09 in {HERE}"),
    "zeros": (lambda c: c * 0, "holds only zeros"),
}


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        read_cells(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    assert str(path) in message
    return message


@pytest.mark.parametrize("case", VALUES)
@pytest.mark.parametrize("slot", ["X", "raw", "layers/other"])
def test_values_that_are_no_counts(case, slot, make_adata, make_counts, tmp_path):
    change, expected = VALUES[case]
    counts = make_counts(n_cells=50, n_genes=60)
    bad = make_adata(change(counts))
    adata = make_adata(counts[:, : bad.n_vars])
    adata.var_names, bad.var_names = make_adata(counts).var_names[: bad.n_vars], adata.var_names
    if slot == "X":
        adata = bad
    elif slot == "raw":
        adata.raw = bad
    else:
        adata.layers["other"] = bad.X
    path = tmp_path / "my.h5ad"
    adata.write_h5ad(path)
    message = refusal(path, counts=slot)
    label = "layers['other']" if slot == "layers/other" else slot
    assert f"my.h5ad: {label} {expected}" in message
    way_out = "bring a file that holds raw counts" if slot == "X" else "there are also X"
    assert way_out in message
    # Spooling says the same and leaves nothing behind.
    assert refusal(path, counts=slot, spool=tmp_path / "spool") == message
    assert [p.name for p in tmp_path.iterdir()] == ["my.h5ad"]


def test_auto_gives_every_slots_reason_in_one_line(make_adata, make_counts, tmp_path):
    counts = make_counts()
    adata = make_adata(scaled(counts))
    adata.raw = make_adata(logged(counts))
    adata.layers["spliced"] = counts
    adata.write_h5ad(tmp_path / "my.h5ad")
    message = refusal(tmp_path / "my.h5ad")
    assert "X is scaled" in message
    assert "raw is log-transformed" in message
    assert "layers/spliced" in message


def test_late_bad_values_are_found_and_named(make_adata, make_counts, tmp_path, small_blocks):
    counts = make_counts().toarray()
    counts[55, 2] = 0.5
    make_adata(counts).write_h5ad(tmp_path / "my.h5ad")
    assert "first 0.5 in cell 'cell-55', gene 'ENSG00000000002.3'" in refusal(tmp_path / "my.h5ad")


# -- tables ------------------------------------------------------------------------------------------------------------


def write(adata, tmp_path):
    adata.write_h5ad(tmp_path / "my.h5ad")
    return tmp_path / "my.h5ad"


@pytest.mark.filterwarnings("ignore:Observation names are not unique:UserWarning")
def test_duplicated_cell_names(adata, tmp_path):
    adata.obs_names = ["twin", "twin", *adata.obs_names[2:]]
    message = refusal(write(adata, tmp_path))
    assert "1 cell names in obs occur more than once ('twin')" in message
    assert "obs_names_make_unique" in message


def test_no_cells(adata, tmp_path):
    assert "there are no cells" in refusal(write(adata[:0].copy(), tmp_path))


def test_no_genes(adata, tmp_path):
    assert "X: there are no genes" in refusal(write(adata[:, :0].copy(), tmp_path))


def test_a_column_that_is_not_there(adata, tmp_path):
    message = refusal(write(adata, tmp_path), columns=["kind", "celltype"])
    assert "no obs column 'celltype'; the columns are: kind, age, note" in message


def test_a_slot_that_is_not_there(adata, tmp_path):
    adata.layers["umi"] = adata.X
    message = refusal(write(adata, tmp_path), counts="layers/counts")
    assert "no slot 'layers/counts'" in message
    assert "layers/umi, X" in message


def test_a_file_without_x(adata, tmp_path):
    bare = anndata.AnnData(obs=adata.obs, var=adata.var)
    bare.layers["foo"] = adata.X
    assert "neither X, raw nor a layer 'counts'" in refusal(write(bare, tmp_path))


def test_a_gene_column_that_is_not_there(adata, tmp_path):
    message = refusal(write(adata, tmp_path), gene_ids="symbol")
    assert "X: there is no var column 'symbol'" in message
    assert "gene_symbol" in message


def test_genes_that_are_only_counted(adata, tmp_path):
    adata.var = pd.DataFrame({"length": 1.0}, index=[str(2 * i) for i in range(adata.n_vars)])
    message = refusal(write(adata, tmp_path))
    assert "the genes have no ids" in message
    assert "length" in message


def test_genes_without_any_id(adata, tmp_path):
    adata.var["id"] = [""] * adata.n_vars
    assert "no gene has an id" in refusal(write(adata, tmp_path), gene_ids="id")


def test_text_in_place_of_numbers(adata, tmp_path):
    path = write(adata, tmp_path)
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = np.full(adata.shape, b"text")
        file["X"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
    assert "holds no numbers" in refusal(path)


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_path_that_does_not_exist(tmp_path):
    assert "no such file" in refusal(tmp_path / "nowhere.h5ad")


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    assert "neither AnnData zarr nor 10x output" in refusal(tmp_path)


def test_a_zarr_that_is_no_anndata(tmp_path):
    import zarr

    zarr.create_group(tmp_path / "some.zarr").create_array("a", data=np.zeros(3))
    assert "no AnnData" in refusal(tmp_path / "some.zarr")


CONTENT = {
    "empty": (b"", "is empty"),
    "text": (b"gene,cell\nA,1\n", "do not tell whether rows are genes or cells"),
    "a pickle": (pickle.dumps({"a": 1}), "pickle, which cellglass never opens"),
    "gzip": (gzip.compress(b"a" * 100), "is text of one line, no table of counts"),
    "noise": (np.random.default_rng(0).bytes(5000), "no HDF5 file"),
    "only the signature": (b"\x89HDF\r\n\x1a\n" + b"\0" * 30, "cannot be read"),
}


@pytest.mark.parametrize("case", CONTENT)
def test_a_file_that_is_no_anndata(case, tmp_path):
    content, expected = CONTENT[case]
    path = tmp_path / "my.h5ad"
    path.write_bytes(content)
    assert expected in refusal(path)


def test_hdf5_of_something_else(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["table"] = np.zeros(3)
    assert "neither AnnData (no obs and var) nor 10x nor loom; it holds table" in refusal(tmp_path / "x.h5")


def test_mudata(tmp_path):
    with h5py.File(tmp_path / "x.h5mu", "w") as file:
        for key in ("obs", "var", "mod"):
            file.create_group(key)
    assert "is MuData" in refusal(tmp_path / "x.h5mu")


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file(share, adata, tmp_path):
    path = write(adata, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "cannot be read" in refusal(path)


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_is_read_or_refused_but_nothing_else(seed, adata, tmp_path):
    adata.write_h5ad(tmp_path / "my.h5ad", compression="gzip")
    content = bytearray((tmp_path / "my.h5ad").read_bytes())
    rng = np.random.default_rng(seed)
    for at in rng.integers(100, len(content), 60):
        content[at] = rng.integers(256)
    (tmp_path / "my.h5ad").write_bytes(content)
    try:
        cells = read_cells(tmp_path / "my.h5ad")
    except InputError as error:
        message = str(error)
    else:
        message = f"my.h5ad: {cells}"
        assert cells.counts.shape == adata.shape
    assert "my.h5ad" in message
    assert "\n" not in message


def damage(path, key, value):
    with h5py.File(path, "r+") as file:
        del file[key]
        if value is not None:
            file[key] = value


DAMAGE = {
    "an index beyond the genes": ("X/indices", lambda n: np.full(n, 1000), "names position 1000 of 40"),
    "a negative index": ("X/indices", lambda n: np.full(n, -1), "sparse matrix names position"),
    "pointers of another matrix": ("X/indptr", lambda n: np.arange(61), "row pointers"),
    "no indices": ("X/indices", lambda n: None, "cannot be read"),
    "short data": ("X/data", lambda n: np.ones(5), "row pointers"),
    "no column order": ("obs/_index", lambda n: None, "cannot be read"),
    "short cell names": ("obs/_index", lambda n: np.array([b"a"] * 5), "my.h5ad"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_parts_that_do_not_fit(case, adata, tmp_path):
    key, value, expected = DAMAGE[case]
    path = write(adata, tmp_path)
    damage(path, key, value(adata.X.nnz))
    assert expected in refusal(path)


def test_a_shape_that_does_not_fit(adata, tmp_path):
    path = write(adata, tmp_path)
    damage(path, "X", np.zeros((3, 4)))
    assert "X has shape (3, 4), but there are 60 cells and 40 genes" in refusal(path)


# -- 10x ---------------------------------------------------------------------------------------------------------------


def test_tenx_without_genes(counts, tenx_h5, tmp_path):
    tenx_h5(tmp_path / "x.h5", counts, types=[b"Antibody Capture"] * 40)
    assert "there are no genes, no feature is of type 'Gene Expression'" in refusal(tmp_path / "x.h5")


def test_tenx_of_two_genomes(counts, tenx_h5, tmp_path):
    tenx_h5(tmp_path / "x.h5", counts, version=2)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file.copy(file["GRCh38"], "mm10")
    assert "several genomes (GRCh38, mm10)" in refusal(tmp_path / "x.h5")


def test_tenx_with_a_negative_value(counts, tenx_h5, tmp_path):
    counts.data[0] = -1
    tenx_h5(tmp_path / "x.h5", counts)
    assert "matrix holds negative values" in refusal(tmp_path / "x.h5")


MTX = {
    "no barcodes": (lambda f: (f / "barcodes.tsv").unlink(), "no file named barcodes.tsv"),
    "no features": (lambda f: (f / "features.tsv").unlink(), "no file named features.tsv"),
    "fewer barcodes": (lambda f: (f / "barcodes.tsv").write_text("a\nb\n"), "features and 2 barcodes"),
    "no barcode": (lambda f: (f / "barcodes.tsv").write_text(""), "features and 0 barcodes"),
    "an unknown banner": (lambda f: (f / "matrix.mtx").write_text("1 2 3\n"), "is '1 2 3', so it is no sparse"),
    "cut": (
        lambda f: (f / "matrix.mtx").write_text("\n".join((f / "matrix.mtx").read_text().split("\n")[:50])),
        "ends after 47 of",
    ),
    "text among numbers": (
        lambda f: (f / "matrix.mtx").write_text((f / "matrix.mtx").read_text().replace("\n1 1 ", "\n1 one ")),
        "cannot be read",
    ),
    "a cell too many": (
        lambda f: (f / "matrix.mtx").write_text((f / "matrix.mtx").read_text().replace("\n1 1 ", "\n1 999 ")),
        "names position 998 of 60",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MTX)
def test_a_damaged_tenx_folder(case, counts, tenx_mtx, tmp_path):
    change, expected = MTX[case]
    tenx_mtx(tmp_path / "x", counts, zipped=False)
    change(tmp_path / "x")
    assert expected in refusal(tmp_path / "x")


def test_a_truncated_tenx_folder(counts, tenx_mtx, tmp_path):
    tenx_mtx(tmp_path / "x", counts)
    path = tmp_path / "x" / "matrix.mtx.gz"
    path.write_bytes(path.read_bytes()[:-400])
    assert "cannot be read" in refusal(tmp_path / "x")


# -- where to ----------------------------------------------------------------------------------------------------------


def test_a_spool_folder_with_other_things_is_not_overwritten(adata, tmp_path):
    path = write(adata, tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match="holds something else"):
        read_cells(path, spool=tmp_path / "home")
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years"


def test_an_object_of_an_unknown_matrix(adata):
    adata.obs.index = pd.Index([str(i) for i in range(60)])
    adata.layers["counts"] = sp.coo_array(adata.X).tocsr()
    assert cells_from_anndata(adata).source == "AnnData, layers['counts']"


def test_an_archive_is_no_anndata(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.h5ad", "w") as file:
        file.writestr("a", "b")
    assert "is a zip archive; unpack it" in refusal(tmp_path / "x.h5ad")
