"""Seconds, memory and disk of a run by the number of cells, stage by stage, with an embedding that lies in the file.

Cells are drawn from 12,261 real ones (Kang et al. 2018, control cells) and thinned, so that no two are equal; their
embedding is the first 20 principal components with noise. Where those cells are not beside the project, the bundled
ones are drawn from. Each run is a process of its own, whose memory is sampled
every tenth of a second: *anonymous* memory is what the process holds, *resident* counts pages of mapped files too,
which the kernel takes back when it needs them. A stage grows as cells to the power of ``log(ratio) / log(cells)``.

    python benchmarks/scale.py --json benchmarks/results/scale.json
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData, read_h5ad
from anndata.io import write_elem
from common import Row, main

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data" / "cells" / "kang_ctrl_12261x1287.h5ad"
SETS = ROOT.parent / "shared" / "data" / "genesets" / "hallmark_v7.0.gmt"
WIDTH, KEPT, BLOCK = 20, 0.9, 20_000


def run(quick: bool) -> Iterable[Row]:
    """Run the pipeline on growing numbers of cells."""
    sizes = (500, 2_000) if quick else (10_000, 100_000, 1_000_000)
    before: tuple[int, dict[str, float]] | None = None
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            yield from (rows := list(_one(Path(folder), n)))
        seconds = {row.name.split(",")[0]: row.value for row in rows if row.unit == "s"}
        for name, value in seconds.items() if before else ():
            least = before[1].get(name, 0.0) if before else 0.0
            if before and least >= 1:
                power = math.log(value / least) / math.log(n / before[0])
                yield Row("growth", f"{name}, {before[0]:,} to {n:,} cells", power, "power of cells")
        before = (n, seconds)


def _one(folder: Path, n: int) -> Iterable[Row]:
    write_cells(folder / "cells.h5ad", n)
    options = ["--model", "obsm:X_pca", "--labels", "cell_type"]
    options += ["--gene-sets", str(SETS)] if SETS.exists() else []
    command = [sys.executable, "-m", "cellglass", "run", str(folder / "cells.h5ad"), "--out", str(folder / "atlas")]
    start = time.perf_counter()
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    memory = Memory(process.pid)
    memory.start()
    status = process.wait()
    total = time.perf_counter() - start
    memory.join()
    if status:
        raise RuntimeError(f"the run on {n:,} cells failed")
    of = f", {n:,} cells"
    stages = json.loads((folder / "atlas" / "manifest.json").read_text())["stages"]
    for name, stage in stages.items():
        yield Row("seconds", name + of, stage["seconds"], "s")
    yield Row("seconds", "whole run" + of, total, "s")
    yield Row("memory", "anonymous, at most" + of, memory.anonymous / 2**20, "GiB")
    yield Row("memory", "resident, at most" + of, memory.resident / 2**20, "GiB")
    for part in ("", "work"):
        size = sum(path.stat().st_size for path in (folder / "atlas" / part).rglob("*") if path.is_file())
        yield Row("disk", f"{part or 'atlas'}{of}", size / n / 1000, "KB a cell")
    yield Row("disk", "the user's file" + of, (folder / "cells.h5ad").stat().st_size / n / 1000, "KB a cell")


class Memory(threading.Thread):
    """Samples the memory of a process until it ends: KiB, the largest that was seen."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.status = Path(f"/proc/{pid}/status")
        self.anonymous = self.resident = 0

    def run(self) -> None:
        """Look ten times a second."""
        while True:
            try:
                lines = dict(line.split(":", 1) for line in self.status.read_text().splitlines())
            except OSError:
                return
            if "RssAnon" not in lines:
                return
            kib = {name: int(lines[name].split()[0]) for name in ("RssAnon", "RssShmem", "VmRSS")}
            self.anonymous = max(self.anonymous, kib["RssAnon"] + kib["RssShmem"])
            self.resident = max(self.resident, kib["VmRSS"])
            time.sleep(0.1)


def write_cells(path: Path, n: int, seed: int = 0) -> None:
    """Write `n` cells that look like the real ones, block by block."""
    noise = np.random.default_rng(seed)
    real = _real()
    counts = sp.csr_matrix(real.X)
    embedded = _components(real)
    chosen = noise.integers(0, counts.shape[0], n)
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        obs = real.obs.iloc[chosen][["cell_type", "donor"]].set_index(pd.Index([f"c{i}" for i in range(n)]))
        write_elem(file, "obs", obs)
        write_elem(file, "var", real.var)
        matrix = file.create_group("X")
        shape = [n, counts.shape[1]]
        matrix.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape})
        parts: dict[str, Any] = {
            name: matrix.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(1 << 18,))
            for name, dtype in (("data", "f4"), ("indices", "i4"))
        }
        lengths, rows = [], []
        for start in range(0, n, BLOCK):
            mine = chosen[start : start + BLOCK]
            block = counts[mine]
            block.data = noise.binomial(block.data.astype(np.int64), KEPT).astype(np.float32)
            block.eliminate_zeros()
            for name, array in parts.items():
                array.resize((len(array) + block.nnz,))
                array[len(array) - block.nnz :] = getattr(block, name)
            lengths.append(np.diff(block.indptr).astype(np.int64))
            rows.append(embedded[mine] + 0.1 * embedded.std(0) * noise.standard_normal((len(mine), WIDTH)))
        matrix.create_dataset("indptr", data=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]))
        write_elem(file, "obsm", {"X_pca": np.concatenate(rows).astype(np.float32)})
        for name in ("layers", "uns", "varm", "obsp", "varp"):
            write_elem(file, name, {})


def _real() -> AnnData:
    """Return the cells that are drawn from, with ``cell_type`` and ``donor``."""
    if REAL.exists():
        return read_h5ad(REAL)
    from cellglass import demo_cells

    cells = demo_cells().to_anndata()
    cells.obs = cells.obs.rename(columns={"bulk_labels": "cell_type", "phase": "donor"})
    return cells


def _components(real: AnnData) -> np.ndarray[Any, Any]:
    from sklearn.decomposition import TruncatedSVD

    total = np.asarray(real.X.sum(axis=1)).ravel()
    logged = (sp.diags(1e4 / total) @ sp.csr_matrix(real.X)).log1p()
    found: np.ndarray[Any, Any] = TruncatedSVD(WIDTH, random_state=0).fit_transform(logged)
    return found - found.mean(0)


if __name__ == "__main__":
    main(run)
