"""A set of transcoders on disk and in memory: one for each MLP of a model, or one that writes to all later layers.

    transcoders.json     what they are and which model they belong to
    layer-0/ ...         one dictionary each, as `cellglass.dictionaries` writes them; or
    crosslayer/          the one of all layers
    features.csv         what each feature fires on, where that was asked; see ``meanings.py``

They belong to a *network*: the sha256 of its weights, whatever genes and prompt it is used with. This file computes
nothing with them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cellglass.circuits.features import StandIns
from cellglass.circuits.meanings import Details, Names, read_details, read_names
from cellglass.dictionaries.fitting import load
from cellglass.dictionaries.kinds.crosslayer import CrossLayerTranscoder
from cellglass.dictionaries.sparse import SparseDictionary
from cellglass.errors import InputError, listed
from cellglass.files import atomic_path, read_json
from cellglass.models.folder import digest

if TYPE_CHECKING:
    from cellglass.models.base import CellModel
    from cellglass.models.transformer.model import TransformerModel

FORMAT = "cellglass.transcoders"
SCHEMA_VERSION = 1
NAME = "transcoders.json"
LOSS = "loss.csv"
WORK = "work"
_AGAIN = "train them again: cellglass circuits train"


def fingerprint_of(model: TransformerModel) -> str:
    """Return the sha256 of a model's kind and weights, which its genes and settings leave as it is."""
    return digest({"kind": model.kind}, model.net.state_dict())


@dataclass(frozen=True, eq=False)
class Transcoders:
    """The transcoders of a model.

    Attributes
    ----------
    model_kind, fingerprint : str
        The model: its kind and `fingerprint_of` it.
    n_layers : int
        MLPs of the model.
    dictionaries : tuple of SparseDictionary
        One for each layer from 0 on, each reads ``layers.i.mlp.in`` and writes ``layers.i.mlp.out``; or one
        `CrossLayerTranscoder`.
    seed : int
        Of their training.
    labels : str or None
        The column whose values the model was given as answers.
    held_out : tuple of str
        Names of the cells that none of them has seen.
    training : dict
        What else the training says of itself, as JSON can hold it.
    names : mapping of (int, int) to str
        Layer and feature -> what it is called by machine, of a folder in which features are explained.
    details : mapping of (int, int) to mapping
        And what else is told of it.
    """

    model_kind: str
    fingerprint: str
    n_layers: int
    dictionaries: tuple[SparseDictionary, ...]
    seed: int = 0
    labels: str | None = None
    held_out: tuple[str, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    details: Details = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = len(self.dictionaries)
        if given != (1 if self.is_crosslayer else self.n_layers):
            raise InputError(f"there are {given} transcoders for {self.n_layers} layers; give one for each")
        if self.is_crosslayer and self.crosslayer.n_layers != self.n_layers:
            raise InputError(f"the cross-layer transcoder has {self.crosslayer.n_layers} layers, not {self.n_layers}")
        shapes = {(one.kind, one.config.n_latents, one.d_in, one.d_out) for one in self.dictionaries}
        if len(shapes) > 1:
            raise InputError(f"the transcoders differ in kind, latents or widths: {listed(sorted(shapes))}")
        if not all(one.is_transcoder for one in self.dictionaries):
            raise InputError("an autoencoder is no transcoder; train one with d_out, the width that it writes")

    @property
    def is_crosslayer(self) -> bool:
        """Whether latents of a layer write to all later layers too."""
        return bool(self.dictionaries) and isinstance(self.dictionaries[0], CrossLayerTranscoder)

    @property
    def crosslayer(self) -> CrossLayerTranscoder:
        """The one transcoder of all layers; InputError where there is one for each."""
        one = self.dictionaries[0]
        if not isinstance(one, CrossLayerTranscoder):
            raise InputError("these transcoders are one for each layer; index them with the layer")
        return one

    @property
    def stand_ins(self) -> StandIns:
        """What `replace_mlps` puts in the MLPs' place."""
        return self.crosslayer if self.is_crosslayer else self.dictionaries

    @property
    def kind(self) -> str:
        """Kind of the dictionaries."""
        return self.dictionaries[0].kind

    @property
    def k(self) -> int:
        """Latents that are active in a token and layer: exactly or on average, as the kind says."""
        return self.dictionaries[0].config.k

    @property
    def n_latents(self) -> int:
        """Latents of a layer."""
        return self.dictionaries[0].n_latents // (self.n_layers if self.is_crosslayer else 1)

    @property
    def width(self) -> int:
        """Width of what an MLP reads."""
        return self.dictionaries[0].d_in // (self.n_layers if self.is_crosslayer else 1)

    @property
    def skip(self) -> bool:
        """Whether each has a linear map beside its latents."""
        return self.dictionaries[0].config.skip

    @property
    def summary(self) -> dict[str, Any]:
        """What a circuit says of them, as JSON can hold it."""
        return {"kind": self.kind, "k": self.k, "latents": self.n_latents, "skip": self.skip, "seed": self.seed}

    def __len__(self) -> int:
        return self.n_layers

    def __getitem__(self, layer: int) -> SparseDictionary:
        """Return the transcoder of a layer; of a cross-layer one, that of all."""
        if not 0 <= layer < self.n_layers:
            raise InputError(f"there is no layer {layer}; these transcoders have layers 0 to {self.n_layers - 1}")
        return self.dictionaries[0 if self.is_crosslayer else layer]

    def check(self, model: CellModel) -> TransformerModel:
        """Return `model`; InputError unless they were made for its network."""
        from cellglass.circuits.objectives import as_transformer

        found = as_transformer(model)
        own = fingerprint_of(found)
        if (found.kind, own) != (self.model_kind, self.fingerprint):
            raise InputError(
                f"these transcoders belong to another model ({self.model_kind} {self.fingerprint[:12]}, this one is "
                f"{found.kind} {own[:12]}); load the model that they were trained for, or {_AGAIN}"
            )
        return found

    def save(self, folder: Path | str) -> None:
        """Write them as a folder, whole or not at all; what was there is replaced."""
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            for name, one in zip(folders(self.n_layers, self.is_crosslayer), self.dictionaries, strict=True):
                one.save(temporary / name)
            self.write_index(temporary)

    def write_index(self, folder: Path) -> None:
        """Write ``transcoders.json`` beside dictionaries that lie in `folder` already."""
        content = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "model": {"kind": self.model_kind, "fingerprint": self.fingerprint},
            "layers": list(range(self.n_layers)),
            "crosslayer": self.is_crosslayer,
            "kind": self.kind,
            "k": self.k,
            "latents": self.n_latents,
            "width": self.width,
            "skip": self.skip,
            "seed": self.seed,
            "labels": self.labels,
            "held_out": list(self.held_out),
            "training": self.training,
        }
        with atomic_path(folder / NAME) as temporary:
            temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def export_circuit_tracer(
        self, folder: Path | str, *, inputs: torch.Tensor | None = None, model_name: str | None = None
    ) -> None:
        """Write them as a folder that circuit-tracer loads; see `cellglass.dictionaries.exchange.circuit_tracer`.

        Parameters
        ----------
        folder
            Where to; what is there is replaced.
        inputs : torch.Tensor, (n, n_layers x width), optional
            Of a cross-layer transcoder: what all MLPs read, side by side. circuit-tracer's latents are active above a
            threshold, which is found from these.
        model_name
            The model that circuit-tracer is to look for.

        Raises
        ------
        InputError
            TopK, and skips of a cross-layer transcoder, cannot be held there: batchtopk and jumprelu can.
        """
        from cellglass.dictionaries.exchange.circuit_tracer import (
            cross_layer_thresholds,
            write_circuit_tracer,
            write_circuit_tracer_cross_layer,
        )

        if not self.is_crosslayer:
            write_circuit_tracer(self.dictionaries, folder, model_name=model_name)
            return
        if inputs is None:
            raise InputError(
                "circuit-tracer's latents are active above a threshold, which is found from what the MLPs read; give "
                "inputs, rows of all layers' inputs side by side"
            )
        thresholds = cross_layer_thresholds(self.crosslayer, inputs)
        write_circuit_tracer_cross_layer(self.crosslayer, folder, thresholds=thresholds, model_name=model_name)

    def __repr__(self) -> str:
        return f"Transcoders({self.kind}, k {self.k}, {self.n_layers} x {self.n_latents} latents, {self.model_kind})"


def folders(layers: int, crosslayer: bool) -> Sequence[str]:
    """Return the names of the folders of the dictionaries."""
    return ["crosslayer"] if crosslayer else [f"layer-{i}" for i in range(layers)]


def load_transcoders(folder: Path | str) -> Transcoders:
    """Read what `Transcoders.save` or `train_transcoders` wrote; InputError says what is wrong with it."""
    folder = Path(folder)
    content = read_index(folder)
    try:
        layers, crosslayer = len(content["layers"]), bool(content["crosslayer"])
        model, held_out = dict(content["model"]), tuple(str(name) for name in content["held_out"])
        about = str(model["kind"]), str(model["fingerprint"])
        labels, training = content["labels"], dict(content["training"])
        seed = int(content["seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / NAME}: is damaged ({error!r}); {_AGAIN}") from None
    found = [load(folder / name) for name in folders(layers, crosslayer)]
    trained = [one for one in found if isinstance(one, SparseDictionary)]
    if len(trained) < len(found):
        raise InputError(f"{folder}: holds dictionaries that are no transcoders; {_AGAIN}")
    names, details = read_names(folder), read_details(folder)
    return Transcoders(*about, layers, tuple(trained), seed, labels, held_out, training, names, details)


def read_index(folder: Path) -> dict[str, Any]:
    """Return what ``transcoders.json`` holds; InputError where there is none or this version cannot read it."""
    missing = (
        f"{folder}: the training of these transcoders has not ended; run the same command again to resume"
        if (folder / WORK).is_dir()
        else f"{folder}: no transcoders are here (no {NAME}); give the folder that `cellglass circuits train` wrote"
    )
    content = read_json(folder / NAME, missing=missing, way_out=_AGAIN)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{folder / NAME}: is no list of cellglass's transcoders; give another folder")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{folder / NAME}: has schema version {content.get('schema_version')}, this cellglass reads "
            f"{SCHEMA_VERSION}; {_AGAIN}"
        )
    return content
