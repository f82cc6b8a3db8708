"""Units of stages: pickled, in another process, in any order, they make the same bytes."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from cellglass.cells import Simulated
from cellglass.files import sha256
from cellglass.models import ModuleModel
from cellglass.pipeline.config import make_config, merge
from cellglass.pipeline.explain import STAGES
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.stage import Unit
from cellglass.progress import Progress
from forked import do_units, end, start


class Elsewhere:
    """A backend that pickles units, does them in another process, the last one first, and keeps what they made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, units: Sequence[Unit], progress: Progress) -> None:
        file = self.folder / "units.pickle"
        file.write_bytes(pickle.dumps(list(units)[::-1]))
        assert end(start(do_units, file)) == 0
        for unit in units:
            shutil.copytree(unit.folder, self.folder / unit.stage.name / unit.name)


class Kept(Elsewhere):
    """A backend that does units in this process and keeps what they made."""

    def run(self, units: Sequence[Unit], progress: Progress) -> None:
        for unit in units:
            unit()
            shutil.copytree(unit.folder, self.folder / unit.stage.name / unit.name)


@pytest.mark.slow
def test_pickled_units_in_another_process_make_the_same_bytes(
    planted: Simulated, default_run: Run, tmp_path: Path
) -> None:
    cells = tmp_path / "cells.h5ad"
    planted.cells.to_anndata().write_h5ad(cells)
    for backend in (Kept(tmp_path / "here"), Elsewhere(tmp_path / "there")):
        backend.folder.mkdir()
        run_stages(
            Run(tmp_path / f"{backend.folder.name}-atlas", default_run.config, {"cells": cells}), STAGES, backend
        )
    compared = 0
    for stage in STAGES:
        for unit in sorted((tmp_path / "here" / stage.name).iterdir()):
            assert sha256(unit) == sha256(tmp_path / "there" / stage.name / unit.name), f"{stage.name} {unit.name}"
            compared += 1
    assert compared > len(STAGES) + 20


class Net(nn.Module):
    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.first = nn.Linear(n_genes, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x).relu()


def test_what_lies_in_memory_is_on_disk_before_a_unit_is_pickled(
    planted: Simulated, small_run: Run, tmp_path: Path
) -> None:
    cells = planted.cells[:60]
    model = ModuleModel(Net(cells.n_genes), list(cells.genes.index), {"hidden": "first"})
    config = make_config(merge(small_run.config.as_dict(), {"model": {"path": "scvi"}}))
    run = Run(tmp_path / "atlas", config, {"cells": cells, "model": model}, progress=print)
    run_stages(run, STAGES[:3])
    stages = [stage(run) for stage in STAGES[:4]]
    assert [stage.in_memory() for stage in stages] == [True, True, False, False]
    layout = Unit(stages[3], "layout", tmp_path / "layout")
    pickled = pickle.dumps(layout)
    assert len(pickled) < 20_000  # neither cells nor activations go along
    again = pickle.loads(pickled)
    assert set(again.stage.run.inputs) == {"model"}  # its code is with the caller alone
    again()
    assert (tmp_path / "layout" / "layout.npy").exists()
    kept = pickle.loads(pickle.dumps(Run(tmp_path / "atlas", config, {"cells": cells})))
    assert kept.inputs == {}


def test_a_unit_is_done_once_and_whole_or_not_at_all(small_run: Run, tmp_path: Path) -> None:
    class Fails(STAGES[0]):  # type: ignore[valid-type,misc]
        def do(self, name: str, folder: Path) -> None:
            (folder / "half").write_text("x")
            raise RuntimeError("killed")

    unit = Unit(Fails(small_run), "cells", tmp_path / "cells")
    with pytest.raises(RuntimeError, match="killed"):
        unit()
    assert list(tmp_path.iterdir()) == []
    unit.folder.mkdir()
    unit()  # done already
    assert list(unit.folder.iterdir()) == []
