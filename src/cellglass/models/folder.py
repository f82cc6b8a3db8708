"""The folder that a model is saved in: cfg.json (its kind and all numbers of its architecture) and weights.safetensors.

Writing, reading and fingerprints, for all kinds of models. Nothing is pickled, and nothing here unpickles.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file

from cellglass.errors import InputError, one_line
from cellglass.files import atomic_path, read_json

CFG = "cfg.json"
WEIGHTS = "weights.safetensors"


def write_model(
    folder: Path, cfg: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], written_by: Mapping[str, str]
) -> None:
    """Write `cfg` (which names the ``kind``) and `tensors` to `folder`, whole or not at all."""
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / CFG).write_text(json.dumps({**cfg, "written_by": dict(written_by)}, indent=1) + "\n")
        save_file(_plain(tensors), temporary / WEIGHTS)


def write_net(folder: Path, kind: str, genes: Iterable[str], net: torch.nn.Module, **cfg: Any) -> None:
    """Write the weights of a network whose code is elsewhere, with its genes, as `write_model` does."""
    from importlib.metadata import version

    held = {"kind": kind, "layout": 1, "genes": [str(gene) for gene in genes], **cfg}
    write_model(Path(folder), held, net.state_dict(), {"cellglass": version("cellglass")})


def read_cfg(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """Return the configuration of a saved model; InputError where it is none, or not of the given `kind`."""
    missing = f"{folder} holds no model: there is no {CFG} in it; give the folder of a saved model"
    cfg = read_json(folder / CFG, missing=missing, way_out="save the model again")
    if not isinstance(cfg, dict) or not isinstance(cfg.get("kind"), str):
        raise InputError(f"{folder / CFG} names no model kind; give the folder of a model that cellglass saved")
    if kind is not None and cfg["kind"] != kind:
        raise InputError(f"{folder} holds a model of kind {cfg['kind']!r}, not {kind!r}; use cellglass.models.load")
    return cfg


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights in `folder`; InputError where they are missing or damaged."""
    path = folder / WEIGHTS
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{folder} has a {CFG} but no {WEIGHTS}; copy the whole folder") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged ({one_line(error)}); copy or save the model again") from None


def digest(cfg: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 of a configuration and weights: the same for a model and for its copy read from disk."""
    found = hashlib.sha256(json.dumps(cfg, sort_keys=True).encode())
    found.update(save(_plain(tensors)))
    return found.hexdigest()


def _plain(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # Clones: safetensors refuses tensors that share memory.
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in sorted(tensors.items())}
