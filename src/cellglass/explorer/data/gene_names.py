"""What else genes are called: Ensembl ids, previous symbols and aliases, from the atlas and from the bundled tables.

The search reads it, so that a gene is found by whichever name somebody knows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import pandas as pd

from cellglass.cells.gene_ids import ALIAS_COLUMNS
from cellglass.cells.gene_names import aliases, ensembl_of, species_of

_ENSEMBL = re.compile(r"ENS[A-Z]*G[0-9]{6,}(\.[0-9]+)?")


def ensembl_ids(ids: Sequence[str], symbols: Sequence[str], counted: pd.DataFrame | None) -> list[str] | None:
    """Return the Ensembl id of each gene, empty where none is known; None where none is known of any.

    It is the gene's id where that is one, else what the column ``ensembl`` of the counted genes says, else the id that
    the symbol has in the bundled table of the genes' species.
    """
    found = [gene if _ENSEMBL.fullmatch(gene) else "" for gene in ids]
    if counted is not None and "ensembl" in counted:
        stated = counted["ensembl"].astype(object).where(counted["ensembl"].notna(), "").map(str).tolist()
        found = [one or other for one, other in zip(found, [*stated, *[""] * len(found)], strict=False)]
    species = species_of(symbols)
    if species is not None:
        bundled, today = ensembl_of(species), _today() if species == "human" else {}
        for place, symbol in enumerate(symbols):
            now = today.get(symbol, [symbol])
            if not found[place] and (symbol in bundled or len(now) == 1):
                found[place] = bundled.get(symbol, bundled.get(now[0], ""))
    return found if any(found) else None


def other_names(symbols: Sequence[str], counted: pd.DataFrame | None) -> list[list[str]] | None:
    """Return the other names of each gene: those of the atlas, then bundled ones; None where no gene has any.

    A symbol that is a previous name of today's (``IGJ``) has that (``JCHAIN``) and all of its other names.
    """
    found = _stated(symbols, counted)
    if species_of(symbols) == "human":
        known, today = aliases(), _today()
        for symbol, names in zip(symbols, found, strict=True):
            now = [symbol] if symbol in known else today.get(symbol, [])
            every = [*names, *now, *(name for one in now for name in known[one])]
            names[:] = [name for name in dict.fromkeys(every) if name != symbol]
    return found if any(found) else None


@lru_cache
def _today() -> dict[str, list[str]]:
    """Return each previous or other name of human genes -> the symbols of today that it is one of."""
    found: dict[str, list[str]] = {}
    for symbol, names in aliases().items():
        for name in names:
            found.setdefault(name, []).append(symbol)
    return found


def _stated(symbols: Sequence[str], counted: pd.DataFrame | None) -> list[list[str]]:
    """Return the names that the table of counted genes has in a column of `ALIAS_COLUMNS`."""
    column = next((name for name in ALIAS_COLUMNS if counted is not None and name in counted), None)
    if counted is None or column is None:
        return [[] for _ in symbols]
    texts = counted[column].astype(object)
    known = texts.where(texts.notna(), "").tolist()
    parts = [[part for part in map(str.strip, re.split(r"[;,|]", str(text))) if part] for text in known]
    return [*parts, *([] for _ in symbols[len(parts) :])]
