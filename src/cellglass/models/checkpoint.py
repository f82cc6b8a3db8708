"""The state of a fit between two epochs, in one safetensors file: weights, the optimizer's moments, a count.

An epoch draws from the seed and its own number alone, so nothing else is needed to go on to the same weights. A file
of a run with other cells or settings, and one that cannot be read, is passed over: training starts anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cellglass.files import atomic_path

logger = logging.getLogger(__name__)

_ROWS = 1000
_WEIGHTS, _MOMENTS = "weights/", "moments/"


def digest_of(counts: sp.csr_matrix, names: Iterable[Any], settings: Any, *arrays: np.ndarray[Any, Any]) -> str:
    """Return a digest of all that a fit depends on; of the counts, the row lengths and every n-th row of 1,000.

    Parameters
    ----------
    counts
        Raw counts.
    names
        Of the genes.
    settings
        As JSON can hold them.
    *arrays
        Whatever else there is, such as covariates.
    """
    some = counts[np.unique(np.linspace(0, counts.shape[0] - 1, _ROWS).astype(np.int64))]
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for part in (counts.indptr, some.indices, some.data, *arrays):
        found.update(np.ascontiguousarray(part).tobytes())
    found.update("\n".join(map(str, names)).encode())
    return found.hexdigest()


def write_state(
    path: Path, belongs: str, epoch: int, weights: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer
) -> None:
    """Write the state after `epoch` epochs of the run that `belongs` names, whole or not at all."""
    tensors = {f"{_WEIGHTS}{name}": tensor for name, tensor in weights.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"{_MOMENTS}{number}/{name}": tensor for name, tensor in state.items()}
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata={"belongs": belongs, "epoch": str(epoch)})


def read_state(
    path: Path | None, belongs: str, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, torch.Tensor]]:
    """Put the optimizer's moments back; return the epoch to go on with and the weights: 0 and none to start anew."""
    if path is None or not path.exists():
        return 0, {}
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            if notes.get("belongs") != belongs:
                logger.info("%s is of a run with other cells or settings; training starts anew", path)
                return 0, {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        logger.warning("%s cannot be read (%s); training starts anew", path, error)
        return 0, {}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_MOMENTS):
            number, _, part = name.removeprefix(_MOMENTS).partition("/")
            state.setdefault(int(number), {})[part] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    weights = {name.removeprefix(_WEIGHTS): tensor for name, tensor in tensors.items() if name.startswith(_WEIGHTS)}
    return int(notes["epoch"]), weights
