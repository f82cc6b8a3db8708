"""The methods of attribution: which there are, and by which of them genes are ranked.

A method is one entry: ``ENTRY`` in ``methods/NAME.py``, or the entry point of another package (group
``cellglass.attribution``). Importing this imports no method.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellglass.attribution.method import Method
from cellglass.registry import Registry
from cellglass.vocabulary import ATTRIBUTION

if TYPE_CHECKING:
    import pandas as pd

METHODS: Registry[Method] = Registry("attribution method", "cellglass.attribution", Method, ATTRIBUTION)


def gene_rankings() -> tuple[tuple[str, str], ...]:
    """Return the rankings of a concept's genes, the most telling first: the method, and the readout it ranks on."""
    ranked = sorted(METHODS.values(), key=lambda method: method.preference)
    return tuple((method.name, method.ranking) for method in ranked if method.ranking is not None)


def ranking_run(table: pd.DataFrame) -> tuple[str, str] | None:
    """Return the first of these rankings that a table of genes has rows of; None where it has none."""
    pairs = table[["method", "on"]].drop_duplicates().astype(str).itertuples(index=False, name=None)
    ran = set(pairs)
    return next((pair for pair in gene_rankings() if pair in ran), None)
