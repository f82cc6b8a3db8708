"""What every model is to the rest of cellglass: a frozen function from *raw counts* to activations at named sites.

Every change to a cell is made to its raw counts and the model's own preprocessing runs again, so that one meaning of
"perturb gene g" holds for every model. An adapter overrides `perturbed_activations` only with a faster way that is
exact.
"""

# ruff: noqa: ARG002 (what is not overridden reads few of its arguments)

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch

from cellglass.cells.cells import Cells, CellsLike
from cellglass.cells.read import as_cells
from cellglass.errors import InputError
from cellglass.files import sha256
from cellglass.models.coverage import GeneCoverage, coverage_of
from cellglass.models.edits import edited_cells
from cellglass.models.line import Line
from cellglass.models.linear_front import LinearFront, perturbed_through_front

__all__ = ["Capability", "CellModel", "Floats", "Ints", "LinearFront", "Site", "TokenRows"]

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Capability = Literal["counterfactual", "path", "decode"]


@dataclass(frozen=True)
class Site:
    """A named place in a model where activations are read.

    Attributes
    ----------
    name : str
        Such as ``z``, ``encoder.hidden.0``, ``cell`` or ``layers.5.mlp.in``.
    width : int
        Length of one activation vector.
    granularity : {"cell", "token"}
        One row for each cell, or one for each token (a gene in a cell).
    """

    name: str
    width: int
    granularity: Literal["cell", "token"] = "cell"


class TokenRows(NamedTuple):
    """Activations at a site with one row for each gene of a cell.

    Attributes
    ----------
    values : torch.Tensor, (rows, width)
    cell : numpy.ndarray of int64, (rows,)
        The cell of each row, as its position among the cells that were given; never decreasing.
    gene : numpy.ndarray of int64, (rows,)
        The gene of each row, as its position among the model's genes.
    """

    values: torch.Tensor
    cell: Ints
    gene: Ints


class CellModel(ABC):
    """A frozen single-cell model.

    Attributes
    ----------
    kind : str
        Such as ``scvi``.
    genes : pandas.Index
        Ids of the genes that the model reads, in its order.
    sites : mapping of str to Site
        Where activations can be read.
    vocabulary : bool
        Whether genes that the cells lack are left out, as a transformer does, and not read as count 0.
    decoded_unit : {"counts", "bins"}
        What `decode` gives: expected counts, or values on the model's own scale.
    screens_by : {"gradient", "difference"}
        What tells best which genes' swaps will matter: gradients, or by how much expression differs; measured.
    """

    kind: str
    genes: pd.Index[Any]
    sites: Mapping[str, Site]
    vocabulary: bool = False
    decoded_unit: Literal["counts", "bins"] = "counts"
    screens_by: Literal["gradient", "difference"] = "gradient"

    # -- what an adapter must give ---------------------------------------------------------------------------------

    @abstractmethod
    def activations(self, cells: CellsLike, sites: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the activations of aligned `cells` (see `align`): one float32 (n_cells, width) tensor a site.

        For at most a few thousand cells: it holds everything in memory. `cellglass.activations.capture` is the way to
        run a whole data set to disk.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model (cfg.json and weights.safetensors) so that `cellglass.models.load` reads it back."""

    # -- what an adapter may give ----------------------------------------------------------------------------------

    def lacks(self, what: Capability, site: str) -> str | None:
        """Return in words why the model cannot do `what` at `site`; None where it can.

        Any model can be run on changed counts; paths need `path_gradient`, a `linear_front` or a `line`, and decoding
        needs `decode`. A model that can do something at some sites only, or not at all, overrides this too.

        Parameters
        ----------
        what : {"counterfactual", "path", "decode"}
            `perturbed_activations`, `path_gradient` (or `line`) and `decode`: each raises InputError with these words.
        site : str
        """
        name = self.site(site).name
        own = type(self)
        if what == "path" and own.path_gradient is CellModel.path_gradient and own.line is CellModel.line:
            return None if self.linear_front(name) is not None else self._no_gradient()
        if what == "decode" and type(self).decode is CellModel.decode:
            return f"the {self.kind} model cannot decode expression from site {name!r}"
        return None

    def posterior(self, cells: CellsLike, site: str) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return mean and standard deviation of the model's posterior at `site`, or None where it has none."""
        return None

    def token_activations(self, cells: CellsLike, sites: Sequence[str]) -> dict[str, TokenRows]:
        """Return activations at sites with one row for each gene of a cell; as much in memory as `activations`."""
        raise InputError(f"the {self.kind} model has no sites with one row for each gene of a cell")

    def decode(self, site: str, activations: torch.Tensor, cells: Cells) -> torch.Tensor:
        """Return expected counts (n_cells, n_genes) for given activations at `site`; see `decoded_unit`."""
        self.require("decode", site)
        raise NotImplementedError(f"{type(self).__name__} says that it decodes, and has no decode")

    def reconstruction_loss(self, site: str, activations: torch.Tensor, cells: Cells) -> float:
        """Return the loss that the model was trained with, mean over `cells`, for given activations at `site`."""
        raise InputError(f"the {self.kind} model has no loss that can be read from site {self.site(site).name!r}")

    def path_gradient(self, site: str, log_counts: torch.Tensor, cells: Cells) -> torch.Tensor:
        """Return activations at `site` as a differentiable function of log1p counts, float32 (n_cells, n_genes).

        `cells` carries the covariates. It is what integrated gradients run through. A model with a `linear_front` has
        it from there.
        """
        self.require("path", site)
        front = self.linear_front(site)
        if front is None:
            raise InputError(self._no_gradient())
        change = log_counts - torch.log1p(torch.from_numpy(cells.counts.toarray()))  # (n_cells, n_genes)
        return front.rest(front.front(cells) + change.to(front.weight.dtype) @ front.weight.T)

    def linear_front(self, site: str) -> LinearFront | None:
        """Return the model split behind its first layer, or None where that is not linear in log1p of the counts.

        A model that has one gets `perturbed_activations` fast and exact for it, and attribution along straight paths in
        log-count space needs no product with all genes at each step.
        """
        return None

    def line(self, site: str, cells: Cells, prototype: Ints, partner: Ints) -> Line | None:
        """Return the ways from partners to prototypes token by token, for models that read cells as tokens.

        Parameters
        ----------
        site : str
        cells : Cells
            Aligned.
        prototype, partner : numpy.ndarray of int64, (n,)
            Positions of cells: the two ends of n ways.

        Returns
        -------
        Line or None
            None where the model reads counts; then `linear_front` or `path_gradient` is what paths run through.
        """
        return None

    def perturbed_activations(self, cells: Cells, site: str, cell: Ints, gene: Ints, count: Floats) -> torch.Tensor:
        """Return activations at `site` after changes: row i is cell ``cell[i]`` with gene ``gene[i]`` at ``count[i]``.

        `cells` are aligned (see `align`), and `gene` holds positions in the model's order of genes. A model with a
        `linear_front` goes through it; any other runs each changed cell whole. The result holds len(cell) x width
        numbers: for tens of millions of changes, call it piece by piece.

        Returns
        -------
        torch.Tensor, float32, shape (len(cell), width)
        """
        self.require("counterfactual", site)
        if not self.is_aligned(cells):
            raise InputError(f"{cells.source}: the genes are not the {self.kind} model's; use model.align(cells)")
        front = self.linear_front(site)
        if front is not None:
            return perturbed_through_front(front, cells, cell, gene, count)
        return self.perturbed_activations_plain(cells, site, cell, gene, count)

    # -- what all adapters share -----------------------------------------------------------------------------------

    def require(self, what: Capability, site: str) -> None:
        """Raise InputError with the words of `lacks` if the model cannot do `what` at `site`."""
        reason = self.lacks(what, site)
        if reason is not None:
            raise InputError(reason)

    def _no_gradient(self) -> str:
        return f"the {self.kind} model has no gradient with respect to counts, so no path effects"

    def perturbed_activations_plain(
        self, cells: Cells, site: str, cell: Ints, gene: Ints, count: Floats
    ) -> torch.Tensor:
        """Return what `perturbed_activations` returns, the plain way: each changed cell is encoded whole.

        It is the reference that every faster way is tested against.
        """
        self.require("counterfactual", site)
        return self.activations(edited_cells(cells, cell, gene, count), [site])[site]

    def is_aligned(self, cells: Cells) -> bool:
        """Say whether `cells` have exactly this model's genes, in its order."""
        return cells.genes.index is self.genes or bool(cells.genes.index.equals(self.genes))

    def align(self, cells: CellsLike) -> Cells:
        """Return `cells` with this model's genes in this model's order; genes that the cells lack get count 0."""
        cells = as_cells(cells)
        if self.is_aligned(cells):
            return cells
        from cellglass.cells.genes import align_genes

        return align_genes(cells, self.genes)

    def cover(self, cells: CellsLike) -> GeneCoverage | None:
        """Return how the genes of `cells` meet the model's; None where no gene enters the model."""
        cells = as_cells(cells)
        if self.is_aligned(cells):
            return GeneCoverage(len(self.genes), 0, 0)
        return coverage_of(cells, len(self.genes), self.align)

    def site(self, name: str) -> Site:
        """Return the site called `name`; InputError names the sites that there are."""
        if name not in self.sites:
            raise InputError(f"the {self.kind} model has no site {name!r}; its sites are: {', '.join(self.sites)}")
        return self.sites[name]

    def prepare(self, cells: CellsLike) -> Any:
        """Return what `read` is given of `cells`: aligned cells, or a transformer's tokens.

        It runs no network, so that it can be done for the next cells while the network runs on these.
        """
        return self.align(cells)

    def read(self, prepared: Any, sites: Sequence[str]) -> dict[str, torch.Tensor | TokenRows]:
        """Return the activations at sites of both kinds, in one pass where the model allows it."""
        found: dict[str, torch.Tensor | TokenRows] = {}
        for granularity, get in (("cell", self.activations), ("token", self.token_activations)):
            names = [name for name in sites if self.site(name).granularity == granularity]
            if names:
                found |= get(prepared, names)
        return {name: found[name] for name in sites}

    def for_cells(self, cells: CellsLike) -> CellModel:
        """Return the model as it reads these cells: one with a vocabulary narrows it to the genes that they hold.

        Activations of such cells are the same. A vocabulary may hold 60,000 genes, and whatever is a table of genes
        (attribution, decoding) is as wide as the model's genes.
        """
        return self

    def batches(self, cells: Cells, size: int = 1024) -> Iterator[Cells]:
        """Yield aligned cells in consecutive pieces of at most `size`."""
        for start in range(0, cells.n_cells, size):
            yield self.align(cells[start : start + size])

    def fingerprint(self) -> str:
        """Return a sha256 of configuration and weights: equal for a model and for its copy read from disk."""
        with TemporaryDirectory() as folder:
            self.save(Path(folder) / "model")
            return sha256(Path(folder) / "model")
