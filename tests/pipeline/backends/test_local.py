"""The local backend does every unit, in order, and says how far it is."""

from __future__ import annotations

from pathlib import Path

from cellglass.pipeline.backends.local import Local
from cellglass.pipeline.config import RunConfig
from cellglass.pipeline.run import Run
from cellglass.pipeline.stage import Stage, Unit


class Two(Stage):
    name = "two"
    does = "does two things"
    outputs = ()

    def do(self, name: str, folder: Path) -> None:
        (folder / "told").write_text(name)


def test_units_are_done_in_order_and_those_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    stage = Two(Run(tmp_path, RunConfig()))
    units = [Unit(stage, name, tmp_path / name) for name in ("b", "a", "c")]
    units[1].folder.mkdir()
    Local().run(units, lambda *step: heard.append(step))
    assert [(unit.folder / "told").exists() for unit in units] == [True, False, True]
    assert heard == [("two", 0, 3), ("two", 1, 3), ("two", 2, 3), ("two", 3, 3)]
    Local().run([], lambda *step: heard.append(step))
    assert len(heard) == 4
