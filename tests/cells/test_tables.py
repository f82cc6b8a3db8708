"""Tables of text give the counts that were written, whichever way they lie; else the way is asked for."""

import gzip

import numpy as np
import pandas as pd
import pytest

from cellglass.cells import read_cells
from cellglass.errors import InputError

SYMBOLS = ["ACTB", "CD3E", "RPL3", "NKG7", "CD19", "GAPDH", *(f"LINC0{i}" for i in range(34))]
BARCODES = [f"{'ACGT' * 4}{i}-1" for i in range(60)]
CELLS = [f"cell{i}" for i in range(60)]


@pytest.fixture
def table(counts):
    return pd.DataFrame(counts.toarray().astype(int), index=CELLS, columns=SYMBOLS)


WAYS = {
    "csv": {"sep": ","},
    "tsv": {"sep": "\t"},
    "semicolons": {"sep": ";"},
    "blanks": {"sep": " "},
    "R": {"sep": "\t"},
    "quoted": {"sep": ",", "quoting": 1},
    "floats": {"sep": ",", "float_format": "%.3f"},
    "Windows": {"sep": ",", "lineterminator": "\r\n"},
    "byte order mark": {"sep": ",", "encoding": "utf-8-sig"},
}


@pytest.mark.slow
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_tables_of_every_form_give_the_written_counts(way, turned, table, tmp_path, small_blocks):
    path = tmp_path / "my.txt"
    written = table.T if turned else table
    (written.astype(float) if way == "floats" else written).to_csv(path, **WAYS[way])
    if way == "R":
        path.write_text(path.read_text().lstrip("\t"))
    for spool in (None, tmp_path / "spool"):
        cells = read_cells(path, spool=spool)
        np.testing.assert_array_equal(cells.counts.toarray(), table.to_numpy())
        assert list(cells.genes.index) == SYMBOLS
        assert list(cells.obs.index) == CELLS
        assert cells.source == "my.txt, the table"


def test_a_zipped_table_is_told_by_content(table, tmp_path):
    (tmp_path / "counts").write_bytes(gzip.compress(table.T.to_csv().encode()))
    np.testing.assert_array_equal(read_cells(tmp_path / "counts").counts.toarray(), table.to_numpy())


def test_further_columns_of_text_are_metadata(table, tmp_path):
    table.insert(0, "cell_type", ["T", "NA"] * 30)
    table.to_csv(tmp_path / "a.csv")
    cells = read_cells(tmp_path / "a.csv")
    assert cells.obs["cell_type"].tolist() == ["T", None] * 30
    assert cells.n_genes == 40
    table = table.drop(columns="cell_type").T
    table.insert(0, "gene_name", table.index)
    table.index = [f"ENSG{i:011d}" for i in range(40)]
    table.to_csv(tmp_path / "b.csv")
    cells = read_cells(tmp_path / "b.csv")
    assert list(cells.symbols) == SYMBOLS
    assert cells.genes.index[0] == "ENSG00000000000"


@pytest.mark.parametrize("turned", [False, True])
def test_genes_called_nan_and_na_are_genes(turned, table, tmp_path):
    table.columns = ["nan", "NA", *SYMBOLS[:38]]
    (table.T if turned else table).to_csv(tmp_path / "a.csv")
    cells = read_cells(tmp_path / "a.csv")
    assert list(cells.genes.index[:2]) == ["nan", "NA"]
    np.testing.assert_array_equal(cells.counts.toarray(), table.to_numpy())


def test_genes_that_occur_twice_are_summed_on_either_side(table, tmp_path):
    table.columns = ["ACTB", "ACTB", *SYMBOLS[2:]]
    expected = table.to_numpy()[:, :2].sum(axis=1)
    for way, written in {"a": table, "b": table.T}.items():
        written.to_csv(tmp_path / f"{way}.csv")
        cells = read_cells(tmp_path / f"{way}.csv")
        assert cells.n_genes == 39
        np.testing.assert_array_equal(cells.counts[:, 0].toarray()[:, 0], expected)


SIDES = {
    "Ensembl ids": ([f"ENSG{i:011d}.2" for i in range(40)], CELLS),
    "mouse symbols": ([gene.capitalize() for gene in SYMBOLS], CELLS),
    "barcodes": ([f"odd{i}" for i in range(40)], BARCODES),
}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("case", SIDES)
def test_names_tell_the_side_of_the_genes(case, turned, table, tmp_path):
    genes, cells = SIDES[case]
    table = table.set_axis(genes, axis=1).set_axis(cells, axis=0)
    (table.T if turned else table).to_csv(tmp_path / "a.csv")
    assert read_cells(tmp_path / "a.csv").n_genes == 40


def test_where_names_tell_nothing_the_side_is_asked_for(table, tmp_path):
    table.columns = [f"odd{i}" for i in range(40)]
    table.to_csv(tmp_path / "a.csv")
    with pytest.raises(
        InputError, match=r"do not tell whether rows are genes or cells \(rows: cell0, cell1 and 58 more"
    ):
        read_cells(tmp_path / "a.csv")
    assert read_cells(tmp_path / "a.csv", counts="cells-by-genes").n_cells == 60
    assert read_cells(tmp_path / "a.csv", counts="genes-by-cells").n_cells == 40


def with_value(value):
    def change(table):
        table = table.astype(object)
        table.loc["cell7", "CD3E"] = value
        return table

    return change


REFUSED = {
    "log-transformed": (lambda t: np.log1p(t / t.sum().sum() * 1e4), "is log-transformed|is probably log"),
    "a hole": (with_value(None), "holds NaN, first in cell 'cell7', gene 'CD3E'"),
    "text among numbers": (with_value("oops"), "column 'CD3E' holds text among its numbers, first 'oops'"),
    "only text": (lambda t: t.astype(str) + "x", "is a table of text without numbers"),
}


@pytest.mark.parametrize("look", [5, 100])
@pytest.mark.parametrize("case", REFUSED)
def test_tables_that_are_no_counts(case, look, table, tmp_path, monkeypatch):
    monkeypatch.setattr("cellglass.cells.tables._LOOK", look)
    change, says = REFUSED[case]
    if case == "text among numbers" and look == 5:
        says = "cannot be read.*oops"
    change(table).to_csv(tmp_path / "a.csv")
    with pytest.raises(InputError, match=says) as refused:
        read_cells(tmp_path / "a.csv")
    assert str(tmp_path / "a.csv") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_row_too_long_is_refused(table, tmp_path):
    table.to_csv(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open("a") as file:
        file.write("cell99," + ",".join(["1"] * 50) + "\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_cells(tmp_path / "a.csv")
