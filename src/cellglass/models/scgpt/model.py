"""scGPT (Cui et al., Nature Methods 2024) as a `CellModel`: its cell embedding, and every layer of every gene token.

A cell is read as published: ``<cls>``, then one token for each gene that it counts and the vocabulary holds, each
beside the bin of its count (``binning.py``). The counts that are binned are raw: quantile bins are those of shares or
logarithms of them too. All of a cell's genes in the vocabulary are binned, and then, where there are more than
``max_length - 1``, those with the highest counts are kept, ties by the order of genes; the published code draws them
at random, so that a cell would be another one in each run; `ScgptModel.sampled` draws them by a seed and the cell's
name. Genes that a cell does not count are no tokens.

The network is in ``net.py``, folders in ``files.py``, training of small models in ``training.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from cellglass.cells.cells import Cells, CellsLike
from cellglass.cells.read import as_cells
from cellglass.errors import InputError
from cellglass.models.base import Capability
from cellglass.models.edits import names_of
from cellglass.models.folder import CFG, digest, read_cfg
from cellglass.models.scgpt import files
from cellglass.models.scgpt.config import ScgptConfig
from cellglass.models.scgpt.genes import GeneMatch, check_known, genes_of, in_order, match_genes
from cellglass.models.scgpt.net import NO_CELL_HEAD, NO_EXPRESSION_HEAD, Output, ScgptNet
from cellglass.models.scgpt.tokens import tokens_of
from cellglass.models.transformer.hooks import Point
from cellglass.models.transformer.lines import Ways
from cellglass.models.transformer.model import CellSite, TransformerModel, first_token
from cellglass.models.transformer.sites import LayerPoints, sites_of, token_points
from cellglass.models.transformer.tokens import Ints, Padded, TokenLists
from cellglass.seeds import lots

logger = logging.getLogger(__name__)

MOST_DECODED = 1 << 15
"""Genes that `ScgptModel.decode` gives at once without being told which."""


class ScgptModel(TransformerModel):
    """An scGPT network with its vocabulary.

    Parameters
    ----------
    net : ScgptNet
        In evaluation mode.
    vocab : mapping of str to int
        Token -> id.
    args : mapping, optional
        The args.json that it was published with, to be written back.
    genes : sequence of str, optional
        The genes that the model reads, in the order of their ids; all of the vocabulary by default. See `for_cells`.
    sample_seed : int, optional
        See `sampled`.

    Notes
    -----
    Sites with one row for each cell are ``cell`` (``<cls>`` after the last layer, divided by its length, as published)
    and ``cell.raw`` (as the network leaves it); those with one row for each gene are listed in
    `cellglass.models.transformer.model`.

    See Also
    --------
    ScgptModel.fit, cellglass.models.load
    """

    kind = "scgpt"
    decoded_unit = "bins"
    screens_by: Literal["gradient", "difference"] = "gradient"

    def __init__(
        self,
        net: ScgptNet,
        vocab: Mapping[str, int],
        args: Mapping[str, Any] | None = None,
        genes: Sequence[str] | None = None,
        sample_seed: int | None = None,
    ) -> None:
        self.sample_seed = sample_seed
        self.net: ScgptNet = net
        self.cfg: ScgptConfig = net.cfg
        self.vocab = dict(vocab)
        self.args = files.args_of(net.cfg) if args is None else dict(args)
        self.narrow = genes is not None
        chosen = genes_of(self.vocab) if genes is None else list(genes)
        self.genes = pd.Index(chosen, dtype=object)
        self.gene_ids: Ints = np.array([self.vocab[gene] for gene in chosen], dtype=np.int64)
        self.pad_id, self.pad_value = self.cfg.pad_id, float(self.cfg.pad_value)
        self.points = _points(self.cfg)
        last = f"layers.{self.cfg.n_layers - 1}.resid"
        self.cell_sites = {"cell": CellSite(last, _unit_cls), "cell.raw": CellSite(last, first_token)}
        self.sites = sites_of(self.points, self.cfg.width, self.cell_sites)
        self._matched: tuple[pd.DataFrame, GeneMatch] | None = None
        self._measured: tuple[Cells, torch.Tensor] | None = None

    @classmethod
    def fit(
        cls,
        cells: CellsLike,
        *,
        layers: int = 4,
        width: int = 128,
        heads: int = 4,
        **training: Any,
    ) -> ScgptModel:
        """Train a small scGPT on raw counts with the published objective.

        See `cellglass.models.scgpt.training.fit_weights`.
        """
        from cellglass.models.scgpt.training import fit_weights

        return cls(*fit_weights(as_cells(cells), layers=layers, width=width, heads=heads, **training))

    @classmethod
    def load(cls, folder: Path | str) -> ScgptModel:
        """Read a published folder, one of its files of weights, or what `save` wrote; see `cellglass.models.load`."""
        given = Path(folder)
        folder = given.parent if given.is_file() else given
        found = files.read(folder, given if given.is_file() else None)
        genes = seed = None
        if (folder / CFG).exists():
            cfg = read_cfg(folder, cls.kind)
            genes, seed = cfg.get("genes"), cfg.get("sample_seed")
            unknown = [gene for gene in genes or () if gene not in found.vocab]
            if unknown:
                raise InputError(f"{folder / CFG}: {unknown[0]!r} is not in vocab.json; save the model again")
        return cls(found.net, found.vocab, found.args, genes, seed)

    def save(self, folder: Path) -> None:
        """Write the published layout (args.json, vocab.json, best_model.pt) and cfg.json, which cellglass reads."""
        from importlib.metadata import version

        written_by = {name: version(name) for name in ("cellglass", "torch")}
        cfg = {**self._cfg(), "written_by": written_by}
        files.write(Path(folder), self.args, self.vocab, self.net.state_dict(), cfg)

    def fingerprint(self) -> str:
        """Return a sha256 of architecture, vocabulary, genes and weights, without versions."""
        cfg = {**self._cfg(), "network": self.cfg.to_dict(), "vocab": list(self.vocab)}
        return digest(cfg, self.net.state_dict())

    def _cfg(self) -> dict[str, Any]:
        cfg = {"kind": self.kind, "layout": 1, "genes": list(self.genes) if self.narrow else None}
        return cfg if self.sample_seed is None else {**cfg, "sample_seed": self.sample_seed}

    # -- genes -------------------------------------------------------------------------------------------------------

    def match(self, cells: Cells) -> GeneMatch:
        """Say which of the model's genes each gene of `cells` is, and how many are unknown; see `match_genes`."""
        return match_genes(cells, self.genes)

    def align(self, cells: CellsLike) -> Cells:
        """Return `cells` with this model's genes, sparse as they were; genes that the cells lack count 0.

        `coverage` keeps how many genes were found, missing and unknown, which is logged once for each table of genes.

        Raises
        ------
        InputError
            If none of the genes is in the vocabulary.
        """
        cells = as_cells(cells)
        if self.is_aligned(cells):
            return cells
        if self._matched is None or self._matched[0] is not cells.genes:
            found = self.match(cells)
            self._matched = (cells.genes, found)
            logger.info("%s: of the scgpt model's genes %d found, %d missing; %d genes of the cells unknown",
                        cells.source, *found.coverage)  # fmt: skip
        found = self._matched[1]
        self.coverage = found.coverage
        return in_order(cells, found, self._gene_table)

    def for_cells(self, cells: CellsLike) -> ScgptModel:
        """Return the same network reading only those of its genes that `cells` hold, in the order of their ids.

        Activations of such cells are the same. A vocabulary holds 60,000 genes; attribution, decoding and tables of
        genes are as wide as the model's genes, so narrow a published model to the cells first.

        Raises
        ------
        InputError
            If none of the genes is in the vocabulary.
        """
        cells = as_cells(cells)
        found = self.match(cells)
        check_known(cells, found)
        held = np.unique(found.target[found.target >= 0])
        if len(held) == len(self.genes):
            return self
        narrow = ScgptModel(self.net, self.vocab, self.args, [str(gene) for gene in self.genes[held]], self.sample_seed)
        narrow.batch_tokens = self.batch_tokens
        return narrow

    def sampled(self, seed: int) -> ScgptModel:
        """Return the same network, which of a cell with too many genes reads some that are drawn, as published.

        Which ones depends on `seed`, the cell's name and the genes; a changed cell is drawn for as the cell that it
        was. By default the genes with the highest counts are read.
        """
        genes = [str(gene) for gene in self.genes] if self.narrow else None
        drawn = ScgptModel(self.net, self.vocab, self.args, genes, seed)
        drawn.batch_tokens = self.batch_tokens
        return drawn

    @cached_property
    def _gene_table(self) -> pd.DataFrame:
        return pd.DataFrame({"symbol": self.genes}, index=self.genes)

    # -- reading -----------------------------------------------------------------------------------------------------

    def tokenise(self, cells: Cells) -> TokenLists:
        """Return the tokens of aligned `cells`: ``<cls>``, then the genes that a cell counts, in the order of genes."""
        return tokens_of(
            cells.counts,
            self.gene_ids,
            self.vocab[files.CLS],
            n_bins=self.cfg.n_bins,
            cls_value=self.pad_value,
            max_length=self.cfg.max_length,
            lot=self._lots(cells),
        )

    def _lots(self, cells: Cells) -> Any:
        if self.sample_seed is None:
            return None
        cell = np.repeat(np.arange(cells.n_cells), np.diff(cells.counts.indptr))
        return lots(self.sample_seed, "scgpt genes", names_of(cells), cell, self.gene_ids[cells.counts.indices])

    def forward(self, batch: Padded) -> Output:
        """Run the network on a batch."""
        assert batch.value is not None, "tokenise gives every token a value"  # noqa: S101
        output: Output = self.net(batch.ids, batch.value, batch.mask)
        return output

    def weighted(self, ways: Ways, u: torch.Tensor) -> Output:
        """Run the network on the tokens of pairs; see `TransformerModel.weighted`."""
        assert ways.batch.value is not None, "tokenise gives every token a value"  # noqa: S101
        output: Output = self.net(ways.batch.ids, ways.batch.value, ways.logits(u))
        return output

    def lacks(self, what: Capability, site: str) -> str | None:
        """Return why the model cannot do `what` at `site`: its heads read the raw embedding and the last layer."""
        if what == "decode" and self.site(site).name != self._last_layer:
            if site not in self.cell_sites:
                return f"the scgpt model decodes from cell, cell.raw or {self._last_layer}, not from {site!r}"
            return None if self.net.cfg.mvc else NO_CELL_HEAD
        if what == "decode" and not self.net.cfg.expression:
            return NO_EXPRESSION_HEAD
        return super().lacks(what, site)

    @property
    def _last_layer(self) -> str:
        return f"layers.{self.cfg.n_layers - 1}.resid"

    def decode(
        self,
        site: str,
        activations: torch.Tensor,
        cells: Cells,
        *,
        genes: Sequence[int] | Ints | None = None,
    ) -> torch.Tensor:
        """Return the values, in bins 1 ... n_bins - 1, that the model's own heads expect; no counts.

        Parameters
        ----------
        site : str
            ``cell.raw``: the cell head (``mvc_decoder``) gives the value of every gene in every cell, were it counted
            there. ``cell``: the same, each row stretched to the length that the cell's ``cell.raw`` has. The last
            layer's ``resid``: the expression head (``decoder``) gives the value of each row's gene.
        activations : torch.Tensor, (n, width)
            At the last layer one row a token, else one a cell.
        cells : Cells
            Read for ``cell`` alone: their lengths, one pass of the network, which the same cells share.
        genes : sequence of int, optional
            Positions among the model's genes, for a cell's site; all by default, of at most 32,768.

        Returns
        -------
        torch.Tensor, float32
            (n_tokens,) for the last layer, else (n_cells, n_genes).

        Raises
        ------
        InputError
            At every other site, without the head, or for more genes than can be held for many cells.
        """
        self.require("decode", site)
        x = activations.to(self.device, next(self.net.parameters()).dtype)
        if site == self._last_layer:
            with torch.no_grad():
                values: torch.Tensor = self.net.decoder(x)
            return values.float().cpu()
        if genes is None and len(self.genes) > MOST_DECODED:
            raise InputError(
                f"decoding all {len(self.genes)} genes of the vocabulary would be a dense table; name genes, or narrow "
                "the model to your cells first (model.for_cells(cells))"
            )
        if site == "cell":
            x = x * self._lengths(cells).to(x)
        chosen = self.gene_ids if genes is None else self.gene_ids[np.asarray(genes, dtype=np.int64)]
        with torch.no_grad():
            return self.net.from_cell(x, torch.from_numpy(chosen).to(self.device)).float().cpu()

    def _lengths(self, cells: Cells) -> torch.Tensor:
        """Return the length of each cell's raw embedding, (n_cells, 1)."""
        if self._measured is None or self._measured[0] is not cells:
            raw = self.activations(cells, ["cell.raw"])["cell.raw"]
            self._measured = (cells, raw.norm(dim=1, keepdim=True))
        return self._measured[1]


def _unit_cls(hidden: torch.Tensor, batch: Padded) -> torch.Tensor:
    return functional.normalize(first_token(hidden, batch), dim=1)


def _points(cfg: ScgptConfig) -> dict[str, Point]:
    """Return the token sites in the order of the forward pass."""
    layers = []
    for i in range(cfg.n_layers):
        module = f"transformer_encoder.layers.{i}"
        mlp = Point(f"{module}.linear1", "in"), Point(f"{module}.linear2", "out")
        attention = Point(f"{module}.self_attn", "out")
        layers.append(LayerPoints(f"{module}.self_attn.out_proj", attention, *mlp, Point(module, "out")))
    first = Point("transformer_encoder.layers.0", "in")
    return token_points(first, layers, cfg.n_heads, cfg.width // cfg.n_heads)


fit = ScgptModel.fit
load = ScgptModel.load
