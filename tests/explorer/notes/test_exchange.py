"""Merging loses nothing and doubles nothing; what is exported says all of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from cellglass.errors import InputError
from cellglass.explorer.notes.exchange import Merged, export_notes, merge_notes
from cellglass.explorer.notes.store import Notes


def note(notes: Notes, latent: int, label: str, who: str, base: str | None = None, **more: object) -> str:
    return notes.write({"latent": latent, "who": who, "base": base, "label": label, **more})["person"]["id"]


def test_two_people_who_went_on_from_one_note_are_both_kept_and_the_next_write_settles_it(tmp_path: Path) -> None:
    with Notes(tmp_path / "a.sqlite", "x") as ours:
        root = note(ours, 1, "root", "Ada")
        with Notes(tmp_path / "b.sqlite", "x") as theirs:
            assert merge_notes(theirs, [tmp_path / "a.sqlite"]) == Merged(1, 0)
            note(theirs, 1, "theirs", "Bob", root)
            note(theirs, 2, "new", "Bob")
        note(ours, 1, "ours", "Ada", root)
        assert merge_notes(ours, [tmp_path / "b.sqlite"]) == Merged(2, 0)
        assert merge_notes(ours, [tmp_path / "b.sqlite"]) == Merged(0, 0)
        head = ours.state(1)["person"]
        assert (head["label"], [other["label"] for other in head["others"]]) == ("ours", ["theirs"])
        note(ours, 1, "settled", "Ada", head["id"])
        head = ours.state(1)["person"]
        assert (head["label"], head["others"]) == ("settled", [])
        assert {r["label"] for r in ours.history(1)} == {"root", "ours", "theirs", "settled"}


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "a", "b")])
def test_the_order_of_files_does_not_matter_and_json_is_as_good(tmp_path: Path, order: tuple[str, ...]) -> None:
    files = {}
    for name in "abc":
        with Notes(tmp_path / f"{name}.sqlite", "x") as notes:
            note(notes, 1, f"of {name}", name, tags=["t"], confidence=2)
            files[name] = export_notes(notes, tmp_path / f"{name}.json") if name == "b" else notes.path
    with Notes(tmp_path / "all.sqlite", "x") as merged:
        assert merge_notes(merged, [files[name] for name in order]).revisions == 3
        assert [r["label"] for r in merged.history(1)] == ["of a", "of b", "of c"]
        assert merged.state(1)["person"]["label"] == "of c"


def test_json_comes_back_the_same(tmp_path: Path) -> None:
    with Notes(tmp_path / "a.sqlite", "x") as notes, Notes(tmp_path / "b.sqlite", "x") as other:
        base = note(notes, 1, "one", "Ada", text="<script>")
        base = note(notes, 1, "two", "Ada", base)
        notes.undo(1, "Ada", base)
        merge_notes(other, [export_notes(notes, tmp_path / "n.json")])
        assert other.states() == notes.states()
        assert other.revisions() == notes.revisions()


def test_a_table_cannot_carry_a_formula(tmp_path: Path) -> None:
    with Notes(tmp_path / "a.sqlite") as notes:
        base = note(notes, 1, "=HYPERLINK(1)", "Ada", text='two, "quoted"\nlines', tags=["a", "b"])
        note(notes, 1, "plain", "Ada", base)
        path = export_notes(notes, tmp_path / "n.csv")
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["label"] for row in rows] == ["'=HYPERLINK(1)", "plain"]
    assert [row["present"] for row in rows] == ["no", "yes"]
    assert (rows[0]["text"], rows[0]["tags"]) == ('two, "quoted"\nlines', "a; b")


def test_a_bad_file_changes_nothing_even_beside_a_good_one(tmp_path: Path) -> None:
    with Notes(tmp_path / "good.sqlite", "x") as good:
        note(good, 1, "good", "Ada")
    with Notes(tmp_path / "other.sqlite", "y"):
        pass
    document = {"format": "cellglass.notes", "schema": 1, "atlas": "x"}
    (tmp_path / "bad.json").write_text(json.dumps({**document, "revisions": [{"by": "person", "latent": -1}]}))
    (tmp_path / "text.json").write_text("nothing")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with Notes(tmp_path / "a.sqlite", "x", [1]) as notes:
        for name, word in [
            ("bad.json", "note 1"),
            ("text.json", "SQLite"),
            ("deep.json", "JSON"),
            ("gone", "read"),
        ]:
            with pytest.raises(InputError, match=word):
                merge_notes(notes, [tmp_path / "good.sqlite", tmp_path / name])
        with pytest.raises(InputError, match="another atlas"):
            merge_notes(notes, [tmp_path / "good.sqlite", tmp_path / "other.sqlite"])
        assert notes.revisions() == []


def test_a_note_that_was_changed_by_hand_is_another_note(tmp_path: Path) -> None:
    with Notes(tmp_path / "a.sqlite", "x") as notes:
        note(notes, 1, "one", "Ada")
        path = export_notes(notes, tmp_path / "n.json")
        path.write_text(path.read_text().replace('"one"', '"forged"'))
        assert merge_notes(notes, [path]).revisions == 1
        assert sorted(r["label"] for r in notes.history(1)) == ["forged", "one"]
