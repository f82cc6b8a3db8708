"""10x output: what is kept, what is left out, and how files may be named. Round trips are in test_read.py."""

import logging

import numpy as np
import pytest

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
