"""Ids are told from numbers, cleaned, and found under whatever name their column has."""

import logging

import numpy as np
import pandas as pd
import pytest

from cellglass.cells.gene_ids import (
    are_counted,
    are_numbers,
    clean_ids,
    ensembl_in,
    is_ensembl,
    look_like_symbols,
    symbols_in,
)
from cellglass.cells.genes import gene_map
from cellglass.errors import InputError

ENSEMBL = [f"ENSG{i:011d}" for i in range(6)]
SYMBOLS = ["CD3D", "RPS3A", "LYZ", "NKG7", "C1orf21", "RP11-206L10.2"]


@pytest.mark.parametrize(
    "gene", ["ENSG00000167286", "ENSG00000167286.9", "ENSMUSG00000000001.4", "ENSG00000182378.14_PAR_Y"]
)
def test_ensembl_ids(gene):
    assert is_ensembl(gene)


@pytest.mark.parametrize("gene", ["CD3D", "RP11-206L10.2", "ENST00000300692", "ENSG1", ""])
def test_other_ids(gene):
    assert not is_ensembl(gene)


def test_cleaning_drops_versions_of_ensembl_ids_only():
    got = clean_ids(
        ["ENSG00000167286.9", " CD3D ", "RP11-206L10.2", b"CD4", None, np.nan, pd.NA, "", 7, "ENSG00000182378.14_PAR_Y"]
    )
    assert list(got) == ["ENSG00000167286", "CD3D", "RP11-206L10.2", "CD4", "", "", "", "", "7", "ENSG00000182378"]


def test_words_for_nothing_are_genes_where_they_occur_once():
    assert list(clean_ids(["nan", "NA", "CD4"])) == ["nan", "NA", "CD4"]
    assert list(clean_ids(["nan", "NA", "nan", "None", "None"])) == ["", "NA", "", "", ""]


@pytest.mark.parametrize(
    ("ids", "numbers", "counted"),
    [
        (["0", "1", "2"], True, True),
        (["3", "5", "17"], True, True),
        (["3.0", "5.0", "1e5"], True, True),
        ([0, 2, 7], True, True),
        (["gene_3", "gene_7", "gene_9"], False, True),
        (["Gene-1", "Gene-2", "CD4"], False, True),
        (["V1", "V2", "V3"], False, True),
        (SYMBOLS, False, False),
        (ENSEMBL, False, False),
        (["FBgn0000003", "FBgn0000008"], False, False),
        (["AT1G01010", "AT1G01020"], False, False),
        (["LOC100131", "LOC2312"], False, False),
        ([], False, False),
    ],
)
def test_numbers_and_names_that_only_count(ids, numbers, counted):
    assert are_numbers(ids) == numbers
    assert are_counted(ids) == counted


def test_symbols_are_known_by_some_that_everybody_knows():
    assert look_like_symbols(SYMBOLS)
    assert look_like_symbols([gene.capitalize() for gene in SYMBOLS])
    assert not look_like_symbols(["protein_coding"] * 5 + ["LYZ"])
    assert not look_like_symbols(["chr1", "chr2", "chr3", "chr4"])


INDEXES = {
    "numbers with gaps": [3, 5, 7, 11, 13, 18],
    "numbers as text": list("124789"),
    "numbers of pandas": ["0.0", "1.0", "2.0", "4.0", "5.0", "6.0"],
    "numbered names": [f"gene_{i}" for i in (1, 2, 5, 7, 8, 9)],
}
COLUMNS = {
    "usual names": ({"feature_id": ENSEMBL, "feature_name": SYMBOLS}, "feature_id", ENSEMBL),
    "names with a suffix": ({"gene_ids-0": ENSEMBL}, "gene_ids-0", ENSEMBL),
    "Ensembl ids under an odd name": ({"chromosome": ["1"] * 6, "Column1": ENSEMBL}, "Column1", ENSEMBL),
    "symbols under an odd name": ({"type": ["protein_coding"] * 6, "Column2": SYMBOLS}, "Column2", SYMBOLS),
    "versions": ({"gene_id": [f"{gene}.{i}" for i, gene in enumerate(ENSEMBL)]}, "gene_id", ENSEMBL),
    "Entrez ids beside symbols": ({"gene_id": [1, 22, 9, 8, 7, 6], "symbol": SYMBOLS}, "symbol", SYMBOLS),
}


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("case", COLUMNS)
def test_where_the_index_only_numbers_genes_the_column_of_ids_is_found_and_named(index, case, caplog):
    columns, name, ids = COLUMNS[case]
    var = pd.DataFrame(columns, index=pd.Index(INDEXES[index], dtype=object))
    with caplog.at_level(logging.WARNING, logger="cellglass"):
        assert list(gene_map(var, None, "my.h5ad: X").genes.index) == ids
    assert f"my.h5ad: X: var's index only numbers the genes; took their ids from column {name!r}" in caplog.text


@pytest.mark.parametrize("index", list(INDEXES)[:3])
@pytest.mark.parametrize("columns", [{}, {"n_cells": [5] * 6}, {"biotype": ["protein_coding"] * 6}, {"id": [9] * 6}])
def test_numbers_alone_are_refused(index, columns):
    var = pd.DataFrame(columns, index=pd.Index(INDEXES[index], dtype=object))
    with pytest.raises(InputError, match="the genes have no ids, var's index only numbers them"):
        gene_map(var, None, "my.h5ad: X")


def test_names_of_simulated_genes_stay_where_nothing_else_names_them():
    var = pd.DataFrame({"n_cells": [5] * 6}, index=INDEXES["numbered names"])
    assert list(gene_map(var, None, "toy").genes.index) == INDEXES["numbered names"]


def test_a_column_of_numbers_is_taken_where_it_is_named_and_said_to_be_numbers(caplog):
    var = pd.DataFrame({"entrez": [1, 22, 9, 8, 7, 6]}, index=SYMBOLS)
    assert list(gene_map(var, "entrez", "toy").genes.index) == ["1", "22", "9", "8", "7", "6"]
    assert "the gene ids in var column 'entrez' are numbers" in caplog.text


def test_symbols_and_ensembl_ids_are_found_beside_good_ids_too():
    var = pd.DataFrame({"odd": SYMBOLS}, index=ENSEMBL)
    assert symbols_in(var)[0] == "odd"
    assert list(gene_map(var, None, "toy").genes["symbol"]) == SYMBOLS
    var = pd.DataFrame({"odd": ENSEMBL}, index=SYMBOLS)
    assert ensembl_in(var)[0] == "odd"
    assert list(gene_map(var, None, "toy").genes["ensembl"]) == ENSEMBL


def test_a_gene_called_nan_keeps_its_name():
    var = pd.DataFrame({"symbol": ["nan", "NA", None]}, index=ENSEMBL[:3])
    assert list(gene_map(var, None, "toy").genes["symbol"]) == ["nan", "NA", ENSEMBL[2]]


def test_a_column_of_var_that_occurs_twice_is_no_matter():
    var = pd.DataFrame([["CD4", "x"], ["CD8A", "y"]], columns=["symbol", "symbol"], index=ENSEMBL[:2])
    assert list(gene_map(var, None, "toy").genes["symbol"]) == ["CD4", "CD8A"]
