"""What every benchmark shares: its flags, the description of the machine, the rows, how they are written and shown.

A benchmark defines ``run(quick: bool) -> Iterable[Row]`` and ends with ``main(run)``. It measures; it asserts nothing
about time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

_LIBRARIES = ("numpy", "scipy", "torch", "anndata", "scanpy", "scvi-tools", "decoupler", "cellglass")


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes
    ----------
    metric : str
        What was measured, such as ``seconds`` or ``swaps_per_second``.
    name : str
        Who was measured on what, such as ``gsea 1,000 rankings x 3,000 genes x 500 sets``.
    value : float
        The figure, in `unit`.
    unit : str
        Such as ``s``, ``1/s``, ``MiB``.
    versus : str or None
        The peer or the naive way that was timed in the same run; None where there is none.
    ratio : float or None
        Ours over theirs, above 1 where ours is better (so theirs over ours for seconds and bytes).
    """

    metric: str
    name: str
    value: float
    unit: str
    versus: str | None = None
    ratio: float | None = None


@dataclass
class Timer:
    """Seconds that a block took; filled when the block ends."""

    seconds: float = field(default=float("nan"))


@contextmanager
def timed() -> Iterator[Timer]:
    """Time a block: ``with timed() as t: ...`` and then ``t.seconds``."""
    timer = Timer()
    start = time.perf_counter()
    try:
        yield timer
    finally:
        timer.seconds = time.perf_counter() - start


def machine() -> dict[str, object]:
    """Describe the machine and the libraries that the figures were measured with."""
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "load_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def main(run: Callable[[bool], Iterable[Row]]) -> None:
    """Parse ``--quick`` and ``--json FILE``, run, show each row as it comes, and write all of them at the end."""
    parser = argparse.ArgumentParser(description=(run.__doc__ or "").strip().split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="a smaller run, under two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the machine and the rows here")
    options = parser.parse_args()
    about = machine()
    rows = []
    for row in run(options.quick):
        rows.append(row)
        versus = f"   {row.ratio:.3g}x {row.versus}" if row.ratio is not None else ""
        print(f"{row.name:<60} {row.metric:<24} {row.value:>12.4g} {row.unit:<6}{versus}", flush=True)
    if options.json is not None:
        text = json.dumps({"machine": about, "rows": [asdict(row) for row in rows]}, indent=2, allow_nan=False)
        options.json.write_text(text + "\n", encoding="utf-8")


def write_rows(path: Path, about: dict[str, object], rows: Iterable[Row]) -> None:
    """Write the machine and the rows, a line each, as JSON."""
    lines = ",\n  ".join(json.dumps(asdict(row), allow_nan=False) for row in rows)
    path.write_text(f'{{\n "machine": {json.dumps(about)},\n "rows": [\n  {lines}\n ]\n}}\n', encoding="utf-8")


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
