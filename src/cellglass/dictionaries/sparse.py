"""The base of everything that is trained by gradient: sparse autoencoders of any selection (and, later, transcoders).

    u = (x - centre) / scale                                  inputs, centred and scaled by stored statistics
    p = (u - b) Eᵀ + e                                        pre-activations
    f = relu(select(p))                                       a kind says only how it selects
    x̂ = centre + scale (f D + b)                              rows of D have norm 1, b is the pre-encoder bias

A kind is one file: a config that extends `SparseConfig` and a class that gives `select` (and, where it trains
otherwise, `levels`). How it is trained is in ``train.py``; this file knows nothing of it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import torch
from torch import nn

from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.dictionaries.files import read_config, read_weights, write_dictionary
from cellglass.errors import InputError


@dataclass(frozen=True)
class SparseConfig:
    """What every kind has.

    Attributes
    ----------
    kind : str
        Of the dictionary that it configures; the same for all configs of a class.
    d_in : int
        Width of the site that is read.
    n_latents : int
        Number of latents.
    """

    kind: ClassVar[str]

    d_in: int
    n_latents: int

    def __post_init__(self) -> None:
        for name in ("d_in", "n_latents"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")


C = TypeVar("C", bound=SparseConfig)


class Level(NamedTuple):
    """A prefix of the latents that must reconstruct by itself, and its selection within that prefix."""

    prefix: int
    k: int


class SparseDictionary(nn.Module, Dictionary):
    """Encoder, selection, decoder; see the module's docstring.

    Parameters
    ----------
    config
        The kind's config.
    """

    kind: ClassVar[str]
    config_class: ClassVar[type[SparseConfig]]

    encoder: nn.Parameter
    encoder_bias: nn.Parameter
    decoder: nn.Parameter
    bias: nn.Parameter
    centre: torch.Tensor
    scale: torch.Tensor

    def __init__(self, config: SparseConfig) -> None:
        super().__init__()
        self.config = config
        self.n_latents, self.d_in, self.d_out = config.n_latents, config.d_in, config.d_in
        for name, shape in weight_shapes(config).items():
            if name in ("centre", "scale"):
                self.register_buffer(name, torch.ones(shape) if name == "scale" else torch.zeros(shape))
            else:
                self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    # -- what a kind gives -----------------------------------------------------------------------------------------

    @abstractmethod
    def select(self, pre: torch.Tensor) -> Codes:
        """Return the codes of pre-activations `pre`, (n, n_latents)."""

    @abstractmethod
    def levels(self) -> Sequence[Level]:
        """Return the prefixes that training makes reconstruct; the last holds all latents."""

    # -- in the units of the site ----------------------------------------------------------------------------------

    def encode(self, x: torch.Tensor) -> Codes:
        """Return the codes of activations `x`, float32 (n, d_in)."""
        return self.select(self.preactivations(x))

    def decode(self, codes: Codes) -> torch.Tensor:
        """Return the reconstruction, float32 (n, d_out)."""
        return self.centre + self.scale * (combine(codes, self.decoder) + self.bias)

    def preactivations(self, x: torch.Tensor) -> torch.Tensor:
        """Return p of the module's docstring, float32 (n, n_latents); differentiable in `x`."""
        return self.scaled_preactivations(self.normalise(x))

    @property
    def directions(self) -> torch.Tensor:
        """Decoder rows in the units of the site, float32 (n_latents, d_out): what activation 1 of a latent adds."""
        return (self.decoder * self.scale).detach()

    # -- in scaled units, where training works ---------------------------------------------------------------------

    def normalise(self, x: torch.Tensor) -> torch.Tensor:
        """Return u of the module's docstring."""
        return (x - self.centre) / self.scale

    def scaled_preactivations(self, u: torch.Tensor) -> torch.Tensor:
        """Return p for inputs that are centred and scaled already."""
        return torch.addmm(self.encoder_bias, u - self.bias, self.encoder.T)

    @torch.no_grad()
    def normalise_decoder(self) -> None:
        """Give each decoder row norm 1."""
        self.decoder.div_(self.decoder.norm(dim=1, keepdim=True).clamp_min(1e-12))

    # -- on disk ---------------------------------------------------------------------------------------------------

    def freeze(self) -> Self:
        """Stop collecting gradients of the weights: what is trained or loaded is only read."""
        return self.requires_grad_(False).eval()

    def save(self, folder: Path) -> None:
        """Write ``cfg.json`` and ``weights.safetensors``."""
        write_dictionary(Path(folder), self.kind, asdict(self.config), dict(self.state_dict()))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote."""
        config = parse_config(cls.config_class, read_config(folder)[1], folder)
        dictionary = cls(config)
        dictionary.load_state_dict(read_weights(folder, weight_shapes(config)))
        return dictionary.freeze()


def weight_shapes(config: SparseConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight and stored statistic."""
    m, d = config.n_latents, config.d_in
    return {"encoder": (m, d), "encoder_bias": (m,), "decoder": (m, d), "bias": (d,), "centre": (d,), "scale": ()}


def combine(codes: Codes, decoder: torch.Tensor) -> torch.Tensor:
    """Return f D from sparse codes, (n, d): each row is a weighted sum of k decoder rows.

    Where k is more than a twentieth of the latents a small dense product is faster than gathering rows.
    """
    n, k = codes.indices.shape
    if 20 * k > codes.width:
        dense = codes.values.new_zeros(n, codes.width).scatter_add(1, codes.indices, codes.values)
        return dense @ decoder
    return nn.functional.embedding_bag(codes.indices, decoder, mode="sum", per_sample_weights=codes.values)


def parse_config(kind: type[C], values: dict[str, Any], folder: Path) -> C:
    """Return a config of class `kind`; InputError names fields that are missing or unknown."""
    known = {f.name for f in fields(kind)}
    try:
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return kind(**given)
    except TypeError as error:
        odd = sorted(known.symmetric_difference(values))
        raise InputError(f"{folder / 'cfg.json'}: fields missing or unknown: {', '.join(odd) or error}") from error
