"""sparsify's folders, ``cfg.json`` beside ``sae.safetensors``: what `SparseCoder.load_from_disk` reads.

    p = relu((x - b_dec) Wᵀ + w)       with ``transcode`` without b_dec
    f = the k largest of each row
    ŷ = f W_dec + b_dec [+ x W_skipᵀ]

Input and output have one width. Written and proved against eai-sparsify 1.3.3. `to_sparsify` and `from_sparsify` are
the whole conversion and read no files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cellglass.dictionaries.base import Dictionary
from cellglass.dictionaries.exchange.folders import expect, read_cfg, read_tensors, whole_number, write_folder
from cellglass.dictionaries.exchange.plain import Plain, build, note_of, plain_of, remembered
from cellglass.dictionaries.sparse import SparseDictionary
from cellglass.errors import InputError

WEIGHTS = "sae.safetensors"
_NOTE = "cellglass"  # a field that sparsify drops, with the kind and its config


def write_sparsify(dictionary: Dictionary, folder: Path | str) -> None:
    """Write `dictionary` as a folder that sparsify loads with ``SparseCoder.load_from_disk(folder)``.

    Activations and reconstructions stay what they are, up to the rounding of float32. Decoder rows carry the site's
    scale, so ``normalize_decoder`` is written as false unless their norm is 1.

    Parameters
    ----------
    dictionary
        Of kind topk, matryoshka or archetypal; a transcoder must write a site as wide as the one that it reads.
    folder
        Where to; what is there is replaced.

    Raises
    ------
    InputError
        sparsify has nothing that computes this dictionary.
    """
    cfg, tensors = to_sparsify(plain_of(dictionary, "sparsify"))
    write_folder(folder, {"cfg.json": json.dumps(cfg, indent=1) + "\n"}, {WEIGHTS: tensors})


def read_sparsify(folder: Path | str) -> SparseDictionary:
    """Return the dictionary in a folder that sparsify wrote; its codes are sparsify's latent activations.

    Raises
    ------
    InputError
        The folder is damaged, or its activation function is none of cellglass's.
    """
    folder = Path(folder)
    cfg = read_cfg(folder, "sparsify", WEIGHTS)
    return build(from_sparsify(cfg, read_tensors(folder / WEIGHTS), str(folder)), str(folder))


def to_sparsify(plain: Plain) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the config and the weights of sparsify."""
    (m, d_in), d_out = plain.encoder.shape, plain.decoder.shape[1]
    if plain.selection != "topk":
        raise InputError(
            f"sparsify selects the k largest of each row, so kind {plain.kind!r} cannot be written for it; "
            "train one of kind topk, matryoshka or archetypal"
        )
    if d_in != d_out:
        raise InputError(
            f"sparsify reads and writes one width, but this transcoder reads {d_in} and writes {d_out}; "
            "of the formats here only SAELens's has two"
        )
    unit = bool(torch.allclose(plain.decoder.norm(dim=1), torch.ones(m, dtype=torch.float64), atol=1e-5))
    cfg = {
        "activation": "topk",
        "expansion_factor": max(1, round(m / d_in)),
        "normalize_decoder": unit,
        "num_latents": m,
        "k": plain.config["k"],
        "multi_topk": False,
        "skip_connection": plain.skip is not None,
        "transcode": plain.transcodes,
        "d_in": d_in,
        _NOTE: note_of(plain),
    }
    tensors = {
        "encoder.weight": plain.encoder,
        "encoder.bias": plain.encoder_bias,
        "W_dec": plain.decoder,
        "b_dec": plain.bias,
    }
    return cfg, tensors if plain.skip is None else {**tensors, "W_skip": plain.skip}


def from_sparsify(cfg: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], place: str) -> Plain:
    """Return the dictionary that sparsify's config and weights describe; InputError, which begins with `place`."""
    activation = cfg.get("activation", "topk")
    if activation != "topk":
        raise InputError(
            f"{place}: cellglass has no kind with sparsify's activation {activation!r}; it reads activation 'topk'"
        )
    d = whole_number(cfg, "d_in", place)
    m = (
        whole_number(cfg, "num_latents", place)
        if cfg.get("num_latents")
        else d * whole_number(cfg, "expansion_factor", place)
    )
    transcodes, skips = bool(cfg.get("transcode")), bool(cfg.get("skip_connection"))
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.weight": (m, d), "encoder.bias": (m,), "W_dec": (m, d), "b_dec": (d,)
    }  # fmt: skip
    expect(tensors, shapes | ({"W_skip": (d, d)} if skips else {}), f"{place}/{WEIGHTS}")
    plain = Plain(
        kind="topk",
        config={"k": whole_number(cfg, "k", place)},
        encoder=tensors["encoder.weight"],
        encoder_bias=tensors["encoder.bias"],
        decoder=tensors["W_dec"],
        bias=tensors["b_dec"],
        transcodes=transcodes,
        skip=tensors.get("W_skip"),
    )
    if skips and not transcodes:  # an autoencoder with a skip is our transcoder onto its own site
        plain = replace(plain.around_zero(), transcodes=True)
    return remembered(plain, cfg.get(_NOTE))
