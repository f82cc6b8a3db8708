"""SAELens's folders, ``cfg.json`` beside ``sae_weights.safetensors``: what `SAE.load_from_disk` reads.

    sae          p = (x - b_dec) W_enc + b_enc       x̂ = f W_dec + b_dec     (or p = x W_enc + b_enc, by an option)
    transcoder   p = x W_enc + b_enc                 ŷ = f W_dec + b_dec [+ x W_skipᵀ]

and f is, by architecture: relu(p); the k largest p of the row, relu; relu(p) where p > threshold; or the gated form.
Written and proved against SAELens 6.54.12. `to_saelens` and `from_saelens` are the whole conversion and read no files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cellglass.dictionaries.base import Dictionary
from cellglass.dictionaries.exchange.folders import expect, read_cfg, read_tensors, whole_number, write_folder
from cellglass.dictionaries.exchange.plain import Plain, build, note_of, plain_of, remembered
from cellglass.dictionaries.sparse import SparseDictionary
from cellglass.errors import InputError

VERSION = "6.54.12"
WEIGHTS = "sae_weights.safetensors"

_NOTE = "cellglass"  # the key of the metadata under which the kind and its config are noted


class _Architecture(NamedTuple):
    selection: str  # relu, topk, threshold, common (one threshold, of a training checkpoint) or gated
    transcodes: bool = False
    skip: bool = False


_ARCHITECTURES = {
    "standard": _Architecture("relu"),
    "topk": _Architecture("topk"),
    "jumprelu": _Architecture("threshold"),
    "gated": _Architecture("gated"),
    "transcoder": _Architecture("relu", True),
    "skip_transcoder": _Architecture("relu", True, True),
    "jumprelu_transcoder": _Architecture("threshold", True),
    "jumprelu_skip_transcoder": _Architecture("threshold", True, True),
    "batchtopk": _Architecture("common"),
    "matryoshka_batchtopk": _Architecture("common"),
}
_NAMES = {value: name for name, value in _ARCHITECTURES.items() if value.selection != "common"}

_NORMALISATIONS = {
    "layer_norm": "each row is divided by its own standard deviation, which no linear encoder does",
    "constant_norm_rescale": "each row is divided by its own norm, which no linear encoder does",
    "covariance_whitening": "the whitening is not in the weights yet; fold it with SAELens "
    "(fold_activation_whitening) and save again",
}


def write_saelens(dictionary: Dictionary, folder: Path | str, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Write `dictionary` as a folder that SAELens loads with ``SAE.load_from_disk(folder)``.

    Activations and reconstructions stay what they are, up to the rounding of float32; so do thresholds. Decoder rows
    carry the site's scale, so their norm is no longer 1.

    Parameters
    ----------
    dictionary
        Of any kind that is trained; a transcoder must select by threshold (batchtopk, matryoshka_batchtopk, jumprelu),
        since SAELens has no other.
    folder
        Where to; what is there is replaced.
    metadata
        What SAELens keeps beside the config, such as ``{"hook_name": "blocks.3.mlp.hook_in"}``.

    Raises
    ------
    InputError
        SAELens has no architecture that computes this dictionary, or JSON cannot hold the metadata.
    """
    cfg, tensors = to_saelens(plain_of(dictionary, "SAELens"), metadata)
    try:
        text = json.dumps(cfg, indent=1) + "\n"
    except (TypeError, ValueError) as error:
        raise InputError(
            f"metadata cannot be written as JSON ({error}); give text, numbers and lists of them"
        ) from error
    write_folder(folder, {"cfg.json": text}, {WEIGHTS: tensors})


def read_saelens(folder: Path | str, *, activation_scale: float | None = None) -> SparseDictionary:
    """Return the dictionary in a folder that SAELens wrote; its codes are SAELens's feature activations.

    Parameters
    ----------
    folder
        With ``cfg.json`` and ``sae_weights.safetensors``.
    activation_scale
        Only for ``normalize_activations="expected_average_only_in"``: the factor by which activations were multiplied
        before they reached the dictionary. The folder does not hold it.

    Raises
    ------
    InputError
        The folder is damaged, or cellglass has no kind that computes the same; the architecture or option is named.
    """
    folder = Path(folder)
    cfg = read_cfg(folder, "SAELens", WEIGHTS)
    plain = from_saelens(cfg, read_tensors(folder / WEIGHTS), str(folder), activation_scale)
    return build(plain, str(folder))


def to_saelens(
    plain: Plain, metadata: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the config and the weights of SAELens."""
    selection = "relu" if plain.rectified else plain.selection
    architecture = _NAMES.get(_Architecture(selection, plain.transcodes, plain.skip is not None))
    if architecture is None:
        raise InputError(
            f"SAELens has no transcoder that selects as kind {plain.kind!r} does; "
            "train one of kind batchtopk, matryoshka_batchtopk or jumprelu"
        )
    m, d_in = plain.encoder.shape
    cfg: dict[str, Any] = {
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": m,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": not plain.transcodes,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": VERSION, **(metadata or {}), _NOTE: note_of(plain)},
    }
    tensors = {"W_enc": plain.encoder.T, "W_dec": plain.decoder, "b_dec": plain.bias}
    if plain.transcodes:
        cfg["d_out"] = plain.decoder.shape[1]
    if plain.skip is not None:
        tensors["W_skip"] = plain.skip
    if selection == "topk":
        cfg |= {"k": plain.config["k"], "rescale_acts_by_decoder_norm": False}
    if selection == "gated":
        own = {"b_gate": plain.extra["gate_bias"], "r_mag": plain.extra["log_magnitude"]}
        return cfg, {**tensors, "b_mag": plain.encoder_bias, **own}
    if selection == "threshold":
        tensors["threshold"] = plain.extra["threshold"]
    return cfg, {**tensors, "b_enc": plain.encoder_bias}


def from_saelens(
    cfg: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], place: str, activation_scale: float | None = None
) -> Plain:
    """Return the dictionary that SAELens's config and weights describe; InputError, which begins with `place`."""
    cfg, w = _upgraded(cfg, place), dict(tensors)
    architecture = _ARCHITECTURES.get(str(cfg.get("architecture")))
    if architecture is None:
        raise InputError(
            f"{place}: cellglass has no kind that computes SAELens's architecture {cfg.get('architecture')!r}; "
            f"it reads {', '.join(_ARCHITECTURES)}"
        )
    selection = architecture.selection
    scale = _activation_scale(cfg, place, activation_scale)
    if scale != 1 and architecture.transcodes:
        raise InputError(f"{place}: a transcoder of scaled activations cannot be read; fold the factor in with SAELens")
    if "log_threshold" in w:  # jumprelu, as older training checkpoints kept it
        w["threshold"] = w.pop("log_threshold").exp()
    if bool((w.get("scaling_factor", torch.zeros(1)) == 1).all()):  # older files hold it where it does nothing
        del w["scaling_factor"]
    expect(w, _shapes(cfg, architecture, place), f"{place}/{WEIGHTS}")
    plain = Plain(
        kind={"topk": "topk", "gated": "gated"}.get(selection, "jumprelu"),
        config={"k": whole_number(cfg, "k", place) if selection == "topk" else w["W_dec"].shape[0]},
        encoder=w["W_enc"].T,
        encoder_bias=w["b_mag"] if selection == "gated" else w["b_enc"],
        decoder=w["W_dec"],
        bias=w["b_dec"],
        transcodes=architecture.transcodes,
        skip=w.get("W_skip"),
        extra=_extra(selection, w),
    )
    if selection in ("topk", "common") and cfg.get("rescale_acts_by_decoder_norm"):
        plain = _unit_decoder(plain)
    if scale != 1:
        plain = replace(plain, encoder=plain.encoder * scale, decoder=plain.decoder / scale, bias=plain.bias / scale)
    if not architecture.transcodes and not cfg.get("apply_b_dec_to_input", True):
        plain = plain.around_bias()
    metadata = _metadata(cfg)
    return remembered(remembered(plain, _training_note(metadata)), metadata.get(_NOTE))


def _upgraded(cfg: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return a config of SAELens before 6 in the words of 6; a later one as it is."""
    version = str(cfg.get("sae_lens_version") or _metadata(cfg).get("sae_lens_version") or "0")
    if version.split(".")[0].isdigit() and int(version.split(".")[0]) >= 6:
        return dict(cfg)
    new = {"architecture": "standard", **cfg}
    activation = cfg.get("activation_fn", cfg.get("activation_fn_str", "relu"))
    if activation == "topk":
        new |= {"architecture": "topk", "k": (cfg.get("activation_fn_kwargs") or {}).get("k", cfg.get("k"))}
    elif activation != "relu":
        raise InputError(f"{place}: cellglass has no kind with SAELens's activation function {activation!r}")
    if cfg.get("finetuning_scaling_factor"):
        raise InputError(f"{place}: has a finetuning_scaling_factor, which no kind of cellglass has")
    normalise = cfg.get("normalize_activations")
    new["normalize_activations"] = (
        {True: "expected_average_only_in", False: "none", None: "none"}[normalise]
        if normalise is None or isinstance(normalise, bool)
        else normalise
    )
    return new


def _metadata(cfg: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = cfg.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _activation_scale(cfg: Mapping[str, Any], place: str, given: float | None) -> float:
    """Return the factor that the activations are multiplied by, or refuse how they are normalised."""
    normalise = cfg.get("normalize_activations", "none")
    if normalise == "none":
        return 1.0
    if normalise != "expected_average_only_in":
        why = _NORMALISATIONS.get(str(normalise), "it is unknown here")
        raise InputError(f"{place}: normalize_activations={normalise!r} cannot be represented: {why}")
    if given is None or not given > 0:
        raise InputError(
            f"{place}: normalize_activations='expected_average_only_in', and the factor is not in the folder; give it "
            "as activation_scale (1.0 if the activations are scaled before they come here)"
        )
    return float(given)


def _shapes(cfg: Mapping[str, Any], architecture: _Architecture, place: str) -> dict[str, tuple[int, ...]]:
    m, d_in = whole_number(cfg, "d_sae", place), whole_number(cfg, "d_in", place)
    d_out = whole_number(cfg, "d_out", place) if architecture.transcodes else d_in
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (d_in, m), "W_dec": (m, d_out), "b_dec": (d_out,)}
    if architecture.skip:
        shapes["W_skip"] = (d_out, d_in)
    own: dict[str, dict[str, tuple[int, ...]]] = {
        "gated": {"b_mag": (m,), "b_gate": (m,), "r_mag": (m,)},
        "threshold": {"b_enc": (m,), "threshold": (m,)},
        "common": {"b_enc": (m,), "topk_threshold": ()},
    }
    return shapes | own.get(architecture.selection, {"b_enc": (m,)})


def _extra(selection: str, w: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    if selection == "topk":
        return {}
    if selection == "gated":
        return {"gate_bias": w["b_gate"], "log_magnitude": w["r_mag"]}
    if selection == "relu":
        return {"threshold": torch.zeros_like(w["b_enc"])}
    if selection == "common":
        return {"threshold": w["topk_threshold"].expand_as(w["b_enc"]).clamp_min(0)}
    return {"threshold": w["threshold"].clamp_min(0)}  # SAELens takes relu(p) too: below 0 a threshold is 0


def _unit_decoder(plain: Plain) -> Plain:
    """Return what computes the same with decoder rows of norm 1: SAELens selects by p times the norm of the row."""
    norm = plain.decoder.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
    return replace(
        plain,
        encoder=plain.encoder * norm[:, None],
        encoder_bias=plain.encoder_bias * norm,
        decoder=plain.decoder / norm[:, None],
    )


def _training_note(metadata: Mapping[str, Any]) -> object:
    """Return what SAELens says of the training in the words of `remembered`: BatchTopK is kept as JumpReLU."""
    details = metadata.get("training_architecture_details")
    k = details.get("k") if isinstance(details, Mapping) else None
    if isinstance(k, bool) or not isinstance(k, int | float) or not k >= 0:
        return None
    config: dict[str, Any] = {"k": max(1, round(k))}
    if isinstance(details, Mapping) and details.get("matryoshka_widths"):
        config["prefixes"] = details["matryoshka_widths"]
    return {"kind": metadata.get("training_architecture"), "config": config}
