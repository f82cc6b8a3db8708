"""The tables of gene names that ship with cellglass: read once each, as plain dictionaries.

Made by ``tools/make_gene_tables.py``. Nothing is looked up over a network.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import resources
from itertools import accumulate
from typing import Any, Literal

import numpy as np

Bundled = Literal["human", "mouse"]

_PREFIX: Mapping[Bundled, str] = {"human": "ENSG", "mouse": "ENSMUSG"}
_ID = re.compile(r"(ENSG|ENSMUSG)(\d{11})(?:\.\d+)?(?:_PAR_Y)?")


def known_symbols(genes: Iterable[Any]) -> np.ndarray[Any, Any]:
    """Return `genes`, each human or mouse Ensembl id among them (with or without version) as its symbol.

    What is no such id, and an id that has no symbol, stays as it is.
    """
    return np.array([_symbol(str(gene)) for gene in genes], dtype=object)


def _symbol(gene: str) -> str:
    match = _ID.fullmatch(gene)
    if match is None:
        return gene
    species: Bundled = "human" if match[1] == "ENSG" else "mouse"
    return symbols(species).get(int(match[2]), gene)


@lru_cache
def symbols(species: Bundled) -> Mapping[int, str]:
    """Return the number of each Ensembl id of a species that has a symbol -> the symbol."""
    rows = list(_rows(f"{species}.tsv.gz"))
    numbers = accumulate(int(step) for step, _ in rows)
    return dict(zip(numbers, (symbol for _, symbol in rows), strict=True))


@lru_cache
def ensembl_of(species: Bundled) -> Mapping[str, str]:
    """Return each symbol of a species -> its Ensembl id, where it has one alone."""
    found: dict[str, str] = {}
    for number, symbol in symbols(species).items():
        found[symbol] = "" if symbol in found else f"{_PREFIX[species]}{number:011d}"
    return {symbol: gene for symbol, gene in found.items() if gene}


@lru_cache
def orthologs() -> Mapping[str, str]:
    """Return each human symbol that has a one-to-one ortholog in mouse -> the mouse symbol."""
    return {human: mouse or human.capitalize() for human, mouse in _rows("orthologs.tsv.gz")}


@lru_cache
def aliases() -> Mapping[str, tuple[str, ...]]:
    """Return each human symbol -> its other names, previous symbols first.

    A name may be that of several genes (``CD16``); none is the symbol of another gene today.
    """
    return {symbol: tuple(names.split(" ")) for symbol, names in _rows("aliases.tsv.gz")}


def _rows(name: str) -> Iterator[tuple[str, str]]:
    data = (resources.files("cellglass.cells.gene_names") / name).read_bytes()
    for line in gzip.decompress(data).decode().splitlines():
        one, other = line.split("\t")
        yield one, other
