"""Stages run once; a change is noticed; a kill loses at most one unit; wrong input leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from cellglass.errors import InputError
from cellglass.files import LOCK
from cellglass.pipeline.config import RunConfig
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.stage import Stage


class Writes(Stage):
    """Writes one text; what it writes and what it depends on are set on the class."""

    does = "writes"
    text = staticmethod(lambda _run: "")
    depends = staticmethod(lambda _run: None)

    def settings(self) -> Any:
        return self.depends(self.run)

    def do(self, name: str, folder: Path) -> None:
        (folder / self.outputs[0]).write_text(self.text(self.run))


def stage(name: str, text: Any, **facts: Any) -> type[Stage]:
    facts = {"outputs": (f"{name}.txt",), **facts}
    return type(name, (Writes,), {"name": name, "text": staticmethod(text), **facts})


class Counting:
    """Two stages, where the second reads the first, with a count of how often each ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.first, self.second = "a", "b"

    def stages(self) -> list[type[Stage]]:
        def one(_run: Run) -> str:
            self.ran.append("one")
            return self.first[:1]

        def two(run: Run) -> str:
            self.ran.append("two")
            return run.path("one.txt").read_text() + self.second

        return [
            stage("one", one, depends=staticmethod(lambda _run: self.first)),
            stage("two", two, needs=("one",), depends=staticmethod(lambda _run: self.second)),
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

    class One(Writes):
        name = "one"
        outputs = ("one.txt",)
        optional = ("more",)

        def settings(self) -> Any:
            return wanted

        def do(self, name: str, folder: Path) -> None:
            (folder / "one.txt").write_text("a")
            if wanted:
                (folder / "more").mkdir()
                (folder / "more" / "two.txt").write_text("b")

    run = Run(tmp_path / "out", RunConfig())
    assert set(run_stages(run, [One])["stages"]["one"]["outputs"]) == {"one.txt", "more"}
    run.path("more", "two.txt").unlink()
    run.path("more", "two.txt").write_text("damaged")
    run_stages(run, [One])
    assert run.path("more", "two.txt").read_text() == "b"
    wanted = False
    assert set(run_stages(run, [One])["stages"]["one"]["outputs"]) == {"one.txt"}
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
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.stage import Stage

class Many(Stage):
    name, does, outputs = "many", "does units", ("all.txt",)

    def units(self):
        return ["0", "1", "2", "3", "4"]

    def do(self, name, folder):
        print(name, flush=True)
        (folder / "part.txt").write_text(name)
        if name == "2" and sys.argv[1] == "die":
            os.kill(os.getpid(), signal.SIGKILL)

    def join(self, made):
        if sys.argv[1] == "die late":
            self.run.path("all.txt").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        self.run.path("all.txt").write_text("".join((p / "part.txt").read_text() for p in made.values()))

run_stages(Run(Path({str(tmp_path / "out")!r}), RunConfig()), [Many])
"""
    killed = subprocess.run([sys.executable, "-c", code, "die"], capture_output=True, text=True, check=False)
    assert killed.returncode == -9
    assert killed.stdout.split() == ["0", "1", "2"]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["stages"]["many"]["state"] == "running"
    late = subprocess.run([sys.executable, "-c", code, "die late"], capture_output=True, text=True, check=False)
    assert (late.returncode, late.stdout.split()) == (-9, ["2", "3", "4"])
    finished = subprocess.run([sys.executable, "-c", code, "live"], capture_output=True, text=True, check=True)
    assert finished.stdout.split() == []
    assert (tmp_path / "out" / "all.txt").read_text() == "01234"
    assert not list((tmp_path / "out").rglob(".writing-*"))
    assert not list((tmp_path / "out" / "work" / "units").iterdir())


def test_units_of_other_settings_are_dropped(tmp_path: Path) -> None:
    settings = ["first"]

    class Many(Writes):
        name = "many"
        outputs = ("all.txt",)

        def settings(self) -> Any:
            return settings[0]

        def units(self) -> list[str]:
            return ["0", "1"]

        def do(self, name: str, folder: Path) -> None:
            (folder / "part.txt").write_text(settings[0] + name)

        def join(self, made: Mapping[str, Path]) -> None:
            raise RuntimeError("stopped")

    run = Run(tmp_path / "out", RunConfig())
    for text in ("first", "second"):
        settings[0] = text
        with pytest.raises(RuntimeError, match="stopped"):
            run_stages(run, [Many])
        found = sorted(run.unit_folder("many").glob("*/part.txt"))
        assert [path.read_text() for path in found] == [f"{text}0", f"{text}1"]
        assert len(list(run.path("work", "units").iterdir())) == 1


def _refuse(_run: Run) -> str:
    raise InputError("wrong")


def test_wrong_input_leaves_no_folder_behind(tmp_path: Path, counting: Counting) -> None:
    quick = stage("quick", lambda _run: "q", quick=True)
    wrong = stage("wrong", _refuse, needs=("quick",))
    with pytest.raises(InputError, match="wrong"):
        run_stages(Run(tmp_path / "out", RunConfig()), [quick, wrong])
    assert not (tmp_path / "out").exists()


def test_wrong_input_after_long_work_keeps_the_work(tmp_path: Path, counting: Counting) -> None:
    wrong = stage("wrong", _refuse, needs=("two",))
    with pytest.raises(InputError, match="wrong"):
        run_stages(Run(tmp_path / "out", RunConfig()), [*counting.stages(), wrong])
    assert (tmp_path / "out" / "two.txt").read_text() == "ab"
    run_stages(Run(tmp_path / "out", RunConfig()), counting.stages())
    assert counting.ran == ["one", "two"]


def test_wrong_settings_are_found_before_anything_is_written(tmp_path: Path, counting: Counting) -> None:
    late = stage("late", lambda _run: "", depends=staticmethod(_refuse))
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
