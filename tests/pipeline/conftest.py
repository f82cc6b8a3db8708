"""Two small real runs, which the tests of all stages look at: simulated cells, scVI, everything after it.

Each is made once for all workers, so a test that writes into one copies it first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cellglass.cells import Cells, Simulated, simulate
from cellglass.enrichment import GeneSets, write_gmt
from cellglass.pipeline.config import DictionaryConfig, RunConfig, make_config
from cellglass.pipeline.explain import run_pipeline
from cellglass.pipeline.run import Run
from once import once
from short import few_steps


@pytest.fixture(scope="module", autouse=True)
def short_training() -> Iterator[None]:
    """Train dictionaries for a moment in all that is run here."""
    with few_steps():
        yield


def _made(factory: pytest.TempPathFactory, name: str, cells: Cells, config: RunConfig) -> Run:
    """Return a finished run."""

    def make(place: Path) -> None:
        with few_steps():
            run_pipeline(cells, config, place)

    return Run(once(factory, name, make), config, {"cells": cells})


@pytest.fixture(scope="session")
def planted() -> Simulated:
    """Return 400 cells of 150 genes with six planted programs."""
    return simulate(n_cells=400, n_genes=150, n_programs=6, genes_per_program=12, n_types=3, seed=1)


@pytest.fixture(scope="session")
def gmt(planted: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a GMT file whose sets are the planted programs."""

    def make(folder: Path) -> None:
        programs = planted.programs
        sets = {str(name): tuple(map(str, programs.index[programs[name] > 0])) for name in programs}
        folder.mkdir()
        write_gmt(GeneSets("planted", sets), folder / "planted.gmt")

    return once(tmp_path_factory, "sets", make) / "planted.gmt"


@pytest.fixture(scope="session")
def small_config(gmt: Path) -> RunConfig:
    """Return settings that take seconds."""
    return make_config(
        {
            "cells": {"labels": ["cell_type"]},
            "model": {"epochs": 15, "latent": 8, "width": 32},
            "dictionary": {"kind": "matryoshka", "seeds": 2, "splits": 0, "latents": 24, "k": 4},
            "attribution": {"prototypes": 6, "partners": 2, "steps": 8},
            "enrichment": {"gene_sets": [str(gmt)], "permutations": 100},
        }
    )


@pytest.fixture(scope="session")
def default_run(planted: Simulated, small_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a finished run with the dictionary that there is by default, of its default size."""
    config = replace(small_config, dictionary=DictionaryConfig(seeds=2, pairs=8))
    return _made(tmp_path_factory, "default run", planted.cells, config)


@pytest.fixture(scope="session")
def small_run(planted: Simulated, small_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a finished run with a plain dictionary from two seeds."""
    return _made(tmp_path_factory, "small run", planted.cells, small_config)
