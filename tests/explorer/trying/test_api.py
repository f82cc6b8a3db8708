"""Tries over HTTP: what a server says that has no model, a try from its beginning to its result, who may ask, busy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cellglass.atlas import open_atlas
from cellglass.explorer.trying.answers import Step
from cellglass.explorer.trying.api import try_routes
from cellglass.explorer.trying.bench import Bench, Given
from cellglass.explorer.trying.work import Work
from explorer.conftest import MONO, B, Tried
from live import Client, make_page, running


@pytest.fixture(scope="module")
def bench(tried: Tried) -> Bench:
    return Bench(open_atlas(tried.folder), Given(transcoders=tried.transcoders))


@pytest.fixture(scope="module")
def client(tried: Tried, bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    place = tmp_path_factory.mktemp("api")
    with running(tried.folder, make_page(place / "page"), place / "notes.sqlite", bench=bench) as found:
        yield found


def until_ended(client: Client, name: str) -> dict[str, Any]:
    while True:
        for thread in threading.enumerate():
            if thread.name == "cellglass-try":
                thread.join(60)
        found = client.get(f"/api/try/state?id={name}").json
        if found["state"] != "running":
            return found


def test_a_try_from_its_beginning_to_its_result(client: Client, bench: Bench, tried: Tried) -> None:
    told = client.get(f"/api/try?circuit={tried.circuit}").json
    assert told["ready"]
    assert (told["features"], told["cells"], told["column"], told["label"]) == (True, ["cell-0"], "cell type", B)
    of_class = client.get(f"/api/try?circuit={tried.of_class}").json
    assert (len(of_class["cells"]), of_class["label"]) == (2, B)
    assert "opened" not in vars(bench), "nothing is opened before the first try"
    asked = {"circuit": tried.circuit, "changes": [{"gene": "LYZ", "count": 20}], "draws": 3}
    begun = client.post("/api/try", {**asked, "cell": "cell-0"})
    assert begun.status == 200
    found = until_ended(client, begun.json["id"])
    assert (found["state"], found["done"], found["total"]) == ("done", 1, 1)
    assert len(found["result"]["control"]) == 3
    assert [one["word"] for one in found["result"]["words"]] == [B, MONO]
    wrong = client.post("/api/try", {**asked, "changes": [{"gene": "NOPE", "count": 1}], "cell": "cell-0"})
    assert "no gene 'NOPE'" in until_ended(client, wrong.json["id"])["error"]


def test_wrong_questions_are_refused_at_once(client: Client, tried: Tried) -> None:
    asked = {"circuit": tried.circuit, "changes": [{"gene": "LYZ", "count": 0}], "cell": "cell-0"}
    for more, says in (
        ({"changes": []}, "changes"),
        ({"circuit": "../../manifest"}, "no circuit"),
        ({"n": 10**6}, "n: "),
    ):
        found = client.post("/api/try", {**asked, **more})
        assert found.status == 400
        assert says in found.json["error"]
    assert client.post("/api/try", b"[1]").status == 400
    assert client.get("/api/try?circuit=nope").status == 400
    assert client.get("/api/try/state?id=nope").status == 400
    assert client.post("/api/try/stop", {"id": ""}).status == 400


def test_another_page_may_neither_begin_nor_look(client: Client, tried: Tried) -> None:
    asked = {"circuit": tried.circuit, "changes": [{"gene": "LYZ", "count": 0}], "cell": "cell-0"}
    for path, value in (("/api/try", asked), ("/api/try/stop", {"id": "x"})):
        assert client.post(path, value, {"Origin": "http://evil.example"}).status == 403
        assert client.post(path, value, {"Host": "evil.example"}).status == 421
        assert client.ask("POST", path, b"{}" + b" " * (1 << 17)).status == 413
    assert client.get("/api/try/state?id=x", Host="evil.example").status == 421
    assert client.get(f"/api/try?circuit={tried.circuit}", Sec_Fetch_Site="cross-site").status == 403


def test_who_comes_second_hears_that_it_is_busy_and_anybody_stops_their_own(
    client: Client, tried: Tried, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cellglass.explorer.trying import api

    gate, begun = threading.Event(), threading.Event()

    def slow(*_: Any) -> Iterator[Step]:
        begun.set()
        assert gate.wait(30)
        yield Step("trying", 1, 2, {"n": 1})
        yield Step("trying", 2, 2, {"n": 2})

    monkeypatch.setattr(api, "steps", slow)
    asked = {"circuit": tried.circuit, "changes": [{"gene": "LYZ", "count": 0}], "label": B}
    name = client.post("/api/try", asked).json["id"]
    assert begun.wait(30)
    second = client.post("/api/try", asked)
    assert second.status == 409
    assert "another change is being tried" in second.json["error"]
    assert client.get(f"/api/try/state?id={name}").json["state"] == "running"
    assert client.post("/api/try/stop", {"id": name}).status == 200
    gate.set()
    found = until_ended(client, name)
    assert (found["state"], found["result"]) == ("stopped", {"n": 1})


def test_without_a_model_the_page_hears_what_to_run(tried: Tried, tmp_path: Path) -> None:
    with running(tried.folder, make_page(tmp_path / "page"), tmp_path / "notes.sqlite") as client:
        told = client.get(f"/api/try?circuit={tried.circuit}").json
        assert told == {"ready": False, "command": "cellglass explore ATLAS --transcoders DIR"}
        found = client.post("/api/try", {"circuit": tried.circuit})
        assert found.status == 400
        assert "--transcoders DIR" in found.json["error"]
    assert len(try_routes(None, None, Work())) == 4  # type: ignore[arg-type]
