"""How the genes of some cells meet a model's: counted, so that it can be reported."""

from __future__ import annotations

from typing import NamedTuple


class GeneCoverage(NamedTuple):
    """How the genes of some cells meet the model's.

    Attributes
    ----------
    found : int
        Genes of the model that the cells have.
    missing : int
        Genes of the model that the cells lack: they count 0.
    unknown : int
        Genes of the cells that the model does not know: they are not read.
    """

    found: int
    missing: int
    unknown: int
