"""What an interrupted training goes on from: one safetensors file with weights, moments, counters and place.

What goes on comes to the same weights, bit for bit, as what was not interrupted: on the processor of one machine, with
one number of threads. Written whole or not at all. A file that belongs to another training is an error; it is never
silently gone on with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cellglass.errors import InputError
from cellglass.files import atomic_path

if TYPE_CHECKING:
    from cellglass.dictionaries.training.batches import BatchSource
    from cellglass.dictionaries.training.trainer import Training


def write(path: Path, belongs: str, trainings: Sequence[Training], source: BatchSource) -> None:
    """Write the state of `trainings`, which read one `source`; `belongs` names what they depend on."""
    tensors: dict[str, torch.Tensor] = {}
    numbers = []
    for i, training in enumerate(trainings):
        held, plain = training.state()
        tensors |= {f"{i}/{name}": value.detach().cpu().contiguous() for name, value in held.items()}
        numbers.append(plain)
    about = {"belongs": belongs, "epoch": source.epoch, "number": source.number, "trainings": numbers}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"cellglass": json.dumps(about)})


def resume(path: Path, belongs: str, trainings: Sequence[Training], source: BatchSource) -> bool:
    """Bring `trainings` and `source` to the state in `path`; False where there is none."""
    if not path.exists():
        return False
    damaged = f"{path}: is no whole checkpoint of a training; remove it to start anew"
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["cellglass"])
            owner = about["belongs"]
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(damaged) from error
    if owner != belongs:
        raise InputError(
            f"{path}: is the checkpoint of another training (other rows, settings or seed); remove it to start anew"
        )
    for i, (training, numbers) in enumerate(zip(trainings, about["trainings"], strict=True)):
        own = f"{i}/"
        try:
            training.restore({n.removeprefix(own): v for n, v in tensors.items() if n.startswith(own)}, numbers)
        except KeyError as error:
            raise InputError(damaged) from error
    source.seek(int(about["epoch"]), int(about["number"]))
    return True
