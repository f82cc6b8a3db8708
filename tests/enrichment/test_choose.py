"""Which gene sets are tested: in the cells' own symbols, refused only where they were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellglass.cells.gene_names import orthologs
from cellglass.enrichment.choose import choose, to_mouse
from cellglass.enrichment.config import EnrichmentConfig
from cellglass.enrichment.genesets import GeneSets, write_gmt
from cellglass.enrichment.sources import bundled
from cellglass.errors import InputError

HUMAN = sorted(bundled().genes)
MOUSE = sorted({orthologs()[gene] for gene in HUMAN if gene in orthologs()})
NOTHING = [f"gene{i}" for i in range(50)]


def test_human_cells_get_the_human_sets() -> None:
    sources, mapped, notes = choose(EnrichmentConfig(), HUMAN)
    assert [sets.sets for sets in sources] == [bundled().sets]
    assert (mapped, notes) == ([], [])


def test_mouse_cells_get_one_to_one_orthologs_which_is_said() -> None:
    sources, mapped, notes = choose(EnrichmentConfig(), MOUSE)
    assert mapped == ["bundled"]
    assert f"orthologs of {len(MOUSE):,} of their {len(HUMAN):,} genes" in notes[0]
    (sets,) = sources
    for term, genes in bundled().sets.items():  # the plain loop
        expected = [orthologs()[gene] for gene in genes if gene in orthologs()]
        assert list(sets.sets.get(term, ())) == expected
    assert "Trp53" in sets.genes
    assert not sets.genes & {"TP53", "Tp53", "Cd8b", "Fcgr3a"}


def test_the_case_of_symbols_is_never_folded() -> None:
    sources, mapped, _ = choose(EnrichmentConfig(), [gene.upper() for gene in MOUSE])
    assert mapped == []
    assert "Cd3e" not in sources[0].genes


@pytest.mark.parametrize("genes", [NOTHING, [gene.lower() for gene in HUMAN], ["ENSRNOG00000004649"] * 3])
def test_default_sets_that_do_not_fit_are_left_out_and_asked_ones_refused(genes: list[str]) -> None:
    sources, _, notes = choose(EnrichmentConfig(), genes)
    assert sources == []
    assert len(notes) == 1
    assert "\n" not in notes[0]
    assert "none of 150 sets" in notes[0]
    assert notes[0].endswith("the atlas is made without pathways")
    assert ("Ensembl ids of rat are in no bundled table" in notes[0]) == genes[0].startswith("ENSRNO")
    with pytest.raises(InputError, match=r"none of 150 sets.*--gene-sets none"):
        choose(EnrichmentConfig(gene_sets=("bundled",)), genes)


def test_a_users_file_is_taken_as_it_is_written(tmp_path: Path) -> None:
    own = tmp_path / "own.gmt"
    write_gmt(GeneSets("own", {"T": tuple(HUMAN[:20])}), own)
    with pytest.raises(InputError, match="they spell genes like"):
        choose(EnrichmentConfig(gene_sets=(str(own),)), MOUSE)
    assert choose(EnrichmentConfig(gene_sets=(str(own),)), HUMAN).sources[0].sets == {"T": tuple(HUMAN[:20])}


def test_sets_must_fit_the_genes_that_are_ranked() -> None:
    few = MOUSE[:3]
    assert choose(EnrichmentConfig(), MOUSE, few).sources == []
    with pytest.raises(InputError, match="3 measured genes"):
        choose(EnrichmentConfig(gene_sets=("bundled",)), MOUSE, few)


def test_none_is_none() -> None:
    assert choose(EnrichmentConfig(gene_sets=("none",)), HUMAN) == ([], [], [])
    with pytest.raises(InputError, match="none stands alone"):
        EnrichmentConfig(gene_sets=("none", "bundled"))


def test_terms_without_an_ortholog_go_with_their_texts() -> None:
    sets = GeneSets("s", {"A": ("CD3E", "CD8B"), "B": ("CD8B",)}, "here", {"A": "a", "B": "b"}, {"B": "c"}, "human")
    mouse = to_mouse(sets)
    assert (mouse.sets, mouse.descriptions, mouse.categories) == ({"A": ("Cd3e",)}, {"A": "a"}, {})
    assert (mouse.species, mouse.origin) == ("mouse", "here, by one-to-one orthologs")


def test_the_page_on_gene_sets_counts_the_orthologs() -> None:
    page = Path(__file__).parents[2] / "docs" / "gene-sets.md"
    assert f"{len(MOUSE):,} of the {len(HUMAN):,} symbols have one" in page.read_text(encoding="utf-8")
