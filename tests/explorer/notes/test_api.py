"""The routes of notes on a real server: what they take, what they answer, and how failures read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import Client, make_page, running


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_page(tmp_path_factory.mktemp("api") / "page")


@pytest.fixture(scope="module")
def client(full_folder: Path, page: Path) -> Iterator[Client]:
    with running(full_folder, page, page.parent / "notes.sqlite") as found:
        yield found


@pytest.mark.parametrize("latent", ["", "x", "-1", "1.0", "٣", "1" * 10, "1e1", "1;2"])
def test_history_is_of_a_concept_alone(client: Client, latent: str) -> None:
    from urllib.parse import quote

    answer = client.get(f"/api/notes/history?latent={quote(latent)}")
    assert (answer.status, answer.json) == (400, {"error": "latent: it must be the number of a concept"})
    assert client.get("/api/notes/history?latent=3").json == {"latent": 3, "revisions": []}


@pytest.mark.parametrize(
    "value",
    [
        {"label": "\ud800"}, {"label": "\x00"}, {"who": "\ud800"}, {"base": "\ud800"}, {"\ud800": 1}, {"latent": 2**70},
        {"latent": [1]}, {"tags": {"a": 1}}, {"confidence": [5]}, {"status": []}, {"base": {}}, {"text": 1e308},
    ],
)  # fmt: skip
def test_every_wrong_note_is_refused_in_words(client: Client, value: dict[str, Any]) -> None:
    note = {"latent": 1, "who": "Ada", "base": None, "label": "x", **value}
    answer = client.post("/api/notes", json.dumps(note).encode())
    assert (answer.status, set(answer.json)) == (400, {"error"})
    assert client.get("/api/notes/history?latent=1").json["revisions"] == []


def test_notes_that_cannot_be_kept_are_said_and_later_ones_are_kept(
    full_folder: Path, page: Path, tmp_path: Path
) -> None:
    note = {"latent": 1, "who": "Ada", "base": None, "label": "x"}
    with running(full_folder, page, tmp_path / "n.sqlite") as client:
        with sqlite3.connect(tmp_path / "n.sqlite") as other:
            other.execute("ALTER TABLE revisions RENAME TO away")
        other.close()
        answer = client.post("/api/notes", note)
        assert answer.status == 500
        assert answer.json["error"].startswith("the notes cannot be read or written (no such table")
        assert client.get("/data/manifest.json").status == 200
        with sqlite3.connect(tmp_path / "n.sqlite") as other:
            other.execute("ALTER TABLE away RENAME TO revisions")
        other.close()
        assert client.post("/api/notes", note).json["person"]["label"] == "x"
