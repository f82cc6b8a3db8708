"""Stages run once; a change is noticed; a kill loses at most one unit; wrong input leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from cellglass.errors import InputError
from cellglass.files import atomic_path
from cellglass.pipeline.config import RunConfig
from cellglass.pipeline.runner import LOCK, Run, Stage, run_stages


def _write(run: Run, name: str, text: str) -> None:
    with atomic_path(run.path(name)) as temporary:
        temporary.write_text(text)


class Counting:
    """Two stages, where the second reads the first, with a count of how often each ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.first, self.second, self.length = "a", "b", 0

    def stages(self) -> list[Stage]:
        def one(run: Run) -> None:
            self.ran.append("one")
            _write(run, "one.txt", self.first[:1])

        def two(run: Run) -> None:
            self.ran.append("two")
            _write(run, "two.txt", run.path("one.txt").read_text() + self.second)

        return [
            Stage("one", "writes one", one, ("one.txt",), settings=lambda _run: self.first),
            Stage("two", "writes two", two, ("two.txt",), needs=("one",), settings=lambda _run: self.second),
        ]


@pytest.fixture
def counting() -> Counting:
    return Counting()


def test_what_did_not_change_is_not_run_again(tmp_path: Path, counting: Counting) -> None:
    run = Run(tmp_path / "out", RunConfig())
    manifest = run_stages(run, counting.stages())
    assert counting.ran == ["one", "two"]
    assert run.path("two.txt").read_text() == "ab"
    assert {name: stage["state"] for name, stage in manifest["stages"].items()} == {"one": "done", "two": "done"}
    again = run_stages(Run(run.folder, RunConfig()), counting.stages())
    assert counting.ran == ["one", "two"]
    assert again == manifest


def test_what_a_stage_makes_for_some_inputs_only_is_noted_and_goes_with_them(tmp_path: Path) -> None:
    wanted = True

    def work(run: Run) -> None:
        _write(run, "one.txt", "a")
        if wanted:
            run.path("more").mkdir()
            _write(run, "more/two.txt", "b")

    def stages() -> list[Stage]:
        return [Stage("one", "writes", work, ("one.txt",), settings=lambda _run: wanted, optional=("more",))]

    run = Run(tmp_path / "out", RunConfig())
    assert set(run_stages(run, stages())["stages"]["one"]["outputs"]) == {"one.txt", "more"}
    run.path("more", "two.txt").write_text("damaged")
    run_stages(run, stages())
    assert run.path("more", "two.txt").read_text() == "b"
    wanted = False
    assert set(run_stages(run, stages())["stages"]["one"]["outputs"]) == {"one.txt"}
    assert not run.path("more").exists()


def test_a_change_runs_what_depends_on_it_and_no_more(tmp_path: Path, counting: Counting) -> None:
    run = Run(tmp_path / "out", RunConfig())
    run_stages(run, counting.stages())
    counting.second = "B"
    run_stages(run, counting.stages())
    assert counting.ran == ["one", "two", "two"]
    counting.first = "x"
    run_stages(run, counting.stages())
    assert counting.ran == ["one", "two", "two", "one", "two"]
    assert run.path("two.txt").read_text() == "xB"
    counting.first = "x with other settings that give the same output"
    run_stages(run, counting.stages())
    assert counting.ran[5:] == ["one"]  # what it made is as before, so the second is not run again


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("other")])
def test_a_missing_or_changed_output_is_made_again(
    tmp_path: Path, counting: Counting, damage: Callable[[Path], object]
) -> None:
    run = Run(tmp_path / "out", RunConfig())
    run_stages(run, counting.stages())
    damage(run.path("one.txt"))
    run_stages(run, counting.stages())
    assert counting.ran == ["one", "two", "one"]
    assert run.path("one.txt").read_text() == "a"


def test_a_killed_run_goes_on_from_its_finished_units(tmp_path: Path) -> None:
    """Kill the process while it works on the third of five units; the next start does the last three only."""
    code = f"""
import os, signal, sys
from pathlib import Path
from cellglass.pipeline.config import RunConfig
from cellglass.pipeline.runner import Run, Stage, run_stages

def work(name, path):
    print(name, flush=True)
    path.write_text(name)
    if name == "2" and sys.argv[1] == "die":
        os.kill(os.getpid(), signal.SIGKILL)

def stage(run):
    paths = run.units("many", ["0", "1", "2", "3", "4"], work)
    run.path("all.txt").write_text("".join(p.read_text() for p in paths.values()))

run_stages(Run(Path({str(tmp_path / "out")!r}), RunConfig()), [Stage("many", "does units", stage, ("all.txt",))])
"""
    killed = subprocess.run([sys.executable, "-c", code, "die"], capture_output=True, text=True, check=False)
    assert killed.returncode == -9
    assert killed.stdout.split() == ["0", "1", "2"]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["stages"]["many"]["state"] == "running"
    finished = subprocess.run([sys.executable, "-c", code, "live"], capture_output=True, text=True, check=True)
    assert finished.stdout.split() == ["2", "3", "4"]
    assert (tmp_path / "out" / "all.txt").read_text() == "01234"
    assert not list((tmp_path / "out").rglob(".writing-*"))
    assert not list((tmp_path / "out" / "work" / "units").iterdir())


def test_units_of_other_settings_are_dropped(tmp_path: Path) -> None:
    settings = ["first"]

    def stage(run: Run) -> None:
        run.units("many", ["0", "1"], lambda name, path: path.write_text(settings[0] + name))
        raise RuntimeError("stopped")

    stages = [Stage("many", "does units", stage, ("all.txt",), settings=lambda _run: settings[0])]
    run = Run(tmp_path / "out", RunConfig())
    for text in ("first", "second"):
        settings[0] = text
        with pytest.raises(RuntimeError, match="stopped"):
            run_stages(run, stages)
        assert [path.read_text() for path in sorted(run.unit_folder("many").iterdir())] == [f"{text}0", f"{text}1"]
        assert len(list(run.path("work", "units").iterdir())) == 1


def _refuse(_run: Run) -> None:
    raise InputError("wrong")


def test_wrong_input_leaves_no_folder_behind(tmp_path: Path, counting: Counting) -> None:
    quick = Stage("quick", "is quick", lambda run: _write(run, "q", "q"), ("q",), quick=True)
    wrong = Stage("wrong", "finds wrong input", _refuse, ("w",), needs=("quick",))
    with pytest.raises(InputError, match="wrong"):
        run_stages(Run(tmp_path / "out", RunConfig()), [quick, wrong])
    assert not (tmp_path / "out").exists()


def test_wrong_input_after_long_work_keeps_the_work(tmp_path: Path, counting: Counting) -> None:
    wrong = Stage("wrong", "finds wrong input", _refuse, ("w",), needs=("two",))
    with pytest.raises(InputError, match="wrong"):
        run_stages(Run(tmp_path / "out", RunConfig()), [*counting.stages(), wrong])
    assert (tmp_path / "out" / "two.txt").read_text() == "ab"
    run_stages(Run(tmp_path / "out", RunConfig()), counting.stages())
    assert counting.ran == ["one", "two"]


def test_wrong_settings_are_found_before_anything_is_written(tmp_path: Path, counting: Counting) -> None:
    late = Stage("late", "has wrong settings", _refuse, ("w",), settings=_refuse)
    with pytest.raises(InputError, match="wrong"):
        run_stages(Run(tmp_path / "out", RunConfig()), [*counting.stages(), late])
    assert counting.ran == []
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path, counting: Counting) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="holds other files"):
        run_stages(Run(tmp_path, RunConfig()), counting.stages())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    for place in (tmp_path / "thesis.txt", tmp_path / "thesis.txt" / "below"):
        with pytest.raises(InputError, match=r"is a file"):
            run_stages(Run(place, RunConfig()), counting.stages())


def test_two_runs_do_not_work_on_one_folder(tmp_path: Path, counting: Counting) -> None:
    run = Run(tmp_path / "out", RunConfig())
    run_stages(run, counting.stages())
    counting.first = "changed"
    with FileLock(run.path(LOCK)), pytest.raises(InputError, match="another run is at work"):
        run_stages(run, counting.stages())
    assert counting.ran == ["one", "two"]
