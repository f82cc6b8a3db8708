"""Concepts of gene tokens, max-pooled to one number for each cell: what attributes concepts of cells attributes these.

    a_c(cell) = max over the genes g of the cell of a_c(cell, g),   0 for a cell without tokens

`TokenConcepts` is a model whose one site holds these numbers; `cellglass.attribution.pooled.Pooled` is the dictionary
on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch

from cellglass.cells.cells import Cells
from cellglass.dictionaries.base import Dictionary
from cellglass.errors import InputError
from cellglass.models.base import Capability, CellModel, Ints, Site, TokenRows
from cellglass.models.line import Line

POOLED = "pooled"
_CELLS = 64
"""Cells whose tokens are held at once."""


class TokenConcepts(CellModel):
    """A model and a dictionary on one of its token sites, max-pooled to one number for each cell and concept.

    Parameters
    ----------
    model : CellModel
        With token sites.
    site : str
        The token site that `dictionary` reads.
    dictionary : Dictionary
    """

    kind = "token_concepts"

    def __init__(self, model: CellModel, site: str, dictionary: Dictionary) -> None:
        if model.site(site).granularity != "token":
            raise InputError(f"site {site!r} has one row for each cell; attribute its concepts as they are")
        self.model, self.site_read, self.dictionary = model, site, dictionary
        self.genes, self.screens_by = model.genes, model.screens_by
        self.sites = {POOLED: Site(POOLED, dictionary.n_latents)}

    def activations(self, cells: Cells, sites: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the max-pooled activation of each concept in each cell, float32 (n_cells, n_latents)."""
        cells = self.align(cells)
        out = torch.zeros(cells.n_cells, self.dictionary.n_latents)
        with torch.no_grad():
            for start in range(0, cells.n_cells, _CELLS):
                some = cells[start : start + _CELLS]
                rows: TokenRows = self.model.token_activations(some, [self.site_read])[self.site_read]
                codes = self.dictionary.encode(rows.values)
                place = torch.from_numpy(rows.cell)[:, None] * self.dictionary.n_latents + codes.indices
                piece = torch.zeros(some.n_cells * self.dictionary.n_latents)
                piece.scatter_reduce_(0, place.ravel(), codes.values.float().ravel(), "amax")
                out[start : start + _CELLS] = piece.view(some.n_cells, -1)
        return {self.site(name).name: out for name in sites}

    def lacks(self, what: Capability, site: str) -> str | None:
        """Return why it cannot do `what`: paths where the model has none to its token site."""
        name = self.site(site).name
        if what != "path":
            return super().lacks(what, name)
        lacking = getattr(self.model, "lacks_line", None)
        return self._no_gradient() if lacking is None else lacking(self.site_read)

    def line(self, site: str, cells: Cells, prototype: Ints, partner: Ints) -> Line:
        """Return the ways of pairs to the pooled site: max over tokens of (how far it is there) * relu(pre-activation).

        The maximum at both ends is the cell's own, before the selection of the dictionary.
        """
        self.require("path", site)
        found = self.model.line(self.site_read, cells, prototype, partner)
        assert found is not None  # noqa: S101
        assert found.there is not None, "it is a line to a token site"  # noqa: S101
        values, there = found.read, found.there

        def read(u: torch.Tensor) -> torch.Tensor:
            hidden = values(u)  # (n, t, width)
            active = torch.relu(self.dictionary.preactivations(hidden.flatten(0, 1))).view(*hidden.shape[:2], -1)
            pooled: torch.Tensor = (there(u)[..., None] * active).amax(1)
            return pooled

        return Line(found.gene, read)

    def align(self, cells: Cells) -> Cells:
        """Return `cells` as the model reads them."""
        return self.model.align(cells)

    def save(self, folder: Path) -> NoReturn:
        """Raise InputError: model and dictionary are saved each by itself."""
        raise InputError(f"{folder}: save the model and the dictionary each by itself")
