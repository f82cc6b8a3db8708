"""10x output: what is kept, what is left out, and how files may be named. Round trips are in test_read.py."""

import logging

import h5py
import numpy as np
import pytest
import scipy.io

from cellglass.cells import read_cells
from cellglass.errors import InputError

TYPES = ["Gene Expression", "Antibody Capture", "Gene Expression", "CRISPR Guide Capture"] * 10


@pytest.mark.parametrize("kind", ["h5", "mtx"])
def test_only_gene_expression_is_kept_and_the_rest_named(kind, counts, tenx_h5, tenx_mtx, tmp_path, caplog):
    path = tmp_path / "x"
    if kind == "h5":
        tenx_h5(path, counts, types=[t.encode() for t in TYPES])
    else:
        tenx_mtx(path, counts, types=TYPES)
    with caplog.at_level(logging.INFO, logger="cellglass"):
        cells = read_cells(path)
    spooled = read_cells(path, spool=tmp_path / "spool")
    np.testing.assert_array_equal(cells.counts.toarray(), counts.toarray()[:, ::2])
    np.testing.assert_array_equal(spooled.counts.toarray(), counts.toarray()[:, ::2])
    assert list(cells.symbols[:2]) == ["SYM0", "SYM2"]
    assert "left out 10 features of type Antibody Capture" in caplog.text
    assert "left out 10 features of type CRISPR Guide Capture" in caplog.text


def test_ids_may_be_symbols(counts, tenx_h5, tmp_path):
    tenx_h5(tmp_path / "x.h5", counts)
    cells = read_cells(tmp_path / "x.h5", gene_ids="symbol")
    assert cells.genes.index[3] == "SYM3"
    assert cells.genes["ensembl"].iloc[3] == "ENSG00000000003"


def test_prefixed_files_are_found_unless_there_are_several(counts, tenx_mtx, tmp_path):
    tenx_mtx(tmp_path / "x", counts, prefix="GSM1_")
    np.testing.assert_array_equal(read_cells(tmp_path / "x").counts.toarray(), counts.toarray())
    tenx_mtx(tmp_path / "y", counts, prefix="GSM2_")
    for file in (tmp_path / "y").iterdir():
        file.rename(tmp_path / "x" / file.name)
    with pytest.raises(InputError, match="holds several samples"):
        read_cells(tmp_path / "x")


def test_gzip_is_told_by_content(counts, tenx_mtx, tmp_path):
    tenx_mtx(tmp_path / "x", counts, zipped=False)
    plain = tmp_path / "x" / "barcodes.tsv"
    plain.rename(plain.with_suffix(".tsv.gz"))
    assert read_cells(tmp_path / "x").n_cells == 60


def test_genes_called_na_or_with_a_quote_keep_their_names(counts, tenx_mtx, tmp_path):
    tenx_mtx(tmp_path / "x", counts, zipped=False)
    path = tmp_path / "x" / "features.tsv"
    path.write_text(path.read_text().replace("SYM3\t", "\"5'-x\t").replace("SYM5\t", "NA\t"))
    cells = read_cells(tmp_path / "x")
    assert cells.symbols[3] == "\"5'-x"
    assert cells.symbols[5] == "NA"


TYPES_OF_OTHERS = {
    "biotypes": ["protein_coding", "lncRNA"] * 20,
    "another case": ["gene expression"] * 40,
    "an underscore": ["Gene_Expression"] * 40,
    "none": [""] * 40,
}


@pytest.mark.parametrize("kind", ["h5", "mtx"])
@pytest.mark.parametrize("case", TYPES_OF_OTHERS)
def test_where_no_type_of_10x_is_named_all_are_genes(case, kind, counts, tenx_h5, tenx_mtx, tmp_path):
    types = TYPES_OF_OTHERS[case]
    if kind == "h5":
        tenx_h5(tmp_path / "x", counts, types=[text.encode() for text in types])
    else:
        tenx_mtx(tmp_path / "x", counts, types=types)
    np.testing.assert_array_equal(read_cells(tmp_path / "x").counts.toarray(), counts.toarray())


def test_features_without_types_or_names_are_genes(counts, tenx_h5, tmp_path):
    tenx_h5(tmp_path / "x.h5", counts)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        del file["matrix/features/feature_type"], file["matrix/features/name"]
    cells = read_cells(tmp_path / "x.h5")
    np.testing.assert_array_equal(cells.counts.toarray(), counts.toarray())
    assert cells.symbols[3] == "TSPAN6"  # what the bundled table says of its id


HEADINGS = {
    "barcodes.tsv": ("x", True),
    "features.tsv": ("gene_id\tgene_name\ttype", True),
    "barcodes.tsv too": ("cell-999", False),
    "features.tsv too": ("ENSG00000000999\tSYM999\tGene Expression", False),
}


@pytest.mark.parametrize("case", HEADINGS)
def test_a_heading_is_skipped_and_a_line_too_many_is_not(case, counts, tenx_mtx, tmp_path, caplog):
    tenx_mtx(tmp_path / "x", counts, zipped=False)
    path, (line, heading) = tmp_path / "x" / case.split()[0], HEADINGS[case]
    path.write_text(f"{line}\n{path.read_text()}")
    if heading:
        np.testing.assert_array_equal(read_cells(tmp_path / "x").counts.toarray(), counts.toarray())
        assert "for a header" in caplog.text
    else:
        with pytest.raises(InputError, match="has 40 rows and 60 columns, but there are"):
            read_cells(tmp_path / "x")


def test_kallistos_folder_of_cells_by_genes(counts, tmp_path):
    (tmp_path / "kb").mkdir()
    place = tmp_path / "kb" / "cells_x_genes"
    scipy.io.mmwrite(f"{place}.mtx", counts.tocoo().astype(int))
    place.with_suffix(".genes.txt").write_text("".join(f"ENSG{i:011d}.4\n" for i in range(40)))
    place.with_suffix(".barcodes.txt").write_text("".join(f"cell-{i}\n" for i in range(60)))
    cells = read_cells(tmp_path / "kb")
    np.testing.assert_array_equal(cells.counts.toarray(), counts.toarray())
    assert cells.genes.index[3] == "ENSG00000000003"
    assert cells.obs.index[7] == "cell-7"


def test_whole_numbers_written_as_r_does(counts, tenx_mtx, tmp_path):
    tenx_mtx(tmp_path / "x", counts, zipped=False)
    path = tmp_path / "x" / "matrix.mtx"
    lines = path.read_text().splitlines()
    gene, cell, _ = lines[-1].split()
    path.write_text("\n".join([*lines[:-1], f"{gene} {cell} 1e+05"]) + "\n")
    assert read_cells(tmp_path / "x").counts[int(cell) - 1, int(gene) - 1] == 100_000
