"""Peak memory of training on 100,000 and on 10,000,000 vectors, each one pass, from a store on disk.

Each training is a process of its own, whose largest resident memory (``VmHWM`` of Linux: the account that
``getrusage`` keeps begins with that of the parent) is read when it ends; beside it stands what the
dictionary, its optimizer state and two buffers of rows come to. The vectors are random: memory does not ask what they
mean.

    python benchmarks/dictionary_memory.py --json benchmarks/results/dictionary_memory.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from common import Row, main

from cellglass.activations import SiteBatch, Writer
from cellglass.activations.manifest import StoredSite
from cellglass.activations.rows import BUFFER_FLOATS

WIDTH, LATENTS, K, BATCH = 256, 1024, 32, 4096
_PIECE = 65_536
_TRAIN = """
import json, sys
from pathlib import Path
from cellglass.activations import open_store
from cellglass.dictionaries import TopK, TopKConfig, TrainConfig, train

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

folder, width, latents, k, batch, steps = sys.argv[1], *map(int, sys.argv[2:])
rows = open_store(folder).rows("z")
resident = peak()
if steps:
    config = TrainConfig(batch_size=batch, steps=steps, patience=steps)
    train(TopK(TopKConfig(width, latents, k)), rows, config)
print(json.dumps([resident, peak()]))
"""


def run(quick: bool) -> Iterable[Row]:
    """Measure peak memory for few and for many vectors."""
    small, large = (20_000, 400_000) if quick else (100_000, 10_000_000)
    needed = 4 * (2 * LATENTS * WIDTH) * 5 / 2**20 + 2 * 4 * BUFFER_FLOATS / 2**20
    yield Row("memory", "weights, best weights, gradients, two moments, and two buffers of rows", needed, "MiB")
    peaks = {}
    with tempfile.TemporaryDirectory(dir=Path(__file__).parents[1] / "build") as folder:
        for n in (small, large):
            _write(Path(folder) / str(n), n)
            before, peaks[n] = _measure(Path(folder) / str(n), n // BATCH)
            name = f"training on {n:,} vectors of {WIDTH}, {LATENTS:,} latents"
            yield Row("peak_memory", name, peaks[n] / 1024, "MiB")
            yield Row("memory_before_training", name, before / 1024, "MiB")
    yield Row(
        "growth", f"{large:,} against {small:,} vectors", (peaks[large] - peaks[small]) / 1024, "MiB",
        f"{small:,} vectors", peaks[small] / peaks[large],
    )  # fmt: skip


def _write(folder: Path, n: int) -> None:
    """Write a store of `n` vectors, piece by piece."""
    rng = torch.Generator().manual_seed(0)
    writer = Writer(folder, n, "random", {"z": StoredSite(WIDTH, dtype="float16")})
    for start in range(0, n, _PIECE):
        stop = min(n, start + _PIECE)
        rows = torch.randn(stop - start, WIDTH, generator=rng)
        writer.add(stop, {"z": SiteBatch(rows, np.arange(start, stop, dtype=np.int64))})
    writer.close()


def _measure(folder: Path, steps: int) -> tuple[float, float]:
    arguments = [str(folder), *map(str, (WIDTH, LATENTS, K, BATCH, steps))]
    done = subprocess.run([sys.executable, "-c", _TRAIN, *arguments], capture_output=True, text=True, check=True)
    before, peak = json.loads(done.stdout.splitlines()[-1])
    return before, peak


if __name__ == "__main__":
    main(run)
