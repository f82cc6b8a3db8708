"""Any matrix in ``obsm`` as a site: Harmony, UCE, a model that we do not know.

Concepts, differential expression, labels and fidelity work on it. What needs the model itself (a counterfactual, a
gradient, decoding) cannot be had, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from cellglass.cells.cells import Cells, CellsLike
from cellglass.cells.read import as_cells
from cellglass.errors import InputError
from cellglass.models.base import Capability, CellModel, Site
from cellglass.models.folder import CFG, digest, read_cfg, write_model

_NEEDS_MODEL: Mapping[Capability, str] = {
    "counterfactual": "counterfactuals are",
    "path": "path effects are",
    "decode": "decoding is",
}


class EmbeddingModel(CellModel):
    """Looks activations up in ``cells.obsm``; a site is named by its key.

    Parameters
    ----------
    genes : pandas.DataFrame
        Gene ids in the index and a column ``symbol``: the genes of the cells that are explained. They stay as they are.
    widths : mapping of str to int
        Keys in ``obsm`` and the number of columns of each.
    """

    kind = "embedding"

    def __init__(self, genes: pd.DataFrame, widths: Mapping[str, int]) -> None:
        self.gene_table = genes
        self.genes = genes.index
        self.sites = {key: Site(key, width) for key, width in widths.items()}

    @classmethod
    def of(cls, cells: CellsLike, keys: Sequence[str] | None = None) -> EmbeddingModel:
        """Return the model for the matrices `keys` of `cells` (all by default); InputError where one is not there."""
        cells = as_cells(cells)
        keys = list(cells.obsm) if keys is None else list(keys)
        if not keys:
            raise InputError(f"{cells.source}: there is no embedding in obsm; add one, or give a model")
        return cls(cells.genes[["symbol"]], {key: _matrix(cells, key).shape[1] for key in keys})

    @classmethod
    def load(cls, folder: Path | str) -> EmbeddingModel:
        """Read what `save` wrote."""
        folder = Path(folder)
        cfg = read_cfg(folder, cls.kind)
        try:
            genes = pd.DataFrame({"symbol": cfg["symbols"]}, index=pd.Index(cfg["genes"], dtype=object))
            return cls(genes, {str(key): int(width) for key, width in cfg["widths"].items()})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{folder / CFG} is damaged ({error}); save it again") from None

    def save(self, folder: Path) -> None:
        """Write cfg.json (genes, keys, widths) and an empty weights.safetensors: the matrices stay with the cells."""
        write_model(Path(folder), self._cfg(), {}, {"cellglass": version("cellglass")})

    def fingerprint(self) -> str:
        """Return a sha256 of genes, keys and widths; the matrices belong to the fingerprint of the cells."""
        return digest(self._cfg(), {})

    def align(self, cells: CellsLike) -> Cells:
        """Return `cells` as they are: no gene enters an embedding."""
        return as_cells(cells)

    def cover(self, cells: CellsLike) -> None:
        """Return None: no gene enters an embedding."""

    def activations(self, cells: CellsLike, sites: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the rows of ``cells.obsm`` as float32; InputError where a matrix is missing, or is not finite."""
        found, cells = {}, as_cells(cells)
        for name in sites:
            site = self.site(name)
            matrix = np.asarray(_matrix(cells, name), dtype=np.float32)
            if matrix.shape[1] != site.width:
                raise InputError(
                    f"{cells.source}: obsm {name!r} has {matrix.shape[1]} columns, the model was made for {site.width}"
                )
            if not np.isfinite(matrix).all():
                raise InputError(f"{cells.source}: obsm {name!r} has NaN or infinite values; remove those cells")
            found[name] = torch.from_numpy(np.array(matrix))
        return found

    def lacks(self, what: Capability, site: str) -> str:
        """Return that nothing computes an embedding of changed counts, its gradient, or expression from it."""
        return (
            f"{self.site(site).name!r} is an embedding with no model behind it, so {_NEEDS_MODEL[what]} not possible; "
            "differential expression still works"
        )

    def _cfg(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "layout": 1,
            "widths": {name: site.width for name, site in self.sites.items()},
            "genes": [str(gene) for gene in self.genes],
            "symbols": [str(symbol) for symbol in self.gene_table["symbol"]],
        }


def _matrix(cells: Cells, key: str) -> np.ndarray[Any, Any]:
    if key not in cells.obsm:
        raise InputError(
            f"{cells.source}: there is no obsm matrix {key!r}; there are: {', '.join(cells.obsm) or 'none'}"
        )
    matrix = cells.obsm[key]
    if getattr(matrix, "ndim", 0) != 2:
        raise InputError(f"{cells.source}: obsm {key!r} is no matrix with one row for each cell")
    return matrix
