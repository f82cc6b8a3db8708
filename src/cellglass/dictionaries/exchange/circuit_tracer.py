"""circuit-tracer's folders: ``config.yaml`` beside one safetensors file (or two) for each layer of the model.

Transcoders, one for each layer:

    layer_L.safetensors     p = x W_encᵀ + b_enc,  ŷ = f W_dec + b_dec [+ x W_skipᵀ]
                            with f = relu(p), or p where p > threshold

A cross-layer transcoder, whose latents of layer L write to all layers l >= L:

    W_enc_L.safetensors     W_enc_L (m, d), b_enc_L (m,), threshold_L (m,), b_dec_L (d,)
    W_dec_L.safetensors     W_dec_L (m, n_layers - L, d)

circuit-tracer has one width for all sites of a model, ReLU and JumpReLU, and no other selection; it reads no skip of a
cross-layer transcoder. Proved against circuit-tracer 0.5.0, which takes the absolute path of such a folder wherever it
takes the name of a transcoder set. This file writes; reading back is not its job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from cellglass.dictionaries.base import Dictionary
from cellglass.dictionaries.exchange.folders import write_folder
from cellglass.dictionaries.exchange.plain import Plain, plain_of
from cellglass.dictionaries.kinds.crosslayer import CrossLayerTranscoder
from cellglass.errors import InputError


def write_circuit_tracer(
    transcoders: Sequence[Dictionary],
    folder: Path | str,
    *,
    model_name: str | None = None,
    feature_input_hook: str = "mlp.hook_in",
    feature_output_hook: str = "mlp.hook_out",
    scan: str | None = None,
) -> None:
    """Write transcoders as a folder that circuit-tracer loads as a `TranscoderSet`.

    Activations and outputs stay what they are, up to the rounding of float32.

    Parameters
    ----------
    transcoders
        One for each layer of the model, from layer 0 on; of kind batchtopk, matryoshka_batchtopk or jumprelu, with
        equal numbers of latents and one width d for what they read and write.
    folder
        Where to; what is there is replaced. Its absolute path is what circuit-tracer takes as the name of the set.
    model_name
        The model that they belong to, as circuit-tracer's command line looks for it.
    feature_input_hook, feature_output_hook
        Where in a block the transcoders read and write, in TransformerLens's words. The defaults are the input of the
        MLP, after its layer norm, and its output.
    scan
        Name under which pages of these features are found; None leaves it out.

    Raises
    ------
    InputError
        A dictionary is none that circuit-tracer can hold, or the widths differ; the layer is named.
    """
    files = {f"layer_{layer}.safetensors": _layer(one, layer) for layer, one in enumerate(transcoders)}
    _one_shape({name: tuple(tensors["W_enc"].shape) for name, tensors in files.items()})
    config = _config("transcoder_set", model_name, feature_input_hook, feature_output_hook, scan)
    write_folder(folder, {"config.yaml": config}, files)


def write_circuit_tracer_cross_layer(
    transcoder: CrossLayerTranscoder,
    folder: Path | str,
    *,
    thresholds: torch.Tensor,
    model_name: str | None = None,
    feature_input_hook: str = "mlp.hook_in",
    feature_output_hook: str = "mlp.hook_out",
    scan: str | None = None,
) -> None:
    """Write a cross-layer transcoder as a folder that circuit-tracer loads as its `CrossLayerTranscoder`.

    circuit-tracer's latents are active above a threshold and not as the k largest of their layer, so what it computes
    is p where p > threshold: the same pre-activations p, the same decoder, another selection.

    Parameters
    ----------
    transcoder
        Its layers are those of the model, from layer 0 on, and read and write one width.
    folder, model_name, feature_input_hook, feature_output_hook, scan
        As for `write_circuit_tracer`.
    thresholds
        Of each latent (n_latents,), at least 0, such as `cross_layer_thresholds` finds; all 0 for ReLU.

    Raises
    ------
    InputError
        The widths differ, or the thresholds do not fit.
    """
    files = cross_layer_files(transcoder, thresholds)
    config = _config("cross_layer_transcoder", model_name, feature_input_hook, feature_output_hook, scan)
    write_folder(folder, {"config.yaml": config}, files)


@torch.no_grad()
def cross_layer_thresholds(transcoder: CrossLayerTranscoder, x: torch.Tensor) -> torch.Tensor:
    """Return thresholds above which each layer has k latents active in a row of `x` on average, (n_latents,).

    One value for all latents of a layer, halfway between the least pre-activation that is in and the greatest that is
    out, and at least 0; `x` (n, d_in) are inputs of all layers side by side.
    """
    p, m = transcoder.preactivations(x), transcoder.per_layer
    bars = []
    for layer in torch.split(p, m, dim=1):
        order = layer.flatten().sort(descending=True).values
        last = transcoder.config.k * len(x)
        bar = order[last - 1 : last + 1].mean().clamp_min(0)
        bars.append(bar.expand(m))
    return torch.cat(bars)


def cross_layer_files(transcoder: CrossLayerTranscoder, thresholds: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
    """Return the tensors of a cross-layer transcoder by file name; centres and scales are in the weights."""
    if transcoder.width_in != transcoder.width_out:
        raise InputError(
            f"the layers read width {transcoder.width_in} and write width {transcoder.width_out}; "
            "circuit-tracer has one width"
        )
    n, m, d = transcoder.n_layers, transcoder.per_layer, transcoder.width_in
    if tuple(thresholds.shape) != (n * m,) or not bool((thresholds >= 0).all()):
        raise InputError(
            f"thresholds of shape {tuple(thresholds.shape)} do not fit: there must be one of at least 0 for each of "
            f"{n * m} latents; cross_layer_thresholds finds some"
        )
    w = {name: value.detach().cpu().double() for name, value in transcoder.state_dict().items()}
    scale, scale_out, centre = w["scale"].view(n, 1, d), w["scale_out"].view(n, d), w["centre"].view(n, d)
    encoder, bar = w["encoder"].view(n, m, d) / scale, thresholds.detach().cpu().double().view(n, m)
    shift = w["encoder_bias"].view(n, m) - torch.einsum("lmd,ld->lm", encoder, centre)
    bias = (w["centre_out"] + w["scale_out"] * w["bias"]).view(n, d)
    files: dict[str, dict[str, torch.Tensor]] = {}
    for i in range(n):
        own = {f"W_enc_{i}": encoder[i], f"b_enc_{i}": shift[i], f"b_dec_{i}": bias[i]}
        files[f"W_enc_{i}.safetensors"] = own | ({f"threshold_{i}": bar[i]} if bar.any() else {})
        decoder = w[f"decoder_{i}"].view(m, n - i, d) * scale_out[i:]
        files[f"W_dec_{i}.safetensors"] = {f"W_dec_{i}": decoder}
    return files


def _layer(dictionary: Dictionary, layer: int) -> dict[str, torch.Tensor]:
    """Return the tensors of one layer's file."""
    plain = plain_of(dictionary, "circuit-tracer")
    _refuse(plain, layer)
    tensors = {
        "W_enc": plain.encoder,
        "W_dec": plain.decoder,
        "b_enc": plain.encoder_bias,
        "b_dec": plain.bias,
    }
    if plain.skip is not None:
        tensors["W_skip"] = plain.skip
    if not plain.rectified:
        tensors["activation_function.threshold"] = plain.extra["threshold"]
    return tensors


def _refuse(plain: Plain, layer: int) -> None:
    d_in, d_out = plain.encoder.shape[1], plain.decoder.shape[1]
    if not plain.transcodes:
        raise InputError(f"layer {layer}: is an autoencoder; circuit-tracer puts transcoders in the place of MLPs")
    if plain.selection != "threshold":
        raise InputError(
            f"layer {layer}: circuit-tracer's files hold ReLU and JumpReLU alone, so kind {plain.kind!r} cannot be "
            "written; train one of kind batchtopk, matryoshka_batchtopk or jumprelu"
        )
    if d_in != d_out:
        raise InputError(f"layer {layer}: reads width {d_in} and writes width {d_out}; circuit-tracer has one width")


def _one_shape(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise InputError unless there is something and all of it has one shape."""
    if not shapes:
        raise InputError("no transcoder was given; circuit-tracer needs one for each layer of the model")
    first, shape = next(iter(shapes.items()))
    for name, other in shapes.items():
        if other != shape:
            raise InputError(
                f"{name}: has {other[0]} latents of width {other[1]}, but {first} has {shape[0]} of width {shape[1]}; "
                "circuit-tracer needs equal ones"
            )


def _config(kind: str, model_name: str | None, reads: str, writes: str, scan: str | None) -> str:
    """Return ``config.yaml``; a quoted JSON string is a YAML string."""
    fields = {
        "model_kind": kind,
        "model_name": model_name,
        "feature_input_hook": reads,
        "feature_output_hook": writes,
        "scan": scan,
    }
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items() if value is not None)
