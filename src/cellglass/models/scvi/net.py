"""The forward passes of a trained scVI network, frozen: encoder to z, z to decoder, in eval mode.

scvi-tools trains the network (``training.py``); reading it needs no scvi-tools (whose import takes 8 s) and two
things that scvi-tools does not offer: hidden layers, and a first layer split from the rest. In eval mode batch norm
is an affine map, so it is folded into the linear map before it. A layer is then h = W x + b + (a row of C for each
covariate), layer norm if the model has it, and ReLU. The tests hold all outputs against scvi-tools' own module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from cellglass.models.scvi.loss import EPS, log_likelihood

Tensors = Mapping[str, torch.Tensor]

_VARIANCE_FLOOR = 1e-4  # scvi-tools' Encoder adds it to the posterior variance
_BATCH_NORM_EPS = 0.001  # of scvi-tools' FCLayers


@dataclass(frozen=True)
class ScviConfig:
    """Every number of the architecture, by scvi-tools' names.

    Attributes
    ----------
    n_genes, n_latent, n_hidden, n_layers : int
        Widths, and the number of hidden layers of the encoder and of the decoder.
    categories : tuple of int
        Number of categories of the batch and of each further categorical covariate; 0 stands for one that the network
        does not see (only one category).
    continuous : int
        Number of continuous covariates; they enter the first layers alone.
    encode_covariates, deeply_inject_covariates : bool
        Whether covariates enter the encoder, and layers after the first.
    use_batch_norm, use_layer_norm : {"both", "encoder", "decoder", "none"}
    dropout_rate : float
    dispersion, gene_likelihood : str
    use_observed_lib_size : bool
    """

    n_genes: int
    n_latent: int = 20
    n_hidden: int = 128
    n_layers: int = 1
    categories: tuple[int, ...] = (0,)
    continuous: int = 0
    encode_covariates: bool = False
    deeply_inject_covariates: bool = True
    use_batch_norm: str = "both"
    use_layer_norm: str = "none"
    dropout_rate: float = 0.1
    dispersion: str = "gene"
    gene_likelihood: str = "zinb"
    use_observed_lib_size: bool = True

    @property
    def n_covariates(self) -> int:
        """Width of all covariates: the continuous ones, and the others one-hot."""
        return self.continuous + sum(self.categories)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON can hold it."""
        return {**asdict(self), "categories": list(self.categories)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ScviConfig:
        """Return the configuration that `to_dict` wrote."""
        return cls(**{**values, "categories": tuple(values["categories"])})


@dataclass(frozen=True)
class Layer:
    """One hidden layer with its batch norm folded in: ReLU(norm(W x + C c + b)), c the covariates.

    Continuous covariates are the first entries of c; in layers behind the first their rows of C are 0.
    """

    weight: torch.Tensor  # (n_hidden, n_in)
    covariates: torch.Tensor | None  # (n_covariates, n_hidden), None where the layer does not see them
    bias: torch.Tensor  # (n_hidden,)
    layer_norm: bool

    def linear(self, x: torch.Tensor, covariates: torch.Tensor) -> torch.Tensor:
        """Return the pre-activation, (n, n_hidden)."""
        return torch.addmm(self.offset(covariates), x, self.weight.T)

    def offset(self, covariates: torch.Tensor) -> torch.Tensor:
        """Return what does not depend on x: (n, n_hidden), or (n_hidden,) without covariates."""
        return self.bias if self.covariates is None else torch.addmm(self.bias, covariates, self.covariates)

    def activate(self, h: torch.Tensor, *, overwrite: bool = False) -> torch.Tensor:
        """Return the activation of a pre-activation, which may be overwritten where asked."""
        if self.layer_norm:
            h = torch.nn.functional.layer_norm(h, h.shape[-1:])
        return torch.relu_(h) if overwrite else torch.relu(h)


class ScviNet:
    """The frozen network. All methods are differentiable in their first argument.

    Parameters
    ----------
    cfg : ScviConfig
    tensors : mapping of str to torch.Tensor
        The state dict of scvi-tools' module.
    dtype : torch.dtype
    """

    def __init__(self, cfg: ScviConfig, tensors: Tensors, dtype: torch.dtype = torch.float32) -> None:
        self.cfg, self.dtype = cfg, dtype
        self.encoder = _layers(cfg, tensors, "z_encoder.encoder", cfg.encode_covariates, "encoder", dtype)
        self.decoder = _layers(cfg, tensors, "decoder.px_decoder", True, "decoder", dtype)
        self._mean = _linear(tensors, "z_encoder.mean_encoder", dtype)
        self._variance = _linear(tensors, "z_encoder.var_encoder", dtype)
        self._scale = _linear(tensors, "decoder.px_scale_decoder.0", dtype)
        self._tensors = tensors

    def hidden(
        self,
        layers: Sequence[Layer],
        h: torch.Tensor,
        covariates: torch.Tensor,
        last: int,
        *,
        overwrite: bool = False,
    ) -> torch.Tensor:
        """Return the activation of layer `last`, given the pre-activation `h` of ``layers[0]``."""
        x = layers[0].activate(h, overwrite=overwrite)
        for layer in layers[1 : last + 1]:
            x = layer.activate(layer.linear(x, covariates), overwrite=overwrite)
        return x

    def mean(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the posterior mean of z from the encoder's last hidden layer."""
        return torch.nn.functional.linear(hidden, *self._mean)

    def sd(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the posterior standard deviation of z from the encoder's last hidden layer."""
        return (torch.nn.functional.linear(hidden, *self._variance).exp() + _VARIANCE_FLOOR).sqrt()

    def shares(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return each gene's expected share of a cell's counts (scvi-tools' ``px_scale``) from the last layer."""
        return torch.nn.functional.linear(hidden, *self._scale).softmax(dim=-1)

    def log_likelihood(
        self, counts: torch.Tensor, hidden: torch.Tensor, covariates: torch.Tensor, sizes: torch.Tensor
    ) -> torch.Tensor:
        """Return log p(counts | last hidden layer of the decoder), summed over cells and genes, as scvi-tools has it.

        Parameters
        ----------
        counts : (n, n_genes)
        hidden : (n, n_hidden)
        covariates : (n, n_covariates)
            The batch is the first that is not continuous.
        sizes : (n,)
            Library sizes.
        """
        cfg, mu = self.cfg, self.shares(hidden) * sizes[:, None]
        if cfg.gene_likelihood == "poisson":
            likelihood: torch.Tensor = (counts * (mu + EPS).log() - mu - torch.lgamma(counts + 1)).sum()
            return likelihood
        theta = self._tensors["px_r"].to(self.dtype)  # (genes,), or (genes, batches)
        if cfg.dispersion == "gene-batch":
            theta = covariates[:, cfg.continuous : cfg.continuous + cfg.categories[0]] @ theta.T
        theta = theta.exp().expand(len(counts) if theta.ndim == 2 else 1, -1)
        dropout = None
        if cfg.gene_likelihood == "zinb":
            dropout = torch.nn.functional.linear(
                hidden, *_linear(self._tensors, "decoder.px_dropout_decoder", self.dtype)
            )
        return log_likelihood(counts, mu, theta, dropout)


def _linear(tensors: Tensors, name: str, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    return tensors[f"{name}.weight"].to(dtype), tensors[f"{name}.bias"].to(dtype)


def _layers(
    cfg: ScviConfig, tensors: Tensors, name: str, covariates: bool, where: str, dtype: torch.dtype
) -> list[Layer]:
    def seen(i: int) -> int:
        if not covariates or (i and not cfg.deeply_inject_covariates):
            return 0
        return sum(cfg.categories) if i else cfg.n_covariates

    return [
        _layer(
            tensors,
            f"{name}.fc_layers.Layer {i}",
            seen(i),
            cfg.n_covariates,
            batch_norm=cfg.use_batch_norm in ("both", where),
            layer_norm=cfg.use_layer_norm in ("both", where),
            dtype=dtype,
        )
        for i in range(cfg.n_layers)
    ]


def _layer(
    tensors: Tensors, name: str, n_seen: int, n_covariates: int, *, batch_norm: bool, layer_norm: bool,
    dtype: torch.dtype,
) -> Layer:  # fmt: skip
    """Return a layer whose last `n_seen` inputs are the last of `n_covariates` covariates."""
    # Folded in float64, so that folding costs no accuracy.
    weight, bias = tensors[f"{name}.0.weight"].double(), tensors[f"{name}.0.bias"].double()
    if batch_norm:
        norm = {
            part: tensors[f"{name}.1.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
        }
        scale = norm["weight"] / (norm["running_var"] + _BATCH_NORM_EPS).sqrt()
        weight, bias = weight * scale[:, None], (bias - norm["running_mean"]) * scale + norm["bias"]
    n_in = weight.shape[1] - n_seen
    unseen = weight.new_zeros(n_covariates - n_seen, len(weight))
    seen = torch.cat([unseen, weight[:, n_in:].T]).contiguous().to(dtype) if n_seen else None
    return Layer(weight[:, :n_in].contiguous().to(dtype), seen, bias.to(dtype), layer_norm)
