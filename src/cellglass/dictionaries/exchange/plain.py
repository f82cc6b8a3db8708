"""The form between cellglass and every foreign format: one dictionary in the units of its sites, in float64.

With u = (x - centre) / scale, an autoencoder of ours is, written out in x,

    p = (x - b') E'ᵀ + e'        E' = E / scale,  b' = centre + scale b,  e' = e
    x̂ = f D' + b'                D' = scale D

and a transcoder is

    p = x E'ᵀ + e'               E' = E / scale,  e' = e - E' centre
    ŷ = f D' + b' [+ x S'ᵀ]      D' = scale_out D,  b' = centre_out + scale_out b - S' centre,
                                 S' = (scale_out / scale) S

so centre and scale go into the weights, and pre-activations, thresholds and codes f keep their values. The sums are
made in float64 and rounded once. This file knows the kinds of cellglass and no foreign format; it reads no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import torch

from cellglass.dictionaries.base import Dictionary
from cellglass.dictionaries.kind import Selection
from cellglass.dictionaries.registry import KINDS
from cellglass.dictionaries.sparse import SparseConfig, SparseDictionary
from cellglass.errors import InputError

_SIZES = {"d_in", "n_latents", "d_out", "skip"}


@dataclass(frozen=True, eq=False)
class Plain:
    """A dictionary in the units of its sites; all tensors are float64. See the module's docstring.

    Attributes
    ----------
    kind : str
        Of cellglass; its entry in the registry says how it selects.
    config : dict
        The fields of the kind's config beside the sizes, such as ``{"k": 16}``.
    encoder : torch.Tensor, shape (m, d_in)
        E'.
    encoder_bias : torch.Tensor, shape (m,)
        e'; in a gated dictionary of the magnitudes.
    decoder : torch.Tensor, shape (m, d_out)
        D'.
    bias : torch.Tensor, shape (d_out,)
        b'; an autoencoder takes it off its input too.
    transcodes : bool
        Whether it is a transcoder: it may write another site, and takes nothing off its input.
    skip : torch.Tensor or None, shape (d_out, d_in)
        S'.
    extra : dict of str to torch.Tensor
        ``threshold`` (m,), at least 0; or ``gate_bias`` (m,) and ``log_magnitude`` (m,).
    """

    kind: str
    config: dict[str, Any]
    encoder: torch.Tensor
    encoder_bias: torch.Tensor
    decoder: torch.Tensor
    bias: torch.Tensor
    transcodes: bool = False
    skip: torch.Tensor | None = None
    extra: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def selection(self) -> Selection:
        """``topk``, ``threshold`` or ``gated``."""
        found = _selection(self.kind)
        assert found is not None, "only kinds that have a selection are folded"  # noqa: S101
        return found

    @property
    def rectified(self) -> bool:
        """Whether the selection is a plain ReLU: all thresholds are 0."""
        return "threshold" in self.extra and not bool(self.extra["threshold"].any())

    def around_zero(self) -> Plain:
        """Return an autoencoder as one that takes nothing off its input: p = x E'ᵀ + (e' - E' b')."""
        return replace(self, **_moved(self, -(self.encoder @ self.bias)))

    def around_bias(self) -> Plain:
        """Return an autoencoder that took nothing off its input as one that takes off b'."""
        return replace(self, **_moved(self, self.encoder @ self.bias))


def fold(kind: str, config: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> Plain:
    """Return weights of cellglass, by the names under which they are saved, in the units of the sites."""
    w = {name: value.detach().cpu().double() for name, value in weights.items()}
    scale, m = w["scale"], len(w["encoder"])
    encoder = w["encoder"] / scale
    extra: dict[str, torch.Tensor] = {name: w[name] for name in ("gate_bias", "log_magnitude") if name in w}
    if "threshold" in w:
        extra["threshold"] = w["threshold"].clamp_min(0).expand(m)
    rest = {name: value for name, value in config.items() if name not in _SIZES}
    if "centre_out" not in w:
        bias = w["centre"] + scale * w["bias"]
        return Plain(kind, rest, encoder, w["encoder_bias"], scale * w["decoder"], bias, extra=extra)
    bias, skip = w["centre_out"] + w["scale_out"] * w["bias"], None
    if "skip" in w:
        skip = w["scale_out"] / scale * w["skip"]
        bias = bias - skip @ w["centre"]
    plain = Plain(kind, rest, encoder, w["encoder_bias"], w["scale_out"] * w["decoder"], bias, True, skip, extra)
    return replace(plain, **_moved(plain, -(encoder @ w["centre"])))


def unfold(plain: Plain) -> dict[str, torch.Tensor]:
    """Return the weights of cellglass, float32: b' becomes the centre (of the output), and scales are 1."""
    weights = {
        "encoder": plain.encoder,
        "encoder_bias": plain.encoder_bias,
        "decoder": plain.decoder,
        "bias": torch.zeros_like(plain.bias),
        "centre": torch.zeros(plain.encoder.shape[1]) if plain.transcodes else plain.bias,
        "scale": torch.ones(()),
        **plain.extra,
    }
    if _shapes(plain).get("threshold") == ():  # one for all latents
        weights["threshold"] = plain.extra["threshold"][0]
    if plain.transcodes:
        weights |= {"centre_out": plain.bias, "scale_out": torch.ones(())}
    if plain.skip is not None:
        weights["skip"] = plain.skip
    return {name: value.float().contiguous().clone() for name, value in weights.items()}


def plain_of(dictionary: Dictionary, target: str) -> Plain:
    """Return `dictionary` in the units of its sites; InputError where it is of a kind that `target` cannot hold."""
    if not isinstance(dictionary, SparseDictionary) or _selection(dictionary.kind) is None:
        raise InputError(
            f"a dictionary of kind {dictionary.kind!r} cannot be written for {target}; "
            f"what can be written is of kind {', '.join(exchangeable())}"
        )
    other = KINDS[dictionary.kind].exchanged_as
    config = asdict(dictionary.config) if other is None else {"k": dictionary.config.k}
    return fold(other or dictionary.kind, config, dictionary.state_dict())


def build(plain: Plain, place: str) -> SparseDictionary:
    """Return the dictionary; InputError, which begins with `place`, where its config cannot be."""
    try:
        dictionary = _class_of(plain)(_config_of(plain))
    except (InputError, TypeError) as error:
        raise InputError(f"{place}: {error}") from error
    dictionary.load_state_dict(unfold(plain))
    return dictionary.freeze()


def remembered(plain: Plain, note: object) -> Plain:
    """Return `plain` as the kind that `note` names, where that is the same function of x; as it is otherwise.

    Formats keep what a dictionary computes, but not how it was trained, so writers leave a note
    ``{"kind": ..., "config": {...}}`` (see `note_of`) that restores, say, the prefixes of a nested dictionary.
    """
    if not isinstance(note, Mapping) or not isinstance(note.get("config"), Mapping):
        return plain
    kind, config = note.get("kind"), dict(note["config"])
    if _selection(str(kind)) != plain.selection:
        return plain
    if plain.selection == "topk" and config.get("k") != plain.config["k"]:
        return plain
    config = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    other = replace(plain, kind=str(kind), config=config)
    try:
        needed = _shapes(other)
    except (InputError, TypeError):
        return plain
    if needed.get("threshold") == () and not _all_equal(plain.extra["threshold"]):
        return plain
    return other if set(needed) == set(unfold(other)) else plain  # an archetypal one has lost its points


def note_of(plain: Plain) -> dict[str, Any]:
    """Return what `remembered` reads."""
    return {"kind": plain.kind, "config": plain.config}


def _config_of(plain: Plain) -> SparseConfig:
    m, d_in = plain.encoder.shape
    sizes: dict[str, Any] = {"d_in": d_in, "n_latents": m}
    if plain.transcodes:
        sizes |= {"d_out": plain.decoder.shape[1], "skip": plain.skip is not None}
    return _class_of(plain).config_class(**sizes, **plain.config)


def exchangeable() -> list[str]:
    """Return the kinds that other libraries can hold."""
    return [kind for kind in KINDS if _selection(kind) is not None]


def _selection(kind: str) -> Selection | None:
    return KINDS[kind].selection if kind in KINDS else None


def _shapes(plain: Plain) -> dict[str, tuple[int, ...]]:
    return _class_of(plain).shapes(_config_of(plain))


def _class_of(plain: Plain) -> type[SparseDictionary]:
    return cast(type[SparseDictionary], KINDS[plain.kind].cls)


def _moved(plain: Plain, by: torch.Tensor) -> dict[str, Any]:
    """Return the fields that change when `by` (m,) is added to x E'ᵀ."""
    if plain.selection != "gated":
        return {"encoder_bias": plain.encoder_bias + by}
    extra = {**plain.extra, "gate_bias": plain.extra["gate_bias"] + by}
    return {"encoder_bias": plain.encoder_bias + plain.extra["log_magnitude"].exp() * by, "extra": extra}


def _all_equal(values: torch.Tensor) -> bool:
    return bool((values == values[0]).all())
