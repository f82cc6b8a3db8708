"""Reading and writing foreign folders: a JSON file beside safetensors. Nothing unpickles; every fault is named.

It knows file names and shapes, and nothing of what the numbers mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cellglass.errors import InputError
from cellglass.files import atomic_path, read_json

Tensors = Mapping[str, torch.Tensor]


def write_folder(folder: Path | str, texts: Mapping[str, str], weights: Mapping[str, Tensors]) -> None:
    """Write texts and float32 safetensors by file name, as one folder, whole or not at all."""
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name, tensors in weights.items():
            save_file({key: value.float().contiguous() for key, value in tensors.items()}, temporary / name)
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8")


def read_cfg(folder: Path | str, whose: str, weights: str) -> dict[str, Any]:
    """Return ``cfg.json`` of a folder that `whose` library wrote, with the file `weights` beside it."""
    path = Path(folder) / "cfg.json"
    missing = f"{folder}: no dictionary of {whose} is here (no cfg.json)"
    content = read_json(path, missing=missing, way_out="get the folder again")
    if not isinstance(content, dict):
        raise InputError(f"{path}: is not the cfg.json of a dictionary of {whose}")
    if content.get("format") == "cellglass.dictionary":
        raise InputError(f"{folder}: is cellglass's own; read it with cellglass.dictionaries.load")
    if not (path.parent / weights).is_file():
        others = ", ".join(sorted(p.name for p in path.parent.glob("*.safetensors"))) or "none"
        raise InputError(f"{folder}: has no {weights}, as a folder of {whose} would; its safetensors: {others}")
    return content


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file, float64; InputError where it is damaged."""
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: is missing, truncated or damaged; get it again") from error
    tensors = {name: value.double() for name, value in tensors.items()}
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise InputError(f"{path}: {name} holds values that are not finite; get it again or train it again")
    return tensors


def expect(tensors: Tensors, shapes: Mapping[str, tuple[int, ...]], path: Path | str) -> None:
    """Raise InputError where `tensors` are not exactly those of `shapes`."""
    for name, shape in shapes.items():
        if name not in tensors:
            raise InputError(f"{path}: lacks {name}; it holds {', '.join(sorted(tensors))}")
        if tuple(tensors[name].shape) != shape:
            raise InputError(f"{path}: {name} has shape {tuple(tensors[name].shape)}, but cfg.json asks for {shape}")
    if odd := sorted(set(tensors) - set(shapes)):
        raise InputError(f"{path}: holds {', '.join(odd)} too, which cannot be a part of what cfg.json describes")


def whole_number(cfg: Mapping[str, Any], name: str, path: Path | str) -> int:
    """Return the field `name` of `cfg`; InputError where it is missing or no whole number of at least 1."""
    value = cfg.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer() or value < 1:
        raise InputError(f"{path}: {name} is {value!r}; it must be a whole number of at least 1")
    return int(value)
