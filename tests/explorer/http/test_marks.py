"""The route of marks on a real server: what it takes, and that it answers what the marker finds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cellglass.atlas.markers.rank_sum import Marker, top_k
from cellglass.atlas.read import open_atlas
from live import Client, make_page, running


@pytest.fixture(scope="module")
def client(full_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("replies")
    with running(full_folder, make_page(folder / "page"), folder / "notes.sqlite") as found:
        yield found


def test_marks_are_what_the_marker_finds(client: Client, full_folder: Path) -> None:
    cells = np.sort(np.random.default_rng(0).choice(700, 80, replace=False))
    marker = Marker(open_atlas(full_folder))
    expected = json.loads(json.dumps(top_k(marker.concepts(cells), np.arange(24))))
    found = client.post("/api/marks", np.r_[cells, cells[:9]].astype("<u4").tobytes()).json  # some twice
    assert (found["n"], found["concepts"]) == (80, expected)
    assert found["genes"] == json.loads(json.dumps(top_k(marker.genes(cells))))
    one = [client.post(f"/api/marks?of={of}", cells.astype("<u4").tobytes()).json for of in ("concepts", "genes")]
    assert [(part["concepts"], part["genes"]) for part in one] == [(expected, None), (None, found["genes"])]
    assert client.post("/api/marks?of=cells", b"").status == 400
