"""Which gene sets are tested in some cells: those that fit their genes, human sets of mouse cells by their orthologs.

Sets that were asked for by name are refused where they do not fit; the default ones are then left out, which is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from cellglass.cells.gene_names import orthologs, species_of
from cellglass.cells.gene_names.species import most_common_ensembl
from cellglass.enrichment.config import NONE, EnrichmentConfig
from cellglass.enrichment.genesets import GeneSets, restrict
from cellglass.enrichment.sources import load_source
from cellglass.errors import InputError


class Chosen(NamedTuple):
    """What is tested.

    Attributes
    ----------
    sources : list of GeneSets
        In the symbols of the cells; none where nothing fits or nothing was wanted.
    mapped : list of str
        Names of those whose genes were mapped to mouse.
    notes : list of str
        What a user should know, a line each.
    """

    sources: list[GeneSets]
    mapped: list[str]
    notes: list[str]


def choose(config: EnrichmentConfig, symbols: Sequence[str], measured: Sequence[str] | None = None) -> Chosen:
    """Return the gene sets that `config` names, in the symbols of some cells, as far as they fit.

    Parameters
    ----------
    config : EnrichmentConfig
    symbols : sequence of str
        Of all genes of the cells, by which their species is told.
    measured : sequence of str, optional
        Of the genes that are ranked, where they are fewer.

    Raises
    ------
    InputError
        If a source that was asked for is not there, or none of its sets fits.
    """
    genes = symbols if measured is None else measured
    found = Chosen([], [], [])
    mouse = bool(config.source_names) and species_of(symbols) == "mouse"
    for name in config.source_names:
        sets = load_source(name)
        if mouse and sets.species == "human":
            before = len(sets.genes)
            sets = to_mouse(sets)
            found.mapped.append(sets.name)
            found.notes.append(
                f"gene sets {sets.name!r} are human and the cells have mouse symbols: tested are the one-to-one "
                f"orthologs of {len(sets.genes):,} of their {before:,} genes"
            )
        try:
            restrict(sets, genes, min_size=config.min_size, max_size=config.max_size)
        except InputError as error:
            why = f"{error}{_no_table(symbols)}"
            if config.gene_sets is not None:
                raise InputError(f"{why}, or make an atlas without pathways: --gene-sets {NONE}") from None
            return Chosen([], [], [f"{why}; the atlas is made without pathways"])
        found.sources.append(sets)
    return found


def _no_table(symbols: Sequence[str]) -> str:
    """Return what is to be done about Ensembl ids of a species whose symbols no bundled table tells."""
    species = most_common_ensembl(symbols)
    if species is None or species in ("human", "mouse"):
        return ""
    return f" (Ensembl ids of {species} are in no bundled table: name the var column with symbols by --gene-ids)"


def to_mouse(sets: GeneSets) -> GeneSets:
    """Return human gene sets in mouse symbols: each gene as its one-to-one ortholog, others and empty sets left out."""
    known = orthologs()
    mapped = {term: tuple(known[gene] for gene in genes if gene in known) for term, genes in sets.sets.items()}
    kept = {term: genes for term, genes in mapped.items() if genes}
    return replace(
        sets,
        sets=kept,
        origin=f"{sets.origin}, by one-to-one orthologs",
        descriptions={term: text for term, text in sets.descriptions.items() if term in kept},
        categories={term: text for term, text in sets.categories.items() if term in kept},
        species="mouse",
    )
