"""One shard of a store: a safetensors file with the rows of one site for consecutive cells, memory-mapped for reading.

Tensors in it: ``activations`` (rows, width), where the model has a posterior its standard deviations ``spread`` of the
same shape, ``cell`` int32 (rows) and, at a site with one row for each token, ``gene`` int32 (rows). It knows nothing of
the store around it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file

from cellglass.errors import InputError
from cellglass.files import atomic_path

DType = Literal["float32", "float16", "bfloat16"]
DTYPES: Mapping[str, torch.dtype] = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

# NumPy has no bfloat16: its bits are read as int16 and seen as bfloat16 by torch.
_NUMPY: Mapping[str, type[Any]] = {"F32": np.float32, "F16": np.float16, "BF16": np.int16, "I32": np.int32}
_LONGEST_HEADER = 1 << 20


def write_shard(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a shard whole or not at all."""
    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)


class Shard:
    """A memory-mapped shard; InputError names the file where it is no whole safetensors file.

    Attributes
    ----------
    path : Path
        The file.
    shapes : dict of str to tuple of int
        Shape of each tensor in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        header, start = _header(path)
        self.shapes: dict[str, tuple[int, ...]] = {name: tuple(entry["shape"]) for name, entry in header.items()}
        self._kinds = {name: str(entry["dtype"]) for name, entry in header.items()}
        self._offsets = {name: start + int(entry["data_offsets"][0]) for name, entry in header.items()}

    def take(self, name: str, rows: np.ndarray[Any, Any] | slice) -> torch.Tensor:
        """Return the rows at `rows` of the tensor called `name`, copied into memory.

        The file is mapped for this call alone: pages of a mapping that stays count as memory of the process for good.
        """
        shape, kind = self.shapes[name], _NUMPY[self._kinds[name]]
        mapped = np.empty(shape, kind) if 0 in shape else np.memmap(self.path, kind, "r", self._offsets[name], shape)
        tensor = torch.from_numpy(np.array(mapped[rows]))
        return tensor.view(torch.bfloat16) if self._kinds[name] == "BF16" else tensor


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the entries of a safetensors header and where the data begin."""
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            length = struct.unpack("<Q", handle.read(8))[0]
            if length > _LONGEST_HEADER:
                raise ValueError("header too long")
            header: dict[str, Any] = json.loads(handle.read(length))
            if not isinstance(header, dict):
                raise ValueError("header is no table")
    except FileNotFoundError:
        raise InputError(f"{path}: this shard is missing; capture the activations again") from None
    except (OSError, ValueError, struct.error) as error:
        raise _broken(path) from error
    header.pop("__metadata__", None)
    try:
        end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
        known = all(entry["dtype"] in _NUMPY and "shape" in entry for entry in header.values())
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise _broken(path) from error
    if not known or size != 8 + length + end:
        raise _broken(path)
    return header, 8 + length


def _broken(path: Path) -> InputError:
    return InputError(f"{path}: this shard is truncated or damaged; remove its store and capture the activations again")
