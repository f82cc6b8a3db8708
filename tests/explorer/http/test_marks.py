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


def test_one_set_is_held_against_another_by_cells_and_by_donors(client: Client, full_folder: Path) -> None:
    order = np.random.default_rng(1).permutation(700)
    one, other = np.sort(order[:200]), np.sort(order[190:400])  # ten are in both
    marker, atlas = Marker(open_atlas(full_folder)), open_atlas(full_folder)
    donor = atlas.concepts.obs["phase"].cat.codes.to_numpy() + 1
    body = np.r_[one, other].astype("<u4").tobytes()
    found = client.post("/api/marks?a=200&donors=phase", body).json
    assert (found["n"], found["m"]) == (190, 200)
    assert found["donors"] == {"label": "phase", "test": "paired", "n": [3, 3], "why": ""}
    by = [marker.donors(of, one, other, donor) for of in ("concepts", "genes")]
    expected = top_k(marker.concepts(one, other), np.arange(24), by=by[0]), top_k(marker.genes(one, other), by=by[1])
    assert [found["concepts"], found["genes"]] == json.loads(json.dumps(expected))
    for query in ("a=900", "a=x", "a=200&donors=n_counts", "a=0"):
        assert client.post(f"/api/marks?{query}", body).status == 400
