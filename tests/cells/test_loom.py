"""Loom files give the counts that were written, without loompy."""

import h5py
import numpy as np
import pytest

from cellglass.cells import read_cells
from cellglass.errors import InputError

IDS = [f"ENSG{i:011d}" for i in range(40)]


@pytest.fixture
def path(counts, tmp_path):
    """Return a file as loompy writes it."""
    with h5py.File(tmp_path / "my.loom", "w") as file:
        file.create_dataset("matrix", data=counts.toarray().T, chunks=(16, 16), compression="gzip", maxshape=(40, None))
        layers = file.create_group("layers")
        layers["spliced"] = counts.toarray().T * 2
        layers["odd"] = np.ones((3, 4))
        text = h5py.string_dtype()
        rows, columns = file.create_group("row_attrs"), file.create_group("col_attrs")
        rows.create_dataset("Accession", data=[f"{gene}.3" for gene in IDS], dtype=text)
        rows.create_dataset("Gene", data=[f"SYM{i}" for i in range(40)], dtype=text)
        columns.create_dataset("CellID", data=[f"cell-{i}" for i in range(60)], dtype=text)
        columns.create_dataset("Clusters", data=np.arange(60) % 3)
        columns.create_dataset("Class", data=["T", "NA"] * 30, dtype=text)
        columns.create_dataset("Embedding", data=np.arange(120.0).reshape(60, 2))
        columns.create_dataset("Short", data=np.arange(7))
        for name in ("row_graphs", "col_graphs", "attrs"):
            file.create_group(name)
    return tmp_path / "my.loom"


def test_loom_is_read_by_blocks_of_cells(path, counts, tmp_path, small_blocks, caplog):
    for spool in (None, tmp_path / "spool"):
        cells = read_cells(path, spool=spool)
        np.testing.assert_array_equal(cells.counts.toarray(), counts.toarray())
        assert list(cells.genes.index) == IDS
        assert cells.symbols[3] == "SYM3"
        assert cells.obs.index[7] == "cell-7"
        assert cells.obs["Clusters"].tolist() == [0, 1, 2] * 20
        assert cells.obs["Class"].tolist() == ["T", None] * 30
        assert cells.obsm["Embedding"].shape == (60, 2)
    assert "column attributes: left out what cannot be read: Short" in caplog.text
    assert "left out layers['odd']" in caplog.text


def test_a_layer_is_a_slot(path, counts):
    np.testing.assert_array_equal(read_cells(path, counts="spliced").counts.toarray(), counts.toarray() * 2)
    with pytest.raises(InputError, match=r"layers\['odd'\] is no matrix of 40 genes and 60 cells"):
        read_cells(path, counts="odd")


def test_a_cut_loom_is_refused_in_one_line(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot be read") as refused:
        read_cells(path)
    assert "\n" not in str(refused.value)
