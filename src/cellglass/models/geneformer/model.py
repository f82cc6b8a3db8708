"""Geneformer (Theodoris et al., Nature 2023; V2: Chen et al. 2024) as a `CellModel`, over transformers' BERT.

A cell is the list of its genes by falling count / median (see ``ranking``), one token a gene, cut at the model's
length: 2,048 in V1; in V2 4,096 with ``<cls>`` first and ``<eos>`` last. A V1 cell without any count in the model's
genes is one ``<pad>``.

Sites with one row for each cell, as the published embedding extractor makes them (its ``emb_layer=-1`` takes
``hidden_states[layers - 1]``, which is what the layer before the last one gives, and its mean leaves out padding,
``<cls>`` and ``<eos>``):

    cell         mean over the gene tokens of the second-to-last layer; 0 for a cell without gene tokens
    cell.last    the same of the last layer (``emb_layer=0``)
    cls          V2: the state of <cls> behind the second-to-last layer
    cls.last     V2: the same behind the last layer

Sites with one row for each gene of a cell are those of ``transformer``. BERT normalises behind the sum: ``attn.out``
and ``mlp.out`` are what is added to the residual stream before the normalisation, ``mlp.in`` is normalised.

Folders are in ``files.py``, fitting in ``training.py``.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from cellglass.cells.cells import Cells, CellsLike
from cellglass.cells.gene_ids import clean_ids
from cellglass.cells.genes import GeneMap, align_genes
from cellglass.cells.read import as_cells
from cellglass.errors import InputError
from cellglass.models.base import Capability, TokenRows
from cellglass.models.coverage import GeneCoverage
from cellglass.models.folder import digest
from cellglass.models.geneformer import files
from cellglass.models.geneformer.files import Dictionaries, GeneformerConfig
from cellglass.models.geneformer.training import fit_weights
from cellglass.models.transformer.hooks import Point
from cellglass.models.transformer.lines import Ways
from cellglass.models.transformer.model import CellSite, TransformerModel, first_token, mean_of_genes
from cellglass.models.transformer.rank_values import rank_tokens
from cellglass.models.transformer.sites import LayerPoints, sites_of, token_points
from cellglass.models.transformer.tokens import Ints, Padded, TokenLists
from cellglass.progress import Progress, silent

log = logging.getLogger(__name__)

NO_HEAD = "this Geneformer has no masked-gene head (a fine-tuned or bare encoder), so it predicts no genes"


class GeneformerModel(TransformerModel):
    """A trained Geneformer.

    Parameters
    ----------
    cfg : GeneformerConfig
    tensors : mapping of str to torch.Tensor
        The weights by transformers' names, those that are tied to others left out.
    dictionaries : Dictionaries
        Tokens, medians and, where published, gene names and collapsed Ensembl ids.

    Attributes
    ----------
    genes : pandas.Index
        The ids of the token dictionary that have a median, in the order of their tokens: Ensembl ids, or for a fitted
        model those of the cells.

    See Also
    --------
    GeneformerModel.load, GeneformerModel.fit
    """

    kind = files.KIND

    def __init__(self, cfg: GeneformerConfig, tensors: Mapping[str, torch.Tensor], dictionaries: Dictionaries) -> None:
        self.cfg = cfg
        with torch.random.fork_rng(devices=[]):  # the fresh weights that are replaced at once
            net = cfg.new_net()
        files.put_weights(net, tensors)
        self.net = net.eval().requires_grad_(False)
        self.pad_id = dictionaries.tokens["<pad>"]
        self._take(dictionaries)
        self.points = points_of(cfg)
        self.cell_sites = cell_sites_of(cfg, dictionaries.special)
        self.sites = sites_of(self.points, cfg.hidden_size, self.cell_sites)

    def _take(self, dictionaries: Dictionaries) -> None:
        """Read the genes that have a token and a median."""
        tokens = dictionaries.tokens
        genes = sorted((gene for gene in tokens if gene in dictionaries.medians), key=tokens.__getitem__)
        self.dictionaries = dictionaries
        self.genes = pd.Index(genes, dtype=object)
        self._token = np.array([tokens[gene] for gene in genes], dtype=np.int64)
        self._medians = np.array([dictionaries.medians[gene] for gene in genes])
        self._symbol = {gene: name for name, gene in reversed(list(dictionaries.names.items()))}
        self._aligned: tuple[pd.DataFrame, GeneMap, GeneCoverage] | None = None

    @classmethod
    def load(cls, folder: Path | str, dictionaries: Dictionaries | Path | str | None = None) -> GeneformerModel:
        """Read a model that `save` wrote, or a published folder.

        Parameters
        ----------
        folder : Path or str
            With config.json and model.safetensors or pytorch_model.bin.
        dictionaries : Dictionaries, Path or str, optional
            The dictionaries or the folder that holds them, where they are neither in `folder` nor where the published
            repository keeps them; see `cellglass.models.geneformer.files.load`, which says too what is refused.
        """
        given = Path(dictionaries) if isinstance(dictionaries, str) else dictionaries
        return cls(*files.load(Path(folder), given))

    @classmethod
    def fit(
        cls,
        cells: CellsLike,
        *,
        layers: int = 4,
        width: int = 128,
        heads: int = 4,
        epochs: int | None = None,
        tokens: int = 128,
        special: bool = False,
        seed: int = 0,
        checkpoint: Path | None = None,
        progress: Progress = silent,
    ) -> GeneformerModel:
        """Train a small Geneformer on `cells`; see `cellglass.models.geneformer.training.fit_weights`."""
        return cls(
            *fit_weights(
                as_cells(cells),
                layers=layers,
                width=width,
                heads=heads,
                epochs=epochs,
                tokens=tokens,
                special=special,
                seed=seed,
                checkpoint=checkpoint,
                progress=progress,
            )
        )

    def save(self, folder: Path) -> None:
        """Write the published layout (config.json, model.safetensors), the dictionaries as JSON, and cfg.json."""
        files.write(Path(folder), self.cfg, files.weights_of(self.net), self.dictionaries)

    def fingerprint(self) -> str:
        """Return a sha256 of architecture, dictionaries and weights, without versions."""
        held = {"kind": self.kind, "config": self.cfg.to_json(), **self.dictionaries.to_json()}
        return digest(held, files.weights_of(self.net))

    # -- cells -------------------------------------------------------------------------------------------------------

    def align(self, cells: CellsLike) -> Cells:
        """Return `cells` with this model's genes in its order, sparse; genes that the cells lack get count 0.

        A gene goes to the token of its (cleaned) id or, in V2, of the id that this one was collapsed into. A token to
        which none came that way takes the gene whose Ensembl id (where the file told it beside symbols), else whose
        name, is that token's. Several that go to one are summed. `coverage` keeps the numbers,
        which are logged once for each table of genes.

        Raises
        ------
        InputError
            If no gene is found.
        """
        cells = as_cells(cells)
        if self.is_aligned(cells):
            return cells
        if self._aligned is None or self._aligned[0] is not cells.genes:
            self._aligned = (cells.genes, *self._map(cells))
            log.info("%s: of the geneformer model's genes %d found, %d missing; %d genes of the cells unknown",
                     cells.source, *self._aligned[2])  # fmt: skip
        _, found, self.coverage = self._aligned
        return Cells(found.apply(cells.counts), found.genes, cells.obs, cells.obsm, cells.source)

    def for_cells(self, cells: CellsLike) -> GeneformerModel:
        """Return the same network reading only those of its genes that `cells` hold, in its order.

        Activations of such cells are the same. A published model has 20,000 genes and more, and attribution and tables
        of genes are as wide as the model's genes.

        Raises
        ------
        InputError
            If no gene is found.
        """
        target = self._map(cells)[0].target
        held = self.genes[np.unique(target[target >= 0])]
        if len(held) == len(self.genes):
            return self
        medians = {gene: self.dictionaries.medians[gene] for gene in held}
        narrow = copy.copy(self)
        narrow._take(replace(self.dictionaries, medians=medians))
        return narrow

    def _map(self, cells: Cells) -> tuple[GeneMap, GeneCoverage]:
        table = cells.genes
        target = self._positions(table.index, by_name=False)
        for column, by_name in (("ensembl", False), (None, True), ("symbol", True)):
            if column is None or column in table:
                other = self._positions(table.index if column is None else table[column], by_name=by_name)
                other[np.isin(other, target)] = -1
                target = np.where(target < 0, other, target)
        known = np.flatnonzero(target >= 0)[::-1]
        if not len(known):
            align_genes(cells, self.genes)  # says how the two differ
        symbols = np.array([self._symbol.get(gene, gene) for gene in self.genes], dtype=object)
        symbols[target[known]] = cells.symbols[known]
        found = len(np.unique(target[known]))
        coverage = GeneCoverage(found, len(self.genes) - found, cells.n_genes - len(known))
        return GeneMap(target, pd.DataFrame({"symbol": symbols}, index=self.genes)), coverage

    def _positions(self, ids: Iterable[Any], *, by_name: bool) -> Ints:
        """Return where each id stands among the model's genes, by itself or by collapsing, or by its name; else -1."""
        names, mapping = self.dictionaries.names if by_name else {}, self.dictionaries.mapping
        cleaned = clean_ids(ids)
        found = self.genes.get_indexer(pd.Index(cleaned, dtype=object)).astype(np.int64)
        lost = np.flatnonzero(found < 0)
        other = [names.get(gene, gene) for gene in cleaned[lost]]
        other = [mapping.get(gene.upper(), gene) for gene in other]
        found[lost] = self.genes.get_indexer(pd.Index(other, dtype=object))
        return found

    def tokenise(self, cells: Cells) -> TokenLists:
        """Return the rank-value encoding of aligned `cells`."""
        tokens = self.dictionaries.tokens
        frame = (tokens["<cls>"], tokens["<eos>"]) if self.dictionaries.special else None
        most = self.cfg.max_position_embeddings
        return rank_tokens(cells.counts, self._medians, self._token, most, pad=self.pad_id, frame=frame)

    def forward(self, batch: Padded) -> torch.Tensor:
        """Return the hidden states behind the last layer, (n, t, width); `head` makes logits of them."""
        bert = self.net.get_submodule("bert")
        hidden: torch.Tensor = bert(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
        return hidden

    def weighted(self, ways: Ways, u: torch.Tensor) -> torch.Tensor:
        """Run the network on the tokens of pairs; see `TransformerModel.weighted`."""
        mask = ways.logits(u)[:, None, None, :]
        none = torch.zeros_like(ways.batch.ids)  # two cells may hold more genes than there are places
        bert = self.net.get_submodule("bert")
        hidden: torch.Tensor = bert(input_ids=ways.batch.ids, position_ids=none, attention_mask=mask).last_hidden_state
        return hidden

    # -- the masked-gene head ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def head(self, hidden: torch.Tensor, genes: Sequence[int] | Ints | None = None) -> torch.Tensor:
        """Return the logit of each gene at given hidden states of the last layer.

        Parameters
        ----------
        hidden : torch.Tensor, shape (..., width)
            As at the site ``layers.LAST.resid``.
        genes : sequence of int, optional
            Positions in the model's order; all by default.

        Returns
        -------
        torch.Tensor, float32, shape (..., number of genes)
            Special tokens have no column; a softmax over all genes gives the probabilities of genes at a position.
        """
        if not files.has_head(self.net.state_dict()):
            raise InputError(NO_HEAD)
        head: Any = self.net.get_submodule("cls.predictions")
        token = torch.from_numpy(self._token if genes is None else self._token[np.asarray(genes)]).to(self.device)
        state = head.transform(hidden.to(self.device, head.decoder.weight.dtype))
        return torch.nn.functional.linear(state, head.decoder.weight[token], head.decoder.bias[token]).float().cpu()

    def gene_logits(self, cells: Cells, genes: Sequence[int] | Ints | None = None) -> TokenRows:
        """Return the masked-gene head's logits at each gene token of `cells`: which gene the model reads there.

        Nothing is masked: it is the head's view of the whole cell. It holds tokens x genes numbers (with all genes of
        V1, 2,000 tokens make 200 MB), so take few cells, or few `genes`.

        Returns
        -------
        TokenRows
            ``values`` (rows, number of genes); see `head`.
        """
        rows = self.token_activations(cells, [f"layers.{self.cfg.num_hidden_layers - 1}.resid"])
        hidden = next(iter(rows.values()))
        return hidden._replace(values=self.head(hidden.values, genes))

    def lacks(self, what: Capability, site: str) -> str | None:
        """Return why the model cannot do `what`: Geneformer predicts which gene stands at a position, and no counts."""
        if what == "decode":
            return (
                f"the {self.kind} model predicts which gene stands at a place, not counts, so {self.site(site).name!r} "
                "cannot be decoded to expression; gene_logits(cells) gives its predictions"
            )
        return super().lacks(what, site)


def points_of(cfg: GeneformerConfig) -> dict[str, Point]:
    """Return where each token site is in transformers' BERT, in the order of the forward pass."""
    layers = []
    for i in range(cfg.num_hidden_layers):
        layer = f"bert.encoder.layer.{i}"
        heads = f"{layer}.attention.output.dense"
        mlp = Point(f"{layer}.intermediate", "in"), Point(f"{layer}.output.dense", "out")
        layers.append(LayerPoints(heads, Point(heads, "out"), *mlp, Point(layer, "out")))
    heads_of = cfg.num_attention_heads
    return token_points(Point("bert.embeddings", "out"), layers, heads_of, cfg.hidden_size // heads_of)


def cell_sites_of(cfg: GeneformerConfig, special: bool) -> dict[str, CellSite]:
    """Return the sites with one row for each cell; those of ``<cls>`` where there is one."""
    last = cfg.num_hidden_layers - 1
    before = f"layers.{last - 1}.resid" if last else "embed"
    points = {"": before, ".last": f"layers.{last}.resid"}
    found = {f"cell{name}": CellSite(point, mean_of_genes) for name, point in points.items()}
    if special:
        found |= {f"cls{name}": CellSite(point, first_token) for name, point in points.items()}
    return found


fit = GeneformerModel.fit
load = GeneformerModel.load
