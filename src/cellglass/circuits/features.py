"""What stands in the place of each MLP on one input: active transcoder features, their errors and their constants.

    what the MLP writes = sum over active features of activation x what the feature writes  +  constant  +  error
                          [+ a linear map of what the MLP reads, of a transcoder with a skip connection]

and an active feature's activation is linear in what its MLP reads: p = x . read + read_bias. Which features are active
is frozen; a transcoder of another kind (gated, whose activation is no multiple of one direction) is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from cellglass.circuits.linear_map import Frozen
from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.dictionaries.kinds.crosslayer import CrossLayerTranscoder
from cellglass.dictionaries.registry import KINDS
from cellglass.dictionaries.sparse import SparseDictionary
from cellglass.errors import InputError

Tensor = torch.Tensor

StandIns = Sequence[Dictionary] | CrossLayerTranscoder
"""What stands in the place of a model's MLPs: a transcoder for each layer, or one of all layers."""


@dataclass(frozen=True)
class Features:
    """The features of one layer, m in all, at most k of them active at a token.

    Attributes
    ----------
    latent : torch.Tensor of int64, (t, k)
        Active features of each token. Where a token has fewer, the rest have activation 0.
    value : torch.Tensor, (t, k)
        Their activations.
    read : torch.Tensor, (m, d)
        p = x . read + read_bias, of what the MLP reads.
    read_bias : torch.Tensor, (m,)
    write : mapping of int to torch.Tensor, (m, d)
        Layer -> what activation 1 adds to what its MLP writes: the features' own layer and, of a cross-layer
        transcoder, all later ones.
    """

    latent: Tensor
    value: Tensor
    read: Tensor
    read_bias: Tensor
    write: Mapping[int, Tensor]

    def cut(self, n: int) -> Features:
        """Return the features of the first `n` tokens."""
        return replace(self, latent=self.latent[:n], value=self.value[:n])

    @property
    def n_active(self) -> int:
        """How many are active, over all tokens."""
        return int((self.value > 0).sum())


@dataclass(frozen=True)
class Replacement:
    """What stands in the place of the MLPs.

    Attributes
    ----------
    features : sequence of Features
        Of each layer.
    error : sequence of torch.Tensor, (t, d)
        Of each layer: what the MLP writes and neither features, constants nor a skip connection explain.
    constant : sequence of torch.Tensor, (d,)
        What is written whatever the input is.
    skip : sequence of torch.Tensor, (d, d), or None
        Of each layer: what is written of what is read, x @ skip.
    """

    features: Sequence[Features]
    error: Sequence[Tensor]
    constant: Sequence[Tensor]
    skip: Sequence[Tensor | None]

    def cut(self, n: int) -> Replacement:
        """Return what stands in the place of the MLPs at the first `n` tokens."""
        return replace(self, features=[f.cut(n) for f in self.features], error=[e[:n] for e in self.error])

    def written(self, frozen: Frozen) -> list[Tensor]:
        """Return what all parts together write in each MLP's place, (t, d): what the MLPs do, in other words."""
        found = []
        for layer, error in enumerate(self.error):
            total = error + self.constant[layer]
            for features in self.features[: layer + 1]:
                if layer in features.write:
                    total = total + explained(features, layer)
            skip = self.skip[layer]
            if skip is not None:
                total = total + frozen.mlp_in[layer] @ skip
            found.append(total)
        return found


def explained(features: Features, layer: int) -> Tensor:
    """Return what features write to the MLP of a layer, (t, d)."""
    return torch.einsum("tk,tkd->td", features.value, features.write[layer][features.latent])


@torch.no_grad()
def replace_mlps(frozen: Frozen, transcoders: StandIns) -> Replacement:
    """Return what stands in the place of the MLPs of a frozen transformer.

    Parameters
    ----------
    frozen
        Of n layers.
    transcoders
        One for each layer, or one for all.

    Raises
    ------
    InputError
        Another number of layers, widths that do not fit, or a kind whose activations are not linear.
    """
    if isinstance(transcoders, CrossLayerTranscoder):
        return _crosslayer(frozen, transcoders)
    if len(transcoders) != frozen.n_layers:
        raise InputError(f"there are {len(transcoders)} transcoders, but the model has {frozen.n_layers} layers")
    features, error, constant, skips = [], [], [], []
    for layer, one in enumerate(transcoders):
        x = frozen.mlp_in[layer]
        found = layer_features(transcoders, layer, x)
        assert isinstance(one, SparseDictionary)  # noqa: S101  `layer_features` says so
        base = (one.centre_out + one.scale_out * one.bias).to(x)
        skip = None
        if one.config.skip:
            skip = (one.skip * (one.scale_out / one.scale)).to(x).T
            base = base - one.centre.to(x) @ skip
        rest = frozen.mlp_out[layer] - base - explained(found, layer)
        features.append(found)
        error.append(rest if skip is None else rest - x @ skip)
        constant.append(base)
        skips.append(skip)
    return Replacement(features, error, constant, skips)


@torch.no_grad()
def layer_features(transcoders: StandIns, layer: int, x: Tensor) -> Features:
    """Return the features of one layer at tokens whose MLP reads `x`, (t, d).

    Raises
    ------
    InputError
        Widths that do not fit, or a kind whose activations are not linear.
    """
    if isinstance(transcoders, CrossLayerTranscoder):
        _width(transcoders.width_in, transcoders.width_out, "the cross-layer transcoder", x.shape[1])
        return _crosslayer_features(transcoders, layer, transcoders.encode_layer(x.float(), layer), x)
    one = transcoders[layer]
    _check(one, layer, x.shape[1])
    assert isinstance(one, SparseDictionary)  # noqa: S101  `_check` says so
    read = (one.encoder / one.scale).to(x)
    offset = (one.encoder_bias.to(x) - read @ one.centre.to(x)).to(x)
    return _active(one.encode(x.float()), x, read, offset, {layer: one.directions.to(x)})


def _crosslayer(frozen: Frozen, one: CrossLayerTranscoder) -> Replacement:
    if one.n_layers != frozen.n_layers:
        raise InputError(f"the transcoder is of {one.n_layers} layers, but the model has {frozen.n_layers}")
    _width(one.width_in, one.width_out, "the cross-layer transcoder", frozen.final.shape[1])
    x = torch.cat(list(frozen.mlp_in), dim=1)
    codes = one.encode(x.float())
    m, k, out = one.per_layer, one.config.k, one.width_out
    features: list[Features] = []
    for layer in range(one.n_layers):
        own = Codes(codes.indices[:, layer * k : (layer + 1) * k] - layer * m, codes.values[:, layer * k :][:, :k], m)
        features.append(_crosslayer_features(one, layer, own, frozen.mlp_in[layer]))
    base = torch.split((one.centre_out + one.scale_out * one.bias).to(x), out)
    error = [
        y - base[layer] - torch.stack([explained(f, layer) for f in features[: layer + 1]]).sum(0)
        for layer, y in enumerate(frozen.mlp_out)
    ]
    return Replacement(features, error, list(base), [None] * one.n_layers)


def _crosslayer_features(one: CrossLayerTranscoder, layer: int, codes: Codes, x: Tensor) -> Features:
    m, d, out = one.per_layer, one.width_in, one.width_out
    rows, columns = slice(layer * m, (layer + 1) * m), slice(layer * d, (layer + 1) * d)
    read = (one.encoder[rows] / one.scale[columns]).to(x)
    offset = one.encoder_bias[rows].to(x) - read @ one.centre[columns].to(x)
    write = {
        to: (one.written(layer)[:, (to - layer) * out :][:, :out] * one.scale_out[to * out : (to + 1) * out]).to(x)
        for to in range(layer, one.n_layers)
    }
    return _active(codes, x, read, offset, write)


def _active(codes: Codes, x: Tensor, read: Tensor, offset: Tensor, write: Mapping[int, Tensor]) -> Features:
    """Return the active features; their activations anew, in the precision of the states `x`."""
    latent = codes.indices.to(x.device)
    p = torch.einsum("td,tkd->tk", x, read[latent]) + offset[latent]
    value = torch.where(codes.values.to(x.device) > 0, p.clamp_min(0), 0)
    return Features(latent, value, read, offset, write)


def _check(one: Dictionary, layer: int, width: int) -> None:
    entry = KINDS.find(one.kind, "a transcoder")
    if entry.selection not in ("topk", "threshold") or not isinstance(one, SparseDictionary):
        raise InputError(
            f"the transcoder of layer {layer} is of kind {one.kind!r}, whose activations are not linear once its "
            "active latents are known; train one of kind topk, batchtopk or jumprelu"
        )
    if not one.is_transcoder:
        raise InputError(f"the dictionary of layer {layer} writes the site that it reads; circuits take transcoders")
    _width(one.d_in, one.d_out, f"the transcoder of layer {layer}", width)


def _width(reads: int, writes: int, what: str, d: int) -> None:
    if (reads, writes) != (d, d):
        raise InputError(f"{what} reads width {reads} and writes {writes}, but the model's residual stream has {d}")
