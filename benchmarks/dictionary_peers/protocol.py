"""What every training script here shares: its job, the batches, the clock, the snapshots and the result file.

A script is started as ``python train_NAME.py JOB.json`` by the interpreter that has the library, and calls
``main(train)``; `train` sets the library up and lets its own code pull batches from the `Feed`. The clock runs from the
first batch that counts to the last, and stands still while a snapshot is written. Only torch, NumPy and safetensors are
imported, so every environment can run this. It measures nothing of quality: that is done from the snapshots by one
evaluator for all.

A snapshot is the dictionary in one form for all, with which
``f = relu(k largest of (x - before) encoder^T + encoder_bias)`` and ``x_hat = f decoder + bias``:
encoder (m, d), encoder_bias (m,), before (d,), decoder (m, d), bias (d,); and ``check_x``, ``check_x_hat``: a few
held-out rows with the library's own reconstruction, to hold that form against.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from safetensors.torch import save_file

_CHECK_ROWS = 64

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Job:
    """What to train.

    Attributes
    ----------
    vectors : Path
        Folder with ``train.npy`` and ``held.npy``.
    out : Path
        Folder for ``result.json`` and the snapshots.
    d, n_latents, k, batch, steps : int
        The dictionary, and how much it sees.
    warm : int
        First steps that are not timed.
    snapshots : tuple of int
        After how many steps the weights are written; the last one is after all steps.
    threads, seed : int
    device : str
        ``cpu`` or ``cuda``.
    product_every : int
        After how many steps each the encoder's dense product alone is timed, on this batch's shape; 0 for never.
    """

    vectors: Path
    out: Path
    d: int
    n_latents: int
    k: int
    batch: int
    steps: int
    warm: int = 3
    snapshots: tuple[int, ...] = ()
    threads: int = 1
    seed: int = 0
    device: str = "cpu"
    product_every: int = 0

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read a job file."""
        content = json.loads(path.read_text(encoding="utf-8"))
        content["vectors"], content["out"] = Path(content["vectors"]), Path(content["out"])
        content["snapshots"] = tuple(content["snapshots"])
        return cls(**content)


class Feed:
    """Yields the batches of a job in the order of the file, and keeps the time between them.

    A library's loop pulls batches from it with ``for`` or ``next``. When batch s + 1 is asked for, step s is done: the
    clock is read where that is due, and stopped while `weights` is asked for a snapshot or the product is timed. `main`
    calls `finish` once the loop ends. A library that pulls batches ahead of its steps takes them from `batch`, and
    calls `done` after each step. On a GPU all rows are moved there before the clock starts: training is timed, not the
    way to the device.

    Attributes
    ----------
    weights : callable
        Returns the present dictionary in the common form; set it before the first batch is pulled.
    curve : list of (float, int)
        Seconds of training and vectors seen, warm-up left out of both, at each snapshot and at the end.
    product : list of float
        Seconds that each product alone took.
    resident_mib : float
        Memory of the process when the first batch was asked for, MiB.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.weights: Callable[[], Weights] | None = None
        self.rows = Rows(job.vectors / "train.npy")
        if len(self.rows) < job.steps * job.batch:
            raise SystemExit(f"{job.vectors} holds {len(self.rows)} rows; {job.steps} steps of {job.batch} need more")
        self.resident: torch.Tensor | None = None
        if job.device != "cpu":
            self.resident = self.rows.read(0, job.steps * job.batch).to(job.device)
        self.steps = 0
        self.curve: list[tuple[float, int]] = []
        self.product: list[float] = []
        self.resident_mib = float("nan")
        self._clock, self._since, self._pulled = 0.0, float("nan"), 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        return self

    def __len__(self) -> int:
        return self.job.steps

    def __next__(self) -> torch.Tensor:
        """Return the next batch; the step on the one before it is done."""
        if self._pulled:
            self.done(self._pulled)
        else:
            self.start()
        if self._pulled == self.job.steps:
            raise StopIteration
        self._pulled += 1
        return self.batch(self._pulled - 1)

    def batch(self, number: int) -> torch.Tensor:
        """Return one batch, on the job's device; writing to it changes nothing else."""
        start = number * self.job.batch
        if self.resident is not None:
            return self.resident[start : start + self.job.batch].clone()
        return self.rows.read(start, self.job.batch)

    def first(self, batches: int) -> Iterator[torch.Tensor]:
        """Yield the first `batches` batches for statistics that a library takes before it trains; not timed."""
        for number in range(min(batches, self.job.steps)):
            yield self.batch(number)

    def start(self) -> None:
        """Start the clock, and note the memory that the library and the untrained dictionary take."""
        self.resident_mib = memory_mib("VmRSS")
        self._since = self._now()

    def done(self, step: int) -> None:
        """Say that `step` steps are done."""
        if step <= self.steps:
            return
        self.steps = step
        job = self.job
        timed = bool(job.product_every) and step > job.warm and step % job.product_every == 0
        if step not in (job.warm, job.steps, *job.snapshots) and not timed:
            return
        self._clock += self._now() - self._since
        if step <= job.warm:
            self._clock = 0.0
        elif step == job.steps or step in job.snapshots:
            self.curve.append((self._clock, (step - job.warm) * job.batch))
        if timed:
            self._time_product()
        if step in job.snapshots:
            self._snapshot(step)
        self._since = self._now()

    def finish(self) -> None:
        """Close the last step of a loop that pulled exactly as many batches as there are steps."""
        self.done(self._pulled)
        if self.steps != self.job.steps:
            raise SystemExit(f"{self.steps} of {self.job.steps} steps were trained")

    def _now(self) -> float:
        if self.job.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    def _time_product(self) -> None:
        job = self.job
        noise = torch.Generator().manual_seed(0)
        x, encoder = (torch.randn(n, job.d, generator=noise).to(job.device) for n in (job.batch, job.n_latents))
        bias, out = torch.zeros(job.n_latents, device=job.device), x.new_zeros(job.batch, job.n_latents)
        start = self._now()
        torch.addmm(bias, x, encoder.T, out=out)
        self.product.append(self._now() - start)

    def _snapshot(self, step: int) -> None:
        """Write the present dictionary."""
        assert self.weights is not None, "set Feed.weights before the first batch"  # noqa: S101
        tensors = {name: value.detach().float().cpu().contiguous().clone() for name, value in self.weights().items()}
        save_file(tensors, self.job.out / f"step-{step:06d}.safetensors")

    def device_peak_mib(self) -> float | None:
        """Return the most memory that tensors took on the GPU, the rows left out, MiB; None without one."""
        if self.resident is None:
            return None
        return (torch.cuda.max_memory_allocated() - self.resident.nbytes) / 2**20

    def check_rows(self) -> torch.Tensor:
        """Return a few held-out rows, for a library's own reconstruction."""
        return Rows(self.job.vectors / "held.npy").read(0, _CHECK_ROWS).to(self.job.device)


class Rows:
    """Rows of a ``.npy`` file, read and not mapped, so that they do not count as memory of the process for good."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        if npy.read_magic(self._file) != (1, 0):
            raise SystemExit(f"{path}: is no .npy file of version 1.0")
        (self._n, self._d), fortran, dtype = npy.read_array_header_1_0(self._file)
        if fortran or dtype != np.dtype("<f4"):
            raise SystemExit(f"{path}: does not hold float32 rows")
        self._start = self._file.tell()

    def __len__(self) -> int:
        return self._n

    def read(self, start: int, n: int) -> torch.Tensor:
        """Return rows start to start + n as a tensor of their own."""
        out = np.empty((min(n, self._n - start), self._d), np.float32)
        self._file.seek(self._start + start * self._d * 4)
        self._file.readinto(memoryview(out).cast("B"))
        return torch.from_numpy(out)


def main(train: Callable[[Job, Feed], dict[str, Any]]) -> None:
    """Run `train` on the job that the command line names; it returns what to note about the library's settings."""
    job = Job.read(Path(sys.argv[1]))
    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)
    feed = Feed(job)
    settings = train(job, feed)
    feed.finish()
    result = {
        "curve": feed.curve,
        "product": feed.product,
        "threads": job.threads,
        "peak_mib": memory_mib("VmHWM"),
        "resident_mib": feed.resident_mib,
        "device_peak_mib": feed.device_peak_mib(),
        "torch": torch.__version__,
        "settings": settings,
    }
    (job.out / "result.json").write_text(json.dumps(result), encoding="utf-8")


def without_init(name: str) -> None:
    """Register the package `name` without running its ``__init__``, so that its parts can be imported alone."""
    found = importlib.util.find_spec(name)
    if found is None:
        raise SystemExit(f"{name} is not installed for {sys.executable}")
    package = types.ModuleType(name)
    package.__path__ = list(found.submodule_search_locations or [])
    sys.modules[name] = package


def memory_mib(which: str) -> float:
    """Return the resident memory of this process, MiB: now (``VmRSS``), or the largest so far (``VmHWM``).

    Where the system keeps no such account, the largest is told in both cases; on Windows nothing is.
    """
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
