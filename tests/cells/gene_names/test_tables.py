"""The bundled tables of gene names: facts that anybody can look up, and what their README says of them."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from cellglass.cells.gene_names import aliases, ensembl_of, known_symbols, orthologs
from cellglass.cells.gene_names.tables import symbols


@pytest.mark.parametrize(
    ("gene", "symbol"),
    [
        ("ENSG00000167286", "CD3D"),
        ("ENSG00000167286.9", "CD3D"),
        ("ENSG00000198851.10", "CD3E"),
        ("ENSG00000204287", "HLA-DRA"),
        ("ENSMUSG00000032093", "Cd3e"),
        ("ENSMUSG00000032093.5", "Cd3e"),
        ("ENSMUSG00000059552", "Trp53"),
        ("ENSG00000182378.14_PAR_Y", "PLCXD1"),
        ("ENSG00000000000", "ENSG00000000000"),  # no such id
        ("ENSRNOG00000004649", "ENSRNOG00000004649"),  # no table of rat
        ("ENST00000300692", "ENST00000300692"),
        ("Cd3e", "Cd3e"),
        ("", ""),
    ],
)
def test_an_ensembl_id_is_its_symbol_and_all_else_stays(gene: str, symbol: str) -> None:
    assert known_symbols([gene]).tolist() == [symbol]


@pytest.mark.parametrize(
    ("human", "mouse"),
    [("CD3E", "Cd3e"), ("TP53", "Trp53"), ("HLA-DRA", "H2-Ea"), ("PTPRC", "Ptprc"), ("JCHAIN", "Jchain")],
)
def test_a_one_to_one_ortholog(human: str, mouse: str) -> None:
    assert orthologs()[human] == mouse


@pytest.mark.parametrize("human", ["CD8B", "FCGR3A", "INS", "GNLY", "Cd3e"])
def test_a_gene_with_several_orthologs_or_none_has_no_pair(human: str) -> None:
    assert human not in orthologs()


def test_pairs_are_one_to_one_and_of_symbols_of_the_two_species() -> None:
    pairs = orthologs()
    assert len(set(pairs.values())) == len(pairs)
    assert set(pairs) <= set(symbols("human").values())
    assert set(pairs.values()) <= set(symbols("mouse").values())


@pytest.mark.parametrize(
    ("alias", "symbol"), [("IGJ", "JCHAIN"), ("IL8", "CXCL8"), ("CD16", "FCGR3A"), ("PD1", "PDCD1"), ("CD20", "MS4A1")]
)
def test_other_names_of_a_gene(alias: str, symbol: str) -> None:
    assert alias in aliases()[symbol]


def test_no_other_name_is_a_symbol_of_today() -> None:
    known = set(symbols("human").values())
    assert not any(name in known for names in aliases().values() for name in names)
    assert set(aliases()) <= known
    assert aliases()["CXCL8"][0] == "IL8"  # the previous symbol stands first


def test_a_symbol_has_an_id_where_it_has_one_alone() -> None:
    assert ensembl_of("human")["CD3E"] == "ENSG00000198851"
    assert ensembl_of("mouse")["Cd3e"] == "ENSMUSG00000032093"
    assert "Y_RNA" not in ensembl_of("human")
    back = {gene: symbol for symbol, gene in ensembl_of("mouse").items()}
    some = list(back)[:2000]
    assert known_symbols(some).tolist() == [back[gene] for gene in some]


def test_the_readme_counts_the_rows_and_the_tables_are_small() -> None:
    folder = resources.files("cellglass.cells.gene_names")
    said = re.findall(r"\| `(\w+\.tsv\.gz)` \| ([\d,]+) \|", (folder / "README.md").read_text(encoding="utf-8"))
    rows = {"human": symbols("human"), "mouse": symbols("mouse"), "orthologs": orthologs(), "aliases": aliases()}
    assert {name: int(n.replace(",", "")) for name, n in said} == {f"{name}.tsv.gz": len(t) for name, t in rows.items()}
    assert sum(len((folder / name).read_bytes()) for name, _ in said) < 1.5e6
