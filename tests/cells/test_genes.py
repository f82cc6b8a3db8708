"""Ids are cleaned, summed and aligned like a plain loop over genes would do it."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from cellglass.cells import Cells, align_genes
from cellglass.cells.genes import gene_map, sum_duplicates
from cellglass.errors import InputError


def make_cells(ids, symbols=None, ensembl=None, seed=0):
    rng = np.random.default_rng(seed)
    genes = pd.DataFrame({"symbol": ids if symbols is None else symbols}, index=pd.Index(ids, dtype=object))
    if ensembl is not None:
        genes["ensembl"] = ensembl
    counts = sp.csr_matrix(rng.poisson(1.0, (7, len(ids))).astype(np.float32))
    return Cells(counts, genes, pd.DataFrame(index=[f"c{i}" for i in range(7)]), source="toy")


@settings(max_examples=50)
@given(ids=st.lists(st.sampled_from("ABCDE"), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_sums_of_duplicates_equal_a_loop(ids, seed):
    dense = np.random.default_rng(seed).poisson(1.0, (5, len(ids))).astype(np.float32)
    got, names = sum_duplicates(sp.csr_matrix(dense), ids)
    assert list(names) == list(dict.fromkeys(ids))
    for j, name in enumerate(names):
        expected = sum(dense[:, i] for i, other in enumerate(ids) if other == name)
        np.testing.assert_array_equal(got[:, j].toarray()[:, 0], expected)
    assert got.has_sorted_indices


@settings(max_examples=60)
@given(data=st.data())
def test_alignment_equals_a_loop(data):
    ids = data.draw(st.lists(st.sampled_from("ABCDEFGH"), min_size=1, max_size=8, unique=True))
    symbols = data.draw(st.lists(st.sampled_from("ABCDEFGHxyz"), min_size=len(ids), max_size=len(ids)))
    wanted = data.draw(st.lists(st.sampled_from("ABCDxyz"), min_size=1, max_size=7, unique=True))
    cells = make_cells(ids, symbols)
    dense = cells.counts.toarray()
    expected = np.zeros((7, len(wanted)), dtype=np.float32)
    by_id = [gene for gene in ids if gene in wanted]
    for j, (gene, symbol) in enumerate(zip(ids, symbols, strict=True)):
        if gene in wanted:
            expected[:, wanted.index(gene)] += dense[:, j]
        elif symbol in wanted and symbol not in by_id:
            expected[:, wanted.index(symbol)] += dense[:, j]
    if not (set(ids) | set(symbols)) & set(wanted):
        with pytest.raises(InputError, match="none of the"):
            align_genes(cells, wanted)
        return
    got = align_genes(cells, wanted)
    np.testing.assert_array_equal(got.counts.toarray(), expected)
    assert list(got.genes.index) == wanted
    assert got.counts.dtype == np.float32
    assert got.counts.has_sorted_indices


def test_the_same_genes_cost_nothing():
    cells = make_cells(["A", "B"])
    assert align_genes(cells, ["A", "B"]) is cells


def test_versions_do_not_matter_and_the_wanted_spelling_is_kept():
    cells = make_cells(["ENSG00000000001", "ENSG00000000002"], ["S1", "S2"])
    got = align_genes(cells, ["ENSG00000000002.7", "ENSG00000000009"])
    assert list(got.genes.index) == ["ENSG00000000002.7", "ENSG00000000009"]
    assert list(got.symbols) == ["S2", "ENSG00000000009"]
    np.testing.assert_array_equal(got.counts.toarray()[:, 0], cells.counts.toarray()[:, 1])
    assert got.counts[:, 1].nnz == 0


def test_other_names_of_genes_are_taken_along():
    var = pd.DataFrame({"Synonyms": ["CD20;B1", None, "IGA"]}, index=["MS4A1", "LYZ", "CD79A"])
    assert gene_map(var, None, "here").genes["alias"].tolist() == ["CD20;B1", "", "IGA"]
    assert "alias" not in gene_map(var.rename(columns={"Synonyms": "note"}), None, "here").genes


def test_symbols_meet_ensembl_both_ways():
    by_symbol = make_cells(["S1", "S2"], ensembl=["ENSG00000000001", "ENSG00000000002"])
    got = align_genes(by_symbol, ["ENSG00000000002", "ENSG00000000001"])
    np.testing.assert_array_equal(got.counts.toarray(), by_symbol.counts.toarray()[:, ::-1])
    by_ensembl = make_cells(["ENSG00000000001", "ENSG00000000002"], ["S1", "S2"])
    got = align_genes(by_ensembl, ["S2"])
    np.testing.assert_array_equal(got.counts.toarray(), by_ensembl.counts.toarray()[:, 1:])


def test_no_match_names_both_styles():
    cells = make_cells(["CD3D", "CD4"])
    with pytest.raises(InputError, match="gene_ids") as caught:
        align_genes(cells, ["ENSG00000000001"])
    assert "(Ensembl ids such as 'ENSG00000000001')" in str(caught.value)
    assert "the 2 genes of the cells (symbols such as 'CD3D', 'CD4')" in str(caught.value)
    with pytest.raises(InputError, match="another species"):
        align_genes(cells, ["Cd4"])


def test_wanted_genes_must_be_unique():
    with pytest.raises(InputError, match="not unique: 'A'"):
        align_genes(make_cells(["A", "B"]), ["A", "A"])


@pytest.mark.parametrize("column", ["symbol", "gene_symbols", "Gene Name", "feature_name", "Symbol", "hgnc-symbol"])
def test_usual_columns_tell_symbols(column):
    var = pd.DataFrame({"means": [1.0, 2.0], column: ["CD4", None]}, index=["ENSG00000000001.2", "ENSG00000000002"])
    genes = gene_map(var, None, "toy").genes
    assert list(genes["symbol"]) == ["CD4", "ENSG00000000002"]


def test_a_column_of_ensembl_ids_is_not_taken_for_symbols():
    var = pd.DataFrame({"gene": ["ENSG00000000001", "ENSG00000000002"]}, index=["CD4", "CD8A"])
    genes = gene_map(var, None, "toy").genes
    assert list(genes["symbol"]) == ["CD4", "CD8A"]
    genes = gene_map(var.rename(columns={"gene": "gene_ids"}), None, "toy").genes
    assert list(genes["ensembl"]) == ["ENSG00000000001", "ENSG00000000002"]
