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
from cellglass.models.base import CellModel, Site, TokenRows

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
        self.genes = model.genes
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

    def align(self, cells: Cells) -> Cells:
        """Return `cells` as the model reads them."""
        return self.model.align(cells)

    def save(self, folder: Path) -> NoReturn:
        """Raise InputError: model and dictionary are saved each by itself."""
        raise InputError(f"{folder}: save the model and the dictionary each by itself")
