"""What all transformers share: cells become token sequences, run in batches of like length, are read at named sites.

Sites with one row for each gene token: ``embed`` (what the first layer is given), and for each layer i

    layers.i.resid          the residual stream after the layer
    layers.i.attn.out       what attention adds to it
    layers.i.attn.head.h    what head h gives to the output map of attention
    layers.i.mlp.in         what the MLP reads
    layers.i.mlp.out        what it writes

and with one row for each cell: ``cell``, the model's own embedding of a cell, and whatever else an adapter names. A
cell's activations never depend on the cells beside it: padding is masked, and tokens are a function of one cell.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from cellglass.cells.cells import Cells, CellsLike
from cellglass.cells.read import as_cells
from cellglass.errors import InputError
from cellglass.models.base import Capability, CellModel, Floats, TokenRows
from cellglass.models.coverage import GeneCoverage
from cellglass.models.edits import edited_cells
from cellglass.models.folder import write_net
from cellglass.models.line import Line
from cellglass.models.transformer.hooks import Edit, Point, run
from cellglass.models.transformer.lines import Ways, lay
from cellglass.models.transformer.tokens import Ints, Padded, TokenLists, batches_by_length

BATCH_TOKENS = 8192
"""Tokens that are run at once, padding included."""

RowEdit = Callable[[TokenRows], torch.Tensor]
"""Returns what takes the place of the rows at a token site."""


@dataclass(frozen=True)
class CellSite:
    """A site with one row for each cell that is made from the tokens at a point.

    Attributes
    ----------
    point : str
        The token site.
    pool : callable
        Makes (n, width) of the hidden states (n, t, width) of a batch.
    """

    point: str
    pool: Callable[[torch.Tensor, Padded], torch.Tensor]


class TransformerModel(CellModel):
    """A frozen transformer over the genes of a cell.

    An adapter sets what is below, and says how cells become tokens and how its network is called.

    Attributes
    ----------
    net : torch.nn.Module
        The network, in evaluation mode.
    points : mapping of str to Point
        Where in the network each token site is, in the order of the forward pass.
    cell_sites : mapping of str to CellSite
    pad_id, pad_value : int, float
        What fills a batch up; never attended to.
    batch_tokens : int
        Tokens that are run at once.
    coverage : GeneCoverage or None
        How the genes of the cells that were aligned last met the model's, where that is known.
    """

    net: nn.Module
    points: Mapping[str, Point]
    cell_sites: Mapping[str, CellSite]
    pad_id: int = 0
    pad_value: float = 0.0
    batch_tokens: int = BATCH_TOKENS
    coverage: GeneCoverage | None = None
    vocabulary = True
    # Where cells are read in order, a swap moves other genes too, of which the gradient of a pair knows nothing.
    screens_by: Literal["gradient", "difference"] = "difference"

    # -- what an adapter gives ---------------------------------------------------------------------------------------

    @abstractmethod
    def tokenise(self, cells: Cells) -> TokenLists:
        """Return the tokens of aligned `cells`, each a function of that cell's counts alone."""

    @abstractmethod
    def forward(self, batch: Padded) -> Any:
        """Call the network on a batch, which lies on the network's device."""

    def rows(self, hidden: torch.Tensor, batch: Padded) -> TokenRows:
        """Return one row for each gene of each cell, from hidden states (n, t, width).

        Where a gene is one token, that token's row; a model whose genes are several tokens overrides this.
        """
        place = batch.gene >= 0
        cell = torch.from_numpy(batch.cells).to(place.device)[:, None].expand_as(place)[place]
        return TokenRows(hidden[place], cell.cpu().numpy(), batch.gene[place].cpu().numpy())

    def put_rows(self, hidden: torch.Tensor, batch: Padded, values: torch.Tensor) -> torch.Tensor:
        """Return `hidden` with `values` in place of what `rows` reads."""
        changed = hidden.clone()
        changed[batch.gene >= 0] = values.to(hidden.dtype)
        return changed

    def weighted(self, ways: Ways, u: torch.Tensor) -> Any:  # noqa: ARG002 (an adapter reads them)
        """Call the network on the tokens of pairs, ``ways.logits(u)`` added to the logits of attention to each.

        What the first layer is given is replaced behind this. An adapter without it has no path effects.
        """
        raise InputError(self._no_gradient())

    def keyed(self, cells: Cells) -> tuple[TokenLists, Ints]:
        """Return the tokens of aligned `cells`, and what makes each the same token in another cell; see `lay`.

        Here the gene: attention has no order of its own, and place and value are in the vector that moves.
        """
        tokens = self.tokenise(cells)
        return tokens, tokens.gene

    def row_tokens(self, tokens: TokenLists) -> Any:
        """Return which tokens `rows` reads, bool (tokens,)."""
        return tokens.gene >= 0

    def save(self, folder: Path) -> None:
        """Write genes and weights; an adapter that can be read back writes more."""
        write_net(folder, self.kind, self.genes, self.net)

    # -- what all share ----------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.net.parameters()).device

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> TransformerModel:
        """Move the network to `device` and return the model.

        With `dtype` it computes in that: bfloat16 is what GPUs are fast in, and keeps three digits, enough to learn a
        dictionary from, too few for the differences that single swaps make. Activations come back as float32.
        """
        self.net.to(device=device, dtype=dtype)
        return self

    def cover(self, cells: CellsLike) -> GeneCoverage | None:
        """Return how the genes of `cells` meet the model's; as it counted them itself, where it does."""
        cells = as_cells(cells)
        if self.is_aligned(cells):
            return GeneCoverage(len(self.genes), 0, 0)
        self.align(cells[:1])
        return self.coverage or super().cover(cells)

    def activations(self, cells: CellsLike, sites: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the activations of `cells` at sites with one row for each cell, float32 (n_cells, width)."""
        for name in sites:
            if self.site(name).name not in self.cell_sites:
                raise InputError(self._not_of_cells(name))
        found: Any = self.read(self.prepare(cells), sites)
        return dict(found)

    def token_activations(self, cells: CellsLike, sites: Sequence[str]) -> dict[str, TokenRows]:
        """Return the activations at sites with one row for each gene of a cell, in the order of the cells."""
        names = [self.site(name).name for name in sites]
        for name in names:
            if name not in self.points:
                raise InputError(f"site {name!r} has one row for each cell; read it with activations")
        found: Any = self.read(self.prepare(cells), names)
        return dict(found)

    def lacks(self, what: Capability, site: str) -> str | None:
        """Return why the model cannot do `what` at `site`: changed cells are read at sites with one row for each."""
        if what in ("counterfactual", "path") and self.site(site).name not in self.cell_sites:
            return self._not_of_cells(site)
        return self.lacks_line(site) if what == "path" else super().lacks(what, site)

    def lacks_line(self, site: str) -> str | None:  # noqa: ARG002 (an adapter may say so of some sites)
        """Return why there is no `line` to `site`, of cells or of tokens; None where there is one."""
        return self._no_gradient() if type(self).weighted is TransformerModel.weighted else None

    def line(self, site: str, cells: Cells, prototype: Ints, partner: Ints) -> Line | None:
        """Return the ways from partners to prototypes through the input vectors of tokens; see ``lines.py``."""
        reason = self.lacks_line(self.site(site).name)
        if reason is not None:
            raise InputError(reason)
        (ours, mine), (theirs, yours) = self.keyed(cells[prototype]), self.keyed(cells[partner])
        laid = lay(ours, theirs, (mine, yours))
        padded = [
            one.padded(np.arange(len(one)), self.pad_id, self.pad_value).to(self.device) for one in (ours, theirs)
        ]
        ways = Ways.of(laid, (padded[0], padded[1]), (self._vectors(padded[0]), self._vectors(padded[1])))
        read = partial(self._read_way, ways, site)
        if site in self.cell_sites:
            return Line(ways.batch.gene, read)
        is_row = ways.flags(laid, (ours, self.row_tokens(ours)), (theirs, self.row_tokens(theirs)))
        return Line(ways.batch.gene, read, lambda u: is_row * ways.there(u))

    @torch.no_grad()
    def _vectors(self, batch: Padded) -> torch.Tensor:
        """Return what the first layer is given, (n, t, width)."""
        return run(self.net, partial(self.forward, batch), self.points, ["embed"])[0]["embed"]

    def _read_way(self, ways: Ways, site: str, u: torch.Tensor) -> torch.Tensor:
        of_cell = self.cell_sites.get(site)
        point = site if of_cell is None else of_cell.point
        write = {"embed": lambda _: ways.vectors(u)}
        hidden = run(self.net, partial(self.weighted, ways, u), self.points, [point], write)[0][point]
        pooled = hidden if of_cell is None else of_cell.pool(hidden, ways.batch._replace(there=ways.there(u)))
        return pooled.to(torch.promote_types(pooled.dtype, torch.float32))

    def perturbed_activations(self, cells: Cells, site: str, cell: Ints, gene: Ints, count: Floats) -> torch.Tensor:
        """Return activations at `site` after changes of counts; see `CellModel.perturbed_activations`.

        Changes that make the same tokens share one run: another count often leaves ranks and bins as they were.
        """
        self.require("counterfactual", site)
        if not self.is_aligned(cells):
            raise InputError(f"{cells.source}: the genes are not the {self.kind} model's; use model.align(cells)")
        tokens, which = self.tokenise(edited_cells(cells, cell, gene, count)).different()
        found: Any = self.read(tokens, [site])
        values: torch.Tensor = found[site][torch.from_numpy(which)]
        return values

    def _not_of_cells(self, site: str) -> str:
        return (
            f"site {site!r} has one row for each gene of a cell; read it with token_activations, or choose "
            f"one of: {', '.join(self.cell_sites)}"
        )

    def prepare(self, cells: CellsLike) -> TokenLists:
        """Return the tokens of `cells`."""
        return self.tokenise(self.align(cells))

    @torch.no_grad()
    def read(
        self, prepared: TokenLists, sites: Sequence[str], kept: Ints | None = None
    ) -> dict[str, torch.Tensor | TokenRows]:
        """Return the activations at sites of both kinds in one pass, in batches of cells of like length.

        With `kept`, the gene of each token or -1, rows are returned of those genes alone (all tokens of a gene alike).
        """
        names = [self.site(name).name for name in sites]
        of_cells = [name for name in names if name in self.cell_sites]
        of_tokens = [name for name in names if name not in self.cell_sites]
        cells = {name: torch.empty(len(prepared), self.sites[name].width) for name in of_cells}
        parts: dict[str, list[TokenRows]] = {name: [] for name in of_tokens}
        points = {self.cell_sites[name].point for name in of_cells} | set(of_tokens)
        fewer = None if kept is None else replace(prepared, gene=kept, value=None)
        for chosen in batches_by_length(prepared.lengths, self.batch_tokens):
            batch = prepared.padded(chosen, self.pad_id, self.pad_value).to(self.device)
            seen, _ = run(self.net, partial(self.forward, batch), self.points, points)
            read = batch if fewer is None else batch._replace(gene=fewer.padded(chosen, 0).gene.to(self.device))
            for name in of_cells:
                pooled = self.cell_sites[name].pool(seen[self.cell_sites[name].point], batch)
                cells[name][torch.from_numpy(chosen)] = pooled.float().cpu()
            for name in of_tokens:
                rows = self.rows(seen[name], read)
                parts[name].append(TokenRows(rows.values.float().cpu(), rows.cell, rows.gene))
        tokens = {name: _in_order(parts[name], self.sites[name].width) for name in of_tokens}
        return {name: cells[name] if name in cells else tokens[name] for name in names}

    @torch.no_grad()
    def with_edits(
        self, cells: Cells, edits: Mapping[str, RowEdit], sites: Sequence[str] = ()
    ) -> tuple[dict[str, torch.Tensor], list[tuple[Padded, Any]]]:
        """Run `cells` with the rows at token sites replaced; return cell sites, and the network's output by batch.

        Parameters
        ----------
        cells
            At most a few thousand.
        edits
            Token site -> what takes the place of its rows, such as a dictionary's reconstruction, or rows moved along
            a direction.
        sites
            Sites with one row for each cell to read behind the edits.
        """
        cells = self.align(cells)
        for name in edits:
            if self.site(name).name not in self.points:
                raise InputError(f"site {name!r} has one row for each cell; write to a token site")
        found = {name: torch.empty(cells.n_cells, self.site(name).width) for name in sites}
        outputs = []
        tokens = self.tokenise(cells)
        for chosen in batches_by_length(tokens.lengths, self.batch_tokens):
            batch = tokens.padded(chosen, self.pad_id, self.pad_value).to(self.device)
            write = {name: self._edit(edit, batch) for name, edit in edits.items()}
            read = {self.cell_sites[name].point for name in sites}
            seen, output = run(self.net, partial(self.forward, batch), self.points, read, write, whole=True)
            for name in sites:
                pooled = self.cell_sites[name].pool(seen[self.cell_sites[name].point], batch)
                found[name][torch.from_numpy(chosen)] = pooled.float().cpu()
            outputs.append((batch, output))
        return found, outputs

    def _edit(self, edit: RowEdit, batch: Padded) -> Edit:
        return lambda hidden: self.put_rows(hidden, batch, edit(self.rows(hidden, batch)))


def mean_of_genes(hidden: torch.Tensor, batch: Padded) -> torch.Tensor:
    """Return the mean of the hidden states at gene tokens, (n, width); 0 for a cell without any."""
    weight = (batch.gene >= 0).to(hidden.dtype)
    weight = weight if batch.there is None else weight * batch.there
    return (hidden * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp_min(1)


def first_token(hidden: torch.Tensor, batch: Padded) -> torch.Tensor:  # noqa: ARG001 (a pool takes both)
    """Return the hidden state at the first token, (n, width)."""
    return hidden[:, 0]


def _in_order(parts: Sequence[TokenRows], width: int) -> TokenRows:
    """Return rows of all batches in the order of the cells; within a cell they stay as they are."""
    if not parts:
        none: Ints = np.empty(0, np.int64)
        return TokenRows(torch.empty(0, width), none, none)
    cell = np.concatenate([part.cell for part in parts])
    order = np.argsort(cell, kind="stable")
    values = torch.cat([part.values for part in parts])[torch.from_numpy(order)]
    return TokenRows(values, cell[order], np.concatenate([part.gene for part in parts])[order])
