"""Cross-layer transcoder: the latents of each layer write to the outputs of that layer and of all later ones.

Lindsey et al. 2024 (sparse crosscoders) and Ameisen et al. 2025 (circuit tracing), both on transformer-circuits.pub.
With the inputs u_l and outputs y_l of L layers side by side in one row,

    f_l = TopK(relu(u_l E_lᵀ + e_l)),        ŷ_l' = b_l' + sum over l <= l' of f_l D_l,l'.

All blocks D_l,l' of one source layer lie side by side in one matrix, so that decoding a layer is one sparse product.
Each layer is centred and scaled by itself; the whole row that a latent writes has norm 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from cellglass.dictionaries.base import Codes
from cellglass.dictionaries.kind import DictionaryKind
from cellglass.dictionaries.sparse import SparseConfig, SparseDictionary, combine, draw, unit
from cellglass.dictionaries.sparse_ops import products
from cellglass.dictionaries.sparse_ops.losses import Losses
from cellglass.dictionaries.sparse_ops.products import Pattern
from cellglass.dictionaries.sparse_ops.selection import Chosen, LargestOfRow, Rule, keep, to_codes
from cellglass.errors import InputError
from cellglass.seeds import derive


@dataclass(frozen=True)
class CrossLayerConfig(SparseConfig):
    """A cross-layer transcoder; `d_in`, `d_out` and `n_latents` count all layers together, `k` one layer.

    Attributes
    ----------
    n_layers : int
        L.
    """

    kind: ClassVar[str] = "crosslayer"

    n_layers: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.d_out is None:
            raise InputError("a cross-layer transcoder writes another site than it reads; give d_out")
        if self.skip:
            raise InputError("a cross-layer transcoder has no skip connection; leave skip out")
        if self.n_layers < 1:
            raise InputError(f"n_layers is {self.n_layers}; it must be at least 1")
        for name in ("d_in", "d_out", "n_latents"):
            if getattr(self, name) % self.n_layers:
                raise InputError(f"{name} is {getattr(self, name)}; it must be a multiple of {self.n_layers} layers")
        if self.k > self.n_latents // self.n_layers:
            raise InputError(f"k is {self.k}, but a layer has {self.n_latents // self.n_layers} latents; lower it")


class CrossLayerTranscoder(SparseDictionary):
    """A cross-layer transcoder; `decoder_0` (m, L d) to `decoder_{L-1}` (m, d) hold what each layer's latents write."""

    kind: ClassVar[str] = "crosslayer"
    config_class: ClassVar[type[SparseConfig]] = CrossLayerConfig
    config: CrossLayerConfig

    def __init__(self, config: CrossLayerConfig) -> None:
        super().__init__(config)
        self.n_layers = config.n_layers
        self.per_layer = config.n_latents // config.n_layers
        self.width_in, self.width_out = self.d_in // config.n_layers, self.d_out // config.n_layers

    @classmethod
    def shapes(cls, config: SparseConfig) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight and stored statistic."""
        assert isinstance(config, CrossLayerConfig)  # noqa: S101
        assert config.d_out is not None  # noqa: S101
        layers, width = config.n_layers, config.d_out // config.n_layers
        shapes: dict[str, tuple[int, ...]] = {"encoder": (config.n_latents, config.d_in // layers)}
        shapes |= {"encoder_bias": (config.n_latents,), "bias": (config.d_out,)}
        shapes |= {"centre": (config.d_in,), "scale": (config.d_in,)}
        shapes |= {"centre_out": (config.d_out,), "scale_out": (config.d_out,)}
        for layer in range(layers):
            shapes[f"decoder_{layer}"] = (config.n_latents // layers, (layers - layer) * width)
        return shapes

    def rules(self) -> Sequence[Rule]:
        """Keep the k largest of each layer."""
        m = self.per_layer
        return [LargestOfRow(self.config.k, layer * m, (layer + 1) * m) for layer in range(self.n_layers)]

    def first_rules(self) -> Sequence[Rule]:
        """Choose as ever."""
        return self.rules()

    def written(self, layer: int) -> nn.Parameter:
        """Return what the latents of `layer` write to it and all later layers, (m, (L - layer) d)."""
        rows: nn.Parameter = getattr(self, f"decoder_{layer}")
        return rows

    def _latents(self, layer: int) -> slice:
        return slice(layer * self.per_layer, (layer + 1) * self.per_layer)

    def _inputs(self, u: torch.Tensor, layer: int) -> torch.Tensor:
        return u[:, layer * self.width_in : (layer + 1) * self.width_in]

    # -- reading and writing -----------------------------------------------------------------------------------------

    def scores(self, u: torch.Tensor) -> torch.Tensor:
        """Return the pre-activations of all layers side by side, (n, n_latents)."""
        return torch.cat([self._layer_scores(u, layer) for layer in range(self.n_layers)], dim=1)

    def _layer_scores(self, u: torch.Tensor, layer: int) -> torch.Tensor:
        s = self._latents(layer)
        return torch.addmm(self.encoder_bias[s], self._inputs(u, layer), self.encoder[s].T)

    def score_blocks(self, u: torch.Tensor, rows: int, product: torch.dtype) -> Iterator[torch.Tensor]:
        """Yield the scores of `rows` rows at a time, without gradient."""
        for block in torch.split(u, rows):
            yield self.scores(block)

    def _exactly(self, chosen: Chosen, u: torch.Tensor) -> Chosen:
        return chosen

    def _codes(self, chosen: Sequence[Chosen]) -> Codes:
        parts = [to_codes(found, found.value.relu()) for found in chosen]
        return Codes(torch.cat([p.indices for p in parts], 1), torch.cat([p.values for p in parts], 1), self.n_latents)

    def decode(self, codes: Codes, x: torch.Tensor | None = None) -> torch.Tensor:
        """Return what the codes write to all layers, float32 (n, d_out)."""
        out = self.bias.expand(len(codes.indices), -1)
        for layer in range(self.n_layers):
            place = codes.indices - layer * self.per_layer
            here = (place >= 0) & (place < self.per_layer)
            values = torch.where(here, codes.values, 0.0)
            rows = nn.functional.embedding_bag(
                place.clamp(0, self.per_layer - 1), self.written(layer), mode="sum", per_sample_weights=values
            )
            out = out + self._onward(rows, layer)
        return self.centre_out + self.scale_out * out

    def encode_layer(self, x: torch.Tensor, layer: int) -> Codes:
        """Return the codes of one layer's input `x`, float32 (n, width_in); latents count within the layer."""
        own = slice(layer * self.width_in, (layer + 1) * self.width_in)
        u = (x - self.centre[own]) / self.scale[own]
        s = self._latents(layer)
        pre = torch.addmm(self.encoder_bias[s], u, self.encoder[s].T)  # (n, m)
        value, latent = pre.topk(self.config.k, dim=1)
        return Codes(latent, value.relu(), self.per_layer)

    def decode_layer(self, codes: Codes, layer: int) -> torch.Tensor:
        """Return what the codes of one layer add to it and all later ones, float32 (n, (L - layer) width_out)."""
        scale = self.scale_out[layer * self.width_out :]
        return scale * combine(codes, self.written(layer))

    def rest(self, layer: int) -> torch.Tensor:
        """Return what a layer's output is where no latent is active, float32 (width_out,)."""
        own = slice(layer * self.width_out, (layer + 1) * self.width_out)
        return self.centre_out[own] + self.scale_out[own] * self.bias[own]

    @property
    def directions(self) -> torch.Tensor:
        """What activation 1 of a latent adds to all layers, 0 before its own, float32 (n_latents, d_out)."""
        rows = [self._onward(self.written(layer), layer) for layer in range(self.n_layers)]
        return (torch.cat(rows) * self.scale_out).detach()

    def _onward(self, rows: torch.Tensor, layer: int) -> torch.Tensor:
        """Return `rows`, which begin at `layer`, with zeros for the layers before it."""
        return nn.functional.pad(rows, (layer * self.width_out, 0))

    # -- training ----------------------------------------------------------------------------------------------------

    def training_loss(self, u: torch.Tensor, target: torch.Tensor, chosen: Sequence[Chosen]) -> Losses:
        """Return the mean squared error over all layers."""
        joined = _join(chosen, self.n_latents)
        f = self.respond(u, joined).relu()
        out = self.explain(joined.pattern, f) + self.bias
        error = nn.functional.mse_loss(out, target)
        return Losses(error, None, (out - target).detach(), joined.pattern, f.detach())

    def _by_layer(self, pattern: Pattern) -> Iterator[tuple[int, torch.Tensor, Pattern]]:
        """Yield each layer, the mask of its entries, and its pattern among its own latents."""
        layer_of = pattern.latent // self.per_layer  # (entries,)
        for layer in range(self.n_layers):
            mask = layer_of == layer  # (entries,)
            own = keep(Chosen(pattern, pattern.latent), mask).pattern
            yield layer, mask, Pattern(own.start, own.latent - layer * self.per_layer, self.per_layer)

    def respond(self, u: torch.Tensor, chosen: Chosen) -> torch.Tensor:
        """Return the pre-activations at the chosen entries with their gradient, (entries,)."""
        found = torch.zeros_like(chosen.value)
        for layer, mask, pattern in self._by_layer(chosen.pattern):
            s = self._latents(layer)
            inputs = self._inputs(u, layer).contiguous()
            value = products.encode(pattern, chosen.value[mask], inputs, self.encoder[s], self.encoder_bias[s])
            found = found.masked_scatter(mask, value)
        return found

    def explain(self, pattern: Pattern, f: torch.Tensor) -> torch.Tensor:
        """Return what activations write to all layers in scaled units with its gradient, (n, d_out)."""
        out = f.new_zeros(pattern.n_rows, self.d_out)
        for layer, mask, own in self._by_layer(pattern):
            out = out + self._onward(products.decode(own, f[mask], self.written(layer)), layer)
        return out

    def aside(self, pattern: Pattern, f: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of what activations write, without bias, against `target`."""
        return nn.functional.mse_loss(self.explain(pattern, f), target)

    @torch.no_grad()
    def draw_weights(self, u: torch.Tensor, target: torch.Tensor, seed: int) -> None:
        """Set the first weights from rows that are drawn for each layer; see `SparseDictionary.draw_weights`."""
        noise = torch.Generator().manual_seed(derive(seed, "first weights"))
        for layer in range(self.n_layers):
            drawn = draw(len(u), self.per_layer, noise)
            self.encoder[self._latents(layer)] = unit(self._inputs(u[drawn], layer))
            self.written(layer).copy_(unit(target[drawn][:, layer * self.width_out :]))
        self.encoder_bias.zero_()
        self.bias.zero_()

    def set_statistics(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Centre every dimension; scale the input and the output of each layer to mean square 1."""
        self.centre.copy_(mean[: self.d_in])
        self.centre_out.copy_(mean[self.d_in :])
        for name, values, width in (
            ("scale", variance[: self.d_in], self.width_in),
            ("scale_out", variance[self.d_in :], self.width_out),
        ):
            root = values.view(self.n_layers, width).mean(1).sqrt().clamp_min(1e-12)
            getattr(self, name).copy_(root.repeat_interleave(width))

    def written_rows(self) -> Sequence[torch.Tensor]:
        """Return what the latents of each layer write."""
        return [self.written(layer) for layer in range(self.n_layers)]


def _join(chosen: Sequence[Chosen], n_latents: int) -> Chosen:
    """Return what rules with equally many entries in each row have chosen together, as one pattern."""
    n = chosen[0].pattern.n_rows
    latent = torch.cat([found.pattern.latent.view(n, -1) for found in chosen], dim=1)  # (n, L k)
    value = torch.cat([found.value.view(n, -1) for found in chosen], dim=1)
    start = torch.arange(0, latent.numel() + 1, latent.shape[1], dtype=torch.int32, device=latent.device)
    return Chosen(Pattern(start, latent.reshape(-1), n_latents), value.reshape(-1))


ENTRY = DictionaryKind(CrossLayerTranscoder, "joint")
