"""Processes that are forked from one that has imported what a run imports: each is fresh, and none pays for imports.

What they are to do stands here, where they find it by its name.
"""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from cellglass.pipeline.config import RunConfig
from short import few_steps

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["scanpy", "scvi", "sklearn.linear_model", "torch", "cellglass.pipeline.explain"])


def start(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """Call a function of this module in a process of its own."""
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def end(process: BaseProcess) -> int | None:
    """Wait for its end; return its exit status."""
    process.join()
    return process.exitcode


def run(source: Path, config: RunConfig, out: Path) -> None:
    """Explain the cells of a file."""
    from cellglass.pipeline.explain import run_pipeline

    with few_steps():
        run_pipeline(source, config, out)


def do_units(file: Path) -> None:
    """Do the units of a stage that a file holds, one after the other."""
    with few_steps():
        for unit in pickle.loads(file.read_bytes()):
            unit()
