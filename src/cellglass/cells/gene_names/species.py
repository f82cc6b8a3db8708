"""Which species genes belong to, by their ids or symbols as they are written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from cellglass.cells.gene_names.tables import Bundled, symbols

Species = Literal["human", "mouse"]

LEAST = 0.1
"""Share of the genes that must have a symbol of the species: a data set may be full of genes without a name."""
CLEARLY = 2
"""Times as many genes as of the other species; the two write few symbols alike."""

_ENSEMBL = re.compile(r"ENS([A-Z]{0,6})G\d{11}(?:\.\d+)?(?:_PAR_Y)?")
_LATIN = {"": "human", "MUS": "mouse", "RNO": "rat"}


def species_of(genes: Iterable[str]) -> Species | None:
    """Return the species whose symbols or Ensembl ids most of `genes` are; None where that is not clear.

    Rat symbols are those of mouse. The case of a symbol counts: ``CD3E`` in capitals is no mouse gene.
    """
    names = [str(gene) for gene in genes if gene]
    hits = {species: sum(name in _names(species) for name in names) for species in ("human", "mouse")}
    hits["human"] += sum(ensembl_species(name) == "human" for name in names)
    hits["mouse"] += sum(ensembl_species(name) == "mouse" for name in names)
    first, other = ("human", "mouse") if hits["human"] >= hits["mouse"] else ("mouse", "human")
    if hits[first] < max(1, LEAST * len(names)) or hits[first] < CLEARLY * hits[other]:
        return None
    return "human" if first == "human" else "mouse"


def ensembl_species(gene: str) -> str | None:
    """Return the species of an Ensembl gene id: ``human``, ``mouse``, ``rat``, or Ensembl's letters; None of others."""
    match = _ENSEMBL.fullmatch(gene)
    return None if match is None else _LATIN.get(match[1], match[1])


def most_common_ensembl(genes: Iterable[str]) -> str | None:
    """Return the species of most of the genes whose name is an Ensembl id; None where there is none."""
    found = Counter(species for species in map(ensembl_species, map(str, genes)) if species is not None)
    return found.most_common(1)[0][0] if found else None


@lru_cache
def _names(species: Bundled) -> frozenset[str]:
    return frozenset(symbols(species).values())
