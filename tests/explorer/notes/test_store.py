"""Notes: nothing is lost, nothing is overwritten, and everything can be undone."""

from __future__ import annotations

import gc
import sqlite3
import threading
import warnings
from pathlib import Path

import pytest

from cellglass.errors import InputError
from cellglass.explorer.notes.store import Conflict, Notes


def write(notes: Notes, base: str | None, label: str, *, latent: int = 3, who: str = "Ada", **more: object) -> dict:
    return notes.write({"latent": latent, "who": who, "base": base, "label": label, **more})


def test_a_note_comes_back_whole_after_the_file_is_opened_again(tmp_path: Path) -> None:
    told = {"label": "plasma", "text": "<b>IGJ</b>\nhigh", "confidence": 4, "tags": ["B", "Ig"], "status": "agreed"}
    with Notes(tmp_path / "n.sqlite", "a", range(9)) as notes:
        notes.write({"latent": 3, "who": "Ada", "base": None, **told})
    with Notes(tmp_path / "n.sqlite", "a", range(9)) as notes:
        person = notes.states()[3]["person"]
        assert {name: person[name] for name in told} == told
        assert person["who"] == "Ada"
        assert notes.state(3)["machine"] is None


def test_a_write_on_an_old_base_is_refused_with_what_is_there_now(tmp_path: Path) -> None:
    with Notes(tmp_path / "n.sqlite") as notes:
        first = write(notes, None, "one")["person"]["id"]
        second = write(notes, first, "two", who="Bob")
        with pytest.raises(Conflict) as conflict:
            write(notes, first, "three")
        assert conflict.value.present == second
        assert [r["label"] for r in notes.history(3)] == ["one", "two"]


def test_the_same_write_sent_again_is_kept_once(tmp_path: Path) -> None:
    with Notes(tmp_path / "n.sqlite") as notes:
        assert write(notes, None, "one") == write(notes, None, "one")
        assert len(notes.history(3)) == 1


def test_undo_goes_back_step_by_step_and_keeps_all_history(tmp_path: Path) -> None:
    with Notes(tmp_path / "n.sqlite") as notes:
        base, seen = None, []
        for label in ("one", "two", "three"):
            base = write(notes, base, label)["person"]["id"]
        for _ in range(3):
            state = notes.undo(3, "Ada", base)
            base = state["person"]["id"]
            seen.append(state["person"]["label"])
        assert seen == ["two", "one", ""]
        with pytest.raises(InputError, match="nothing to undo"):
            notes.undo(3, "Ada", base)
        assert len(notes.history(3)) == 6
        base = write(notes, base, "four")["person"]["id"]
        assert notes.undo(3, "Ada", base)["person"]["label"] == ""


def test_machine_and_person_never_cover_each_other(tmp_path: Path) -> None:
    with Notes(tmp_path / "n.sqlite") as notes:
        write(notes, None, "mine")
        state = notes.write({"latent": 3, "who": "namer 1.0", "base": None, "label": "its"}, by="machine")
        assert (state["person"]["label"], state["machine"]["label"]) == ("mine", "its")
        assert (state["person"]["by"], state["machine"]["by"]) == ("person", "machine")


def test_ten_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    def work(number: int) -> None:
        with Notes(tmp_path / "n.sqlite") as own:  # a connection of its own, as another process has
            for turn in range(8):
                while True:
                    present = own.state(3)["person"]
                    try:
                        write(own, present["id"] if present else None, f"{number}/{turn}", who=f"w{number}")
                    except Conflict:
                        continue
                    break

    Notes(tmp_path / "n.sqlite").close()
    threads = [threading.Thread(target=work, args=(i,)) for i in range(10)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    with Notes(tmp_path / "n.sqlite") as notes:
        history = notes.history(3)
    assert sorted(r["label"] for r in history) == sorted(f"{i}/{turn}" for i in range(10) for turn in range(8))
    assert [r["base"] for r in history] == [None, *[r["id"] for r in history[:-1]]]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"latent": 99}, "no concept 99"),
        ({"latent": True}, "latent"),
        ({"latent": "1"}, "latent"),
        ({"who": "  "}, "who"),
        ({"confidence": 6}, "confidence"),
        ({"confidence": True}, "confidence"),
        ({"confidence": 2.5}, "confidence"),
        ({"tags": "x"}, "tags"),
        ({"tags": ["x"] * 21}, "tags"),
        ({"status": "fine"}, "status"),
        ({"label": "x" * 201}, "label"),
        ({"text": "x" * 10_001}, "text"),
        ({"text": "a\x00b"}, "text"),
        ({"text": "\ud800"}, "text"),
        ({"base": "x"}, "base"),
    ],
)
def test_wrong_fields_are_named_and_nothing_is_written(tmp_path: Path, wrong: dict[str, object], word: str) -> None:
    with Notes(tmp_path / "n.sqlite", latents=range(9)) as notes:
        with pytest.raises(InputError, match=word):
            notes.write({"latent": 3, "who": "Ada", "base": None, "label": "x", **wrong})
        assert notes.states() == {}


def test_files_of_others_are_refused_and_left_alone(tmp_path: Path) -> None:
    Notes(tmp_path / "n.sqlite", "one").close()
    with pytest.raises(InputError, match="another atlas"):
        Notes(tmp_path / "n.sqlite", "two")
    (tmp_path / "text").write_text("not a database, and longer than sixteen bytes")
    with pytest.raises(InputError, match="cannot be opened"):
        Notes(tmp_path / "text")
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(InputError, match="another program"):
        Notes(tmp_path / "other.sqlite")


def test_the_file_is_synced_at_each_commit(tmp_path: Path) -> None:
    with Notes(tmp_path / "n.sqlite") as notes:
        assert notes.query("PRAGMA synchronous")[0][0] == 2
        assert notes.query("PRAGMA journal_mode")[0][0] == "wal"


def test_a_write_that_fails_leaves_nothing_and_the_next_one_is_kept(tmp_path: Path) -> None:
    def fail(notes: Notes, how: str) -> None:
        with notes.transaction() as file:
            file.execute("INSERT INTO meta VALUES ('a', 'b')")
            file.execute(how)

    with Notes(tmp_path / "n.sqlite") as notes:
        for how in ("SELECT * FROM nothing", "ROLLBACK"):  # the second as SQLite itself does when the disk is full
            with pytest.raises(sqlite3.OperationalError):
                fail(notes, how)
        assert notes.query("SELECT * FROM meta WHERE key='a'") == []
        assert notes.write({"latent": 1, "who": "Ada", "base": None, "label": "x"})["person"]["label"] == "x"


def test_a_file_that_is_refused_is_closed_again(tmp_path: Path) -> None:
    (tmp_path / "junk.sqlite").write_bytes(b"junk" * 1000)
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("junk.sqlite", "other.sqlite"):
            with pytest.raises(InputError, match=name):
                Notes(tmp_path / name)
        gc.collect()
    assert (tmp_path / "junk.sqlite").read_bytes() == b"junk" * 1000
