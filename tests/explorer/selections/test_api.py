"""The routes of selections on a real server, and what was acknowledged after a kill of the real command."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from cellglass.explorer.selections.bits import pack, to_text, unpack
from explorer.test_kill import Running
from live import Client, make_page, running


def told(client: Client, name: str, rows: np.ndarray, **more: object) -> dict[str, object]:
    known = client.get("/api/selections").json
    bits = to_text(pack(rows, known["n"]))
    return {"name": name, "who": "Ada", "how": "lasso", "bits": bits, "cells": known["cells"], **more}


def test_selections_are_written_by_the_page_alone_and_read_by_all(full_folder: Path, tmp_path: Path) -> None:
    rows = np.arange(0, 700, 3)
    with running(full_folder, make_page(tmp_path / "page"), tmp_path / "n.sqlite") as client:
        wanted = told(client, "<b>T</b>", rows)
        made = client.post("/api/selections", wanted).json
        assert client.get("/api/selections").json["selections"] == [made]
        packed = client.get(f"/api/selections/bits?selection={made['selection']}")
        assert unpack(packed.body, 700).tolist() == rows.tolist()
        change = {"selection": made["selection"], "base": made["head"], "who": "Ben", "deleted": True}
        gone = client.post("/api/selections/change", change).json
        late = client.post("/api/selections/change", {**change, "name": "late"})
        assert (late.status, late.json["present"]) == (409, gone)
        undone = client.post(
            "/api/selections/undo", {"selection": made["selection"], "base": gone["head"], "who": "Ben"}
        )
        assert undone.json["deleted"] is False
        for path in ("/api/selections", "/api/selections/change", "/api/selections/undo"):
            for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
                assert client.post(path, wanted, headers).status in (403, 421)
            assert client.post(path, b"[]").status == 400
        assert client.post("/api/selections", {**wanted, "cells": "other", "name": "y"}).status == 400
        assert client.post("/api/selections", b"x" * (70 << 10)).status == 413
        assert client.get("/api/selections/bits?selection=x").status == 400
        assert len(client.get("/api/selections").json["selections"]) == 1


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_kill(full_folder: Path, tmp_path: Path) -> None:
    server = Running(full_folder, tmp_path / "n.sqlite")
    try:
        kept = [
            server.client.post("/api/selections", told(server.client, f"s{i}", np.arange(i, 700, 7))).json
            for i in range(12)
        ]
    finally:
        server.kill()
    with sqlite3.connect(tmp_path / "n.sqlite") as file:
        found = file.execute("SELECT selection, name, bits FROM selections ORDER BY seq").fetchall()
    file.close()
    assert [(one["selection"], one["name"]) for one in kept] == [row[:2] for row in found]
    assert [unpack(row[2], 700).tolist() for row in found] == [list(range(i, 700, 7)) for i in range(12)]
