"""What the scripts here share: the folders in which cellglass and a peer leave dictionaries and answers for each other.

A script is started as ``python NAME.py ROOT`` by the interpreter that has the library. It finds

    ROOT/x.safetensors          inputs: x (n, d)
    ROOT/ours/CASE/             dictionaries that cellglass wrote in the library's format

and leaves

    ROOT/ours/CASE.safetensors      what the library computes with each of them: codes (n, m), out (n, d_out), and
                                    more, where a script says so
    ROOT/theirs/CASE/               dictionaries that the library made and saved by its own method
    ROOT/theirs/CASE.safetensors    what it computes with them

Only torch and safetensors are imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

Answer = tuple[torch.Tensor, torch.Tensor]


class Desk:
    """One ROOT."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.x = load_file(root / "x.safetensors")["x"]

    def ours(self) -> Iterator[Path]:
        """Yield the folders that cellglass wrote."""
        yield from sorted(p for p in (self.root / "ours").iterdir() if p.is_dir())

    def theirs(self, case: str) -> Path:
        """Return a folder for a dictionary of the library."""
        (self.root / "theirs").mkdir(exist_ok=True)
        return self.root / "theirs" / case

    def answer(self, folder: Path, answer: Answer, **more: torch.Tensor) -> None:
        """Leave what the library computes with the dictionary in `folder`."""
        codes, out = (part.detach().to_dense().float().contiguous() for part in answer)
        save_file({"codes": codes, "out": out, **more}, folder.parent / f"{folder.name}.safetensors")


def main(work: Callable[[Desk], None]) -> None:
    """Do `work` at the ROOT of the command line, on one thread and always with the same random numbers."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    work(Desk(Path(sys.argv[1])))
