"""Species are told by symbols and ids as they are written; what is not clear is not guessed."""

from __future__ import annotations

import pytest

from cellglass.cells import demo_cells
from cellglass.cells.gene_names import ensembl_species, orthologs, species_of
from cellglass.cells.gene_names.species import most_common_ensembl

HUMAN, MOUSE = ["CD3E", "MS4A1", "NKG7", "TP53"], ["Cd3e", "Ms4a1", "Nkg7", "Trp53"]


@pytest.mark.parametrize(
    ("genes", "species"),
    [
        (HUMAN, "human"),
        (MOUSE, "mouse"),
        (["ENSG00000167286.9", "ENSG00000198851"], "human"),
        (["ENSMUSG00000032093", "ENSMUSG00000059552.4"], "mouse"),
        (["Cd3e", "Ms4a1", "RT1-Da", "Nkg7"], "mouse"),  # of rat
        ([gene.upper() for gene in MOUSE], "human"),  # in capitals they are no mouse symbols
        ([gene.lower() for gene in HUMAN], None),
        ([*HUMAN, *MOUSE], None),
        (["ENSRNOG00000004649"], None),
        (["gene1", "gene2", ""], None),
        ([*MOUSE, *[f"gene{i}" for i in range(100)]], None),
        ([], None),
    ],
)
def test_species(genes: list[str], species: str | None) -> None:
    assert species_of(genes) == species


def test_the_demo_is_human_and_mouse_by_its_orthologs() -> None:
    symbols = list(demo_cells().symbols)
    assert species_of(symbols) == "human"
    assert species_of([orthologs().get(symbol, symbol) for symbol in symbols]) == "mouse"


def test_ids_of_other_species_are_told_apart() -> None:
    assert [ensembl_species(gene) for gene in ("ENSG00000167286", "ENSMUSG00000032093", "ENSRNOG00000004649.3")] == [
        "human", "mouse", "rat",
    ]  # fmt: skip
    assert ensembl_species("ENSDARG00000000001") == "DAR"
    assert ensembl_species("CD3E") is None
    assert most_common_ensembl(["CD3E", "ENSRNOG00000004649", "ENSRNOG00000004650", "ENSG00000167286"]) == "rat"
    assert most_common_ensembl(HUMAN) is None
