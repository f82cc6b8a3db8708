"""scVI (Lopez et al., Nature Methods 2018) as a `CellModel`: its latent mean and the hidden layers on both sides.

Sites: ``z`` (posterior mean), ``encoder.hidden.0`` ... and ``decoder.hidden.0`` ... (after the ReLU; the decoder is
run from the posterior mean). Training is in ``training.py``, the forward passes in ``net.py``, folders in
``files.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from cellglass.cells.cells import Cells, CellsLike
from cellglass.cells.read import as_cells
from cellglass.models.base import Capability, CellModel, LinearFront, Site
from cellglass.models.folder import digest, write_model
from cellglass.models.scvi.covariates import AnyCovariate, Covariate, one_hot, to_json
from cellglass.models.scvi.net import ScviConfig, ScviNet, Tensors
from cellglass.progress import Progress, silent

_AT_ONCE = 1024
"""Cells whose dense counts are held at once."""


class ScviModel(CellModel):
    """A trained scVI model.

    Parameters
    ----------
    cfg : ScviConfig
    tensors : mapping of str to torch.Tensor
        The state dict of scvi-tools' module.
    genes : pandas.DataFrame
        Gene ids in the index and a column ``symbol``, in the order of the network's inputs.
    covariates : sequence of Covariate or Continuous
        The continuous covariates, then the batch and any further categorical ones in the order of ``cfg.categories``.
    dtype : torch.dtype
        What it computes in, and what it returns; float64 is for checking exactness.

    See Also
    --------
    ScviModel.fit, cellglass.models.load
    """

    kind = "scvi"

    def __init__(
        self,
        cfg: ScviConfig,
        tensors: Tensors,
        genes: pd.DataFrame,
        covariates: Sequence[AnyCovariate] = (),
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.cfg = cfg
        self.tensors = dict(tensors)
        self.gene_table = genes
        self.genes = genes.index
        self.covariates = tuple(covariates)
        self.dtype = dtype
        self.sites = sites_of(cfg.n_latent, cfg.n_hidden, cfg.n_layers)

    @classmethod
    def fit(
        cls,
        cells: CellsLike,
        *,
        n_latent: int = 20,
        n_hidden: int = 128,
        n_layers: int = 1,
        epochs: int = 100,
        batch: str | None = None,
        seed: int = 0,
        gene_likelihood: Literal["zinb", "nb", "poisson"] = "zinb",
        device: str = "auto",
        checkpoint: Path | None = None,
        progress: Progress = silent,
        **module: Any,
    ) -> ScviModel:
        """Train scvi-tools' network on raw counts; same cells, settings and seed, same weights, bit for bit.

        Parameters
        ----------
        cells : Cells
            Raw counts; may be memory-mapped, since mini-batches are read row by row.
        n_latent, n_hidden, n_layers : int
            Width of z, width and number of hidden layers of the encoder and of the decoder.
        epochs : int
            Passes over the training cells.
        batch : str, optional
            Column of ``obs`` whose categories the decoder is told.
        seed : int
        gene_likelihood : {"zinb", "nb", "poisson"}
        device : str
            ``"auto"`` takes a GPU where torch has one.
        checkpoint : Path, optional
            A file in which the state of training is kept, so that a killed run goes on from there to the same weights.
        progress : Progress
        **module
            Further options of scvi-tools' VAE: `use_batch_norm`, `use_layer_norm`, `encode_covariates`,
            `deeply_inject_covariates`, `dropout_rate`, `dispersion` ("gene" or "gene-batch").

        Raises
        ------
        InputError
            If there are too few cells, a cell without counts, or a batch column that is missing or has gaps.
        """
        from cellglass.models.scvi.training import fit

        cells = as_cells(cells)
        covariates = (Covariate.of(cells, batch),) if batch is not None else ()
        cfg = ScviConfig(
            n_genes=cells.n_genes,
            n_latent=n_latent,
            n_hidden=n_hidden,
            n_layers=n_layers,
            categories=tuple(c.width for c in covariates) or (0,),
            gene_likelihood=gene_likelihood,
            **module,
        )
        tensors = fit(
            cells, cfg, covariates, epochs=epochs, seed=seed, device=device, checkpoint=checkpoint, progress=progress
        )
        return cls(cfg, tensors, cells.genes[["symbol"]], covariates)

    @classmethod
    def load(cls, folder: Path | str) -> ScviModel:
        """Read what `save` wrote, or what ``SCVI.save`` of scvi-tools did: its folder, or its file of a prefix."""
        from cellglass.models.scvi import files

        return cls(*files.load(Path(folder)))

    def save(self, folder: Path) -> None:
        """Write cfg.json and weights.safetensors (the whole state dict of scvi-tools' module)."""
        from importlib.metadata import version

        versions = {name: version(name) for name in ("cellglass", "scvi-tools", "torch")}
        write_model(Path(folder), self._cfg(), self.tensors, versions)

    def astype(self, dtype: torch.dtype) -> ScviModel:
        """Return the same model computing in another precision."""
        return ScviModel(self.cfg, self.tensors, self.gene_table, self.covariates, dtype)

    def fingerprint(self) -> str:
        """Return a sha256 of configuration and weights, without versions."""
        return digest(self._cfg(), self.tensors)

    # -- reading ---------------------------------------------------------------------------------------------------

    def lacks(self, what: Capability, site: str) -> str | None:
        """Return why the model cannot do `what` at `site`: nothing decodes from the encoder's layers."""
        if what == "decode" and self.site(site).name.startswith("encoder"):
            return f"the scvi model decodes from z or a decoder layer, not from {site!r}"
        return super().lacks(what, site)

    def activations(self, cells: CellsLike, sites: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the activations of `cells` at `sites`; the cells are aligned where they are not."""
        names = [self.site(name).name for name in sites]
        cells = self.align(cells)
        covariates = self._one_hot(cells)
        with torch.no_grad():
            h = self._preactivations(cells, covariates)
            return {name: self._activation(name, h, covariates) for name in names}

    def posterior(self, cells: CellsLike, site: str) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return mean and standard deviation of q(z | counts); None at other sites, which have no distribution."""
        if self.site(site).name != "z":
            return None
        cells = self.align(cells)
        covariates = self._one_hot(cells)
        with torch.no_grad():
            last = self._hidden(self._preactivations(cells, covariates), covariates)
            return self._net.mean(last), self._net.sd(last)

    def decode(
        self, site: str, activations: torch.Tensor, cells: Cells, *, library: float | torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return expected counts: library size times each gene's expected share, of all genes, dense.

        Parameters
        ----------
        site : str
            ``z``, or a hidden layer of the decoder.
        activations : torch.Tensor, shape (n_cells, width)
        cells : Cells
            Carry the covariates and, by their counts, the library sizes.
        library : float or torch.Tensor of shape (n_cells,), optional
            Library size in place of each cell's own total; 1 gives shares that add up to 1.

        Returns
        -------
        torch.Tensor, shape (n_cells, n_genes)
            n_cells x n_genes numbers: decode a few thousand cells at a time.
        """
        x = self._last_of_decoder(site, activations, self._one_hot(cells))
        if library is None:
            library = torch.from_numpy(np.asarray(self.align(cells).counts.sum(axis=1)).ravel())
        sizes = torch.as_tensor(library, dtype=self.dtype)
        return self._net.shares(x) * (sizes[:, None] if sizes.ndim else sizes)

    def reconstruction_loss(self, site: str, activations: torch.Tensor, cells: Cells) -> float:
        """Return the mean over cells of -log p(counts | activations), in nats: the reconstruction term of the ELBO.

        Parameters
        ----------
        site : str
            ``z``, or a hidden layer of the decoder.
        activations : torch.Tensor, shape (n_cells, width)
        cells : Cells
            Their counts are what is explained; dense, 1,024 cells at once.
        """
        cells, total = self.align(cells), 0.0
        with torch.no_grad():
            for start in range(0, cells.n_cells, _AT_ONCE):
                some = cells[start : start + _AT_ONCE]
                covariates = self._one_hot(some)
                x = self._last_of_decoder(site, activations[start : start + _AT_ONCE], covariates)
                counts = torch.from_numpy(some.counts.toarray()).to(self.dtype)
                total += float(self._net.log_likelihood(counts, x, covariates, counts.sum(dim=1)).double())
        return -total / cells.n_cells

    def path_gradient(self, site: str, log_counts: torch.Tensor, cells: Cells) -> torch.Tensor:
        """Return activations at `site` as a differentiable function of dense log1p counts (n_cells, n_genes)."""
        covariates = self._one_hot(cells)
        h = self._net.encoder[0].linear(log_counts.to(self.dtype), covariates)
        return self._activation(self.site(site).name, h, covariates)

    def linear_front(self, site: str) -> LinearFront:
        """Return the split behind the first layer; see `LinearFront`.

        Where layers after the first read covariates, h carries them one-hot behind the first layer's entries.
        """
        name, k = self.site(site).name, self.cfg.n_hidden
        carried = self.cfg.n_covariates if self._reads_covariates_later(name) else 0
        weight = self._net.encoder[0].weight
        if carried:
            weight = torch.cat([weight, weight.new_zeros(carried, weight.shape[1])])

        def front(cells: Cells) -> torch.Tensor:
            covariates = self._one_hot(cells)
            h = self._preactivations(cells, covariates)
            return torch.cat([h, covariates], dim=1) if carried else h

        def rest(h: torch.Tensor, overwrite: bool = False) -> torch.Tensor:
            return self._activation(name, h[:, :k], h[:, k:], overwrite)

        return LinearFront(weight, front, rest, partial(rest, overwrite=True))

    # -- within ----------------------------------------------------------------------------------------------------

    @cached_property
    def _net(self) -> ScviNet:
        return ScviNet(self.cfg, self.tensors, self.dtype)

    @cached_property
    def _columns(self) -> torch.Tensor:
        return self._net.encoder[0].weight.T.contiguous()

    def _cfg(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "layout": 1,
            "network": self.cfg.to_dict(),
            "genes": [str(gene) for gene in self.genes],
            "symbols": [str(symbol) for symbol in self.gene_table["symbol"]],
            "covariates": [to_json(covariate) for covariate in self.covariates],
        }

    def _last_of_decoder(self, site: str, activations: torch.Tensor, covariates: torch.Tensor) -> torch.Tensor:
        """Return the decoder's last hidden layer, given activations at `site`."""
        self.require("decode", site)
        side, _, layer = site.partition(".hidden.")
        decoder, x = self._net.decoder, activations.to(self.dtype)
        for one in decoder if side == "z" else decoder[int(layer) + 1 :]:
            x = one.activate(one.linear(x, covariates))
        return x

    def _one_hot(self, cells: Cells) -> torch.Tensor:
        return one_hot(self.covariates, cells, self.dtype)

    def _preactivations(self, cells: Cells, covariates: torch.Tensor) -> torch.Tensor:
        """Return the first layer's pre-activations from sparse counts: a sum over each cell's counted genes only."""
        counts = cells.counts
        weights = torch.from_numpy(np.asarray(counts.data)).to(self.dtype).log1p()
        genes = torch.from_numpy(np.asarray(counts.indices).astype(np.int64, copy=False))
        starts = torch.from_numpy(np.asarray(counts.indptr[:-1]).astype(np.int64, copy=False))
        h = torch.nn.functional.embedding_bag(genes, self._columns, starts, mode="sum", per_sample_weights=weights)
        return h + self._net.encoder[0].offset(covariates)

    def _hidden(self, h: torch.Tensor, covariates: torch.Tensor, overwrite: bool = False) -> torch.Tensor:
        return self._net.hidden(self._net.encoder, h, covariates, self.cfg.n_layers - 1, overwrite=overwrite)

    def _activation(
        self, name: str, h: torch.Tensor, covariates: torch.Tensor, overwrite: bool = False
    ) -> torch.Tensor:
        net = self._net
        side, _, layer = name.partition(".hidden.")
        if side == "encoder":
            return net.hidden(net.encoder, h, covariates, int(layer), overwrite=overwrite)
        z = net.mean(self._hidden(h, covariates, overwrite))
        if side == "z":
            return z
        h = net.decoder[0].linear(z, covariates)
        return net.hidden(net.decoder, h, covariates, int(layer), overwrite=overwrite)

    def _reads_covariates_later(self, name: str) -> bool:
        if name.startswith("decoder"):
            return True
        depth = self.cfg.n_layers if name == "z" else int(name.rpartition(".")[2]) + 1
        return any(layer.covariates is not None for layer in self._net.encoder[1:depth])


def sites_of(n_latent: int, n_hidden: int, n_layers: int) -> dict[str, Site]:
    """Return the sites of an scVI of this size: z, and the hidden layers of encoder and decoder."""
    sides = [Site(f"{side}.hidden.{i}", n_hidden) for side in ("encoder", "decoder") for i in range(n_layers)]
    return {site.name: site for site in (Site("z", n_latent), *sides)}


fit = ScviModel.fit
load = ScviModel.load
