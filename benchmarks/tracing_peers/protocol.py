"""What the scripts here share: a job as JSON, repeats on the clock, and the memory of the process.

Every script is started as ``python NAME.py JOB.json``; it traces one prompt of one model with one set of transcoders
and writes ``result.json``, and what the graph was, into the job's folder. Only torch and the standard library are
imported, so every environment can run this.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

Made = TypeVar("Made")


@dataclass(frozen=True)
class Job:
    """What to trace.

    Attributes
    ----------
    model : Path
        Folder of a Llama as transformers saves it.
    transcoders : Path
        Folder with a dictionary of cellglass for each layer, and ``circuit_tracer``, the same as that library has them.
    tokens : tuple of int
        The prompt; it begins with a special token.
    out : Path
    repeats : int
    threads : int
    most : int or None
        Features of the graph; None takes all.
    save : bool
        Whether the graph is kept.
    sample : int
        Nodes that one backward pass each is timed on.
    """

    model: Path
    transcoders: Path
    tokens: tuple[int, ...]
    out: Path
    repeats: int = 1
    threads: int = 2
    most: int | None = None
    save: bool = False
    sample: int = 32

    @classmethod
    def read(cls, path: Path) -> Job:
        """Return the job of a file."""
        given = json.loads(path.read_text(encoding="utf-8"))
        places = {name: Path(given.pop(name)) for name in ("model", "transcoders", "out")}
        return cls(**places, tokens=tuple(given.pop("tokens")), **given)

    def repeat(self, work: Callable[[], Made]) -> tuple[Made, list[float]]:
        """Return what `work` makes at last, and the seconds of each time; one made graph is gone before the next."""
        took: list[float] = []
        made: Made | None = None
        for _ in range(self.repeats):
            made = None
            gc.collect()
            start = time.perf_counter()
            made = work()
            took.append(time.perf_counter() - start)
        assert made is not None  # noqa: S101  there is at least one repeat
        return made, took

    def tell(self, **result: object) -> None:
        """Write ``result.json``, with the largest memory of this process in it."""
        (self.out / "result.json").write_text(json.dumps({**result, "peak_mib": memory_mib("VmHWM")}), encoding="utf-8")


def start() -> Job:
    """Return the job of the command line, with the threads set."""
    job = Job.read(Path(sys.argv[1]))
    torch.set_num_threads(job.threads)
    return job


def memory_mib(which: str) -> float:
    """Return the resident memory of this process, MiB: now (``VmRSS``), or the largest so far (``VmHWM``)."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith(which):
                return float(line.split()[1]) / 2**10
    if os.name == "posix":
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return float("nan")
