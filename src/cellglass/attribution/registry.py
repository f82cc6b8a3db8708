"""The methods of attribution: which there are, and by which of them genes are ranked.

A method is one entry: ``ENTRY`` in ``methods/NAME.py``, or the entry point of another package (group
``cellglass.attribution``). Importing this imports no method.
"""

from __future__ import annotations

from cellglass.attribution.method import Method
from cellglass.registry import Registry
from cellglass.vocabulary import ATTRIBUTION

METHODS: Registry[Method] = Registry("attribution method", "cellglass.attribution", Method, ATTRIBUTION)


def gene_rankings() -> tuple[tuple[str, str], ...]:
    """Return the rankings of a concept's genes, the most telling first: the method, and the readout it ranks on."""
    ranked = sorted(METHODS.values(), key=lambda method: method.preference)
    return tuple((method.name, method.ranking) for method in ranked if method.ranking is not None)
