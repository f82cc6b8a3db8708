"""A `torch.nn.Module` of one's own as a `CellModel`: how counts become its input, and where its sites are.

For networks that read a whole cell at once. One that reads a cell as tokens subclasses
`cellglass.models.TransformerModel`: `tokenise`, `forward` and the points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import torch
from torch import nn

from cellglass.cells.cells import Cells, CellsLike
from cellglass.errors import InputError
from cellglass.models.base import Capability, CellModel, Site
from cellglass.models.folder import write_net
from cellglass.models.transformer.hooks import Point, run

Inputs = Callable[[torch.Tensor], Any]
_CELLS = 512


class ModuleModel(CellModel):
    """A network of one's own.

    Parameters
    ----------
    net : torch.nn.Module
        Set to evaluation mode. What it makes of a cell must not depend on the cells beside it.
    genes : sequence of str
        Ids of the genes that it reads, in its order; cells are aligned to them.
    sites : mapping of str to (str or Point)
        Name of a site -> the submodule whose output is read there (dotted, as in ``net.get_submodule``), or a `Point`.
        The first is the one that is explained by default.
    inputs : callable
        Makes of raw counts, float32 (n_cells, n_genes), what the network is called with: a tensor, or a tuple of
        several. Where it is made of differentiable steps, path effects are to be had too.

    Raises
    ------
    InputError
        If a submodule is not there, or what is read is not one row for each cell.

    Examples
    --------
    >>> model = ModuleModel(net, genes, {"z": "encoder"}, torch.log1p)  # doctest: +SKIP
    >>> cellglass.explain(cells, model, out="atlas/")  # doctest: +SKIP
    """

    kind = "module"

    def __init__(
        self, net: nn.Module, genes: Sequence[str], sites: Mapping[str, str | Point], inputs: Inputs = torch.log1p
    ) -> None:
        self.net, self.inputs = net.eval(), inputs
        self.genes = pd.Index(list(genes), dtype=object)
        self.points = {name: Point(at, "out") if isinstance(at, str) else at for name, at in sites.items()}
        if not self.points:
            raise InputError("a model needs at least one site; name a submodule, such as {'z': 'encoder'}")
        known = dict(net.named_modules())
        for name, point in self.points.items():
            if point.module not in known:
                raise InputError(f"site {name!r}: the network has no submodule {point.module!r}; it has: {_few(known)}")
        self.sites, self.differentiable = self._try()

    def activations(self, cells: CellsLike, sites: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the activations of aligned `cells`, float32 (n_cells, width)."""
        names = [self.site(name).name for name in sites]
        cells = self.align(cells)
        found = {name: torch.empty(cells.n_cells, self.sites[name].width) for name in names}
        with torch.no_grad():
            for start in range(0, cells.n_cells, _CELLS):
                counts = torch.from_numpy(cells.counts[start : start + _CELLS].toarray())
                for name, rows in self._run(counts, names).items():
                    found[name][start : start + _CELLS] = rows.float().cpu()
        return found

    def lacks(self, what: Capability, site: str) -> str | None:
        """Return why the model cannot do `what`: there are no paths where `inputs` has steps without a gradient."""
        if what == "path" and not self.differentiable:
            return self._no_gradient()
        return super().lacks(what, site)

    def path_gradient(self, site: str, log_counts: torch.Tensor, cells: Cells) -> torch.Tensor:  # noqa: ARG002
        """Return activations at `site` as a differentiable function of dense log1p counts."""
        self.require("path", site)
        return self._run(torch.expm1(log_counts), [site])[site].float().cpu()

    def save(self, folder: Path) -> None:
        """Write genes, sites and weights; the code of the network stays with its author."""
        write_net(folder, self.kind, self.genes, self.net, sites=list(self.points))

    @classmethod
    def load(cls, folder: Path | str) -> NoReturn:
        """Raise InputError: the code of the network is not in the folder."""
        raise InputError(
            f"{folder} holds the weights of a network of somebody's own, and not its code; make the network in Python "
            "and hand it to cellglass.explain in a ModuleModel"
        )

    def _run(self, counts: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
        device = next((parameter.device for parameter in self.net.parameters()), torch.device("cpu"))
        given = self.inputs(counts.to(device))
        call = (lambda: self.net(*given)) if isinstance(given, tuple) else (lambda: self.net(given))
        found, _ = run(self.net, call, self.points, names)
        missing = [name for name in names if name not in found]
        if missing:
            raise InputError(f"site {missing[0]!r}: {self.points[missing[0]].module!r} is not run by the network")
        return found

    def _try(self) -> tuple[dict[str, Site], bool]:
        """Run two cells with one count a gene: how wide each site is, and whether gradients come through."""
        counts = torch.ones(2, len(self.genes), requires_grad=True)
        with torch.enable_grad():
            found = self._run(counts, list(self.points))
        for name, rows in found.items():
            if not isinstance(rows, torch.Tensor) or rows.ndim != 2 or len(rows) != 2:
                shape = tuple(rows.shape) if isinstance(rows, torch.Tensor) else type(rows).__name__
                raise InputError(f"site {name!r} is {shape} for 2 cells; a site of a ModuleModel has a row for each")
        sites = {name: Site(name, int(found[name].shape[1])) for name in self.points}
        return sites, all(_reaches(rows, counts) for rows in found.values())


def _reaches(rows: torch.Tensor, counts: torch.Tensor) -> bool:
    """Say whether `rows` are a differentiable function of `counts`."""
    if not rows.requires_grad:
        return False
    return torch.autograd.grad(rows.sum(), counts, allow_unused=True, retain_graph=True)[0] is not None


def _few(modules: Mapping[str, nn.Module]) -> str:
    names = [name for name in modules if name]
    return ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")
