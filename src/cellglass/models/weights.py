"""Files of weights as other programs leave them: read as tensors alone, or told for what they are, in a line.

A state dict may lie inside of a training checkpoint (under ``model_state_dict`` and the like) and have a word before
all of its names (of data-parallel training, of ``torch.compile``). Numbers of half precision are read as float32.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from cellglass.errors import InputError, listed, one_line
from cellglass.files import is_lfs_pointer, read_json

log = logging.getLogger(__name__)

INSIDE = ("model_state_dict", "state_dict", "model_state", "module", "model")
"""Keys under which training checkpoints keep a state dict."""
BEFORE = ("module.", "_orig_mod.", "model.", "net.")
"""Words that wrappers put before every name."""

Tensors = dict[str, torch.Tensor]


def refuse_pointer(path: Path) -> None:
    """Raise InputError where a file is a Git LFS pointer, or is not there."""
    if not path.is_file():
        raise InputError(f"there is no {path}; copy the whole folder")
    if is_lfs_pointer(path):
        raise InputError(
            f"{path} is a Git LFS pointer, not the file itself; fetch that with: git -C {path.parent} lfs pull"
        )


def read_weights(path: Path) -> Tensors:
    """Return the tensors of a file by their names, floats as float32; InputError says what else it is."""
    refuse_pointer(path)
    try:
        found = load_file(path) if path.suffix == ".safetensors" else _restricted(path)
    except UnpicklingError:
        raise InputError(
            f"{path} is refused: it holds more than weights (a whole pickled model, it may be), and code is never run; "
            "save its weights alone: torch.save(model.state_dict(), ...)"
        ) from None
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({one_line(error)}); copy or save it again") from None
    return without_wrapper(_state_dict(found, path), path)


def sharded_files(index: Path) -> list[Path]:
    """Return the files that an index of transformers names, which must lie beside it."""
    held = read_json(index, way_out="copy it again")
    try:
        parts = sorted({str(part) for part in held["weight_map"].values()})
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{index} cannot be read (it has no weight_map of names and files); copy it again") from None
    if any(Path(part).name != part for part in parts):
        raise InputError(f"{index} names files outside of its folder; copy the published folder again")
    return [index.parent / part for part in parts]


def read_sharded(index: Path) -> Tensors:
    """Return the tensors of all files that an index of transformers names."""
    found: Tensors = {}
    for file in sharded_files(index):
        found |= read_weights(file)
    return found


def without_wrapper(tensors: Mapping[str, torch.Tensor], path: Path) -> Tensors:
    """Return tensors under the names that the network itself gives them, floats as float32."""
    named = dict(tensors)
    while named:
        before = next((word for word in BEFORE if all(name.startswith(word) for name in named)), None)
        if before is None:
            break
        named = {name.removeprefix(before): tensor for name, tensor in named.items()}
    quantised = [name for name, tensor in named.items() if name.endswith((".SCB", ".absmax", ".quant_map"))]
    if quantised:
        raise InputError(f"{path}: the weights are quantised ({listed(quantised, 3)}); save them in float32 or float16")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in named.items()}


def leave_out(tensors: Tensors, parts: Mapping[str, str]) -> list[str]:
    """Take the tensors of some parts out of `tensors`, and return what those parts are.

    Parameters
    ----------
    tensors
        Changed in place.
    parts
        Beginning of the names -> what it is, in words.
    """
    found = {}
    for name in list(tensors):
        for before, what in parts.items():
            if name == before or name.startswith(f"{before}."):
                found[before] = what
                del tensors[name]
                break
    return [f"{before} ({what})" for before, what in found.items()]


@lru_cache(maxsize=256)
def say_unread(path: Path, parts: tuple[str, ...]) -> None:
    """Say once in a line which parts of a file are not read."""
    log.warning("%s: not read, since no site needs it: %s", path, ", ".join(parts))


def _restricted(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of protocols that a damaged file seems to have
        return torch.load(path, map_location="cpu", weights_only=True)


def _state_dict(found: Any, path: Path) -> Mapping[str, torch.Tensor]:
    """Return the state dict that a file holds, bare or inside of a training checkpoint."""
    for _ in range(2):
        if not isinstance(found, Mapping):
            break
        if found and _are_tensors(found.values()):
            return found
        inside = next((found[key] for key in INSIDE if isinstance(found.get(key), Mapping)), None)
        if inside is None:
            break
        found = inside
    if isinstance(found, Mapping) and found and _are_tensors(found.values()):
        return found
    raise InputError(f"{path} holds no state dict; save model.state_dict() of the model")


def _are_tensors(values: Iterable[Any]) -> bool:
    return all(isinstance(value, torch.Tensor) for value in values)
