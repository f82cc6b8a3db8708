"""What is made once is found by the next who asks; what was broken off is made anew; the longest files are there."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from conftest import LONGEST
from once import once


class Factory:
    """As pytest's own, in a folder of this test."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def getbasetemp(self) -> Path:
        return self.base


def test_it_is_made_once_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each worker has a folder of its own, all in one of the session."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    made: list[Path] = []

    def make(place: Path) -> None:
        made.append(place)
        place.write_text("long work")

    def ask(worker: str) -> None:
        found.append(once(Factory(tmp_path / worker), "a name", make))  # type: ignore[arg-type]

    found: list[Path] = []
    threads = [threading.Thread(target=ask, args=(f"gw{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == 4 * made
    assert made[0].is_relative_to(tmp_path)
    assert found[0].read_text() == "long work"


def test_what_was_broken_off_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def fails(place: Path) -> None:
        place.mkdir()
        (place / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        once(Factory(tmp_path), "a name", fails)  # type: ignore[arg-type]
    assert not list(once(Factory(tmp_path), "a name", Path.mkdir).iterdir())  # type: ignore[arg-type]


def test_the_files_that_take_longest_are_there() -> None:
    assert len(set(LONGEST)) == len(LONGEST)
    assert [name for name in LONGEST if not (Path(__file__).parent / name).is_file()] == []
