"""A dictionary on disk: ``cfg.json`` beside ``weights.safetensors``, from which alone it is loaded again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cellglass.errors import InputError
from cellglass.files import atomic_path, read_json

FORMAT = "cellglass.dictionary"
SCHEMA_VERSION = 1


def write_dictionary(folder: Path, kind: str, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a dictionary of `kind` as a folder, whole or not at all."""
    content = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "kind": kind, "config": dict(config)}
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        save_file(
            {name: value.detach().contiguous() for name, value in tensors.items()}, temporary / "weights.safetensors"
        )
        (temporary / "cfg.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the kind and the config of the dictionary in `folder`; InputError says what is wrong with it."""
    path = folder / "cfg.json"
    missing = f"{folder}: no dictionary is here (no cfg.json); give the folder that it was saved to"
    content = read_json(path, missing=missing, way_out="train and save the dictionary again")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: is not the cfg.json of a cellglass dictionary")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path}: has schema version {content.get('schema_version')}, this cellglass reads {SCHEMA_VERSION}; "
            "train it again or use the cellglass that wrote it"
        )
    return str(content.get("kind")), dict(content.get("config") or {})


def read_weights(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Return the weights of the dictionary in `folder`; InputError where one is missing or has another shape."""
    path = folder / "weights.safetensors"
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: is missing, truncated or damaged; train and save the dictionary again") from error
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if found != dict(shapes):
        raise InputError(f"{path}: holds {found}, but cfg.json asks for {dict(shapes)}; train and save it again")
    return tensors
