"""An export is all files or none, and nothing of anybody else's is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cellglass.atlas.read import open_atlas
from cellglass.errors import InputError
from cellglass.explorer.data.tree import Tree
from cellglass.explorer.export import export
from cellglass.explorer.notes.exchange import merge_notes
from cellglass.explorer.notes.place import open_notes
from cellglass.files import sha256
from explorer.conftest import add_circuits
from live import make_page
from synthetic import make_atlas


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    make_atlas(folder / "atlas", n_cells=60, n_concepts=9)
    add_circuits(folder / "atlas")
    make_page(folder / "page")
    return folder


def test_it_holds_page_tree_and_notes_and_leaves_the_atlas_alone(place: Path, tmp_path: Path) -> None:
    atlas, before = open_atlas(place / "atlas"), sha256(place / "atlas")
    with open_notes(atlas, tmp_path / "n.sqlite") as notes:
        state = notes.write({"latent": 2, "who": "Ada", "base": None, "label": "a"})
        notes.write({"latent": 2, "who": "Ben", "base": state["person"]["id"], "label": "<b>"})
        told: list[tuple[int, int]] = []
        out = export(
            atlas, tmp_path / "site", notes=notes, page_folder=place / "page", progress=lambda _, *n: told.append(n)
        )
        atlas_id, revisions = notes.atlas, notes.revisions()
    tree = Tree(atlas)
    assert {f"data/{name}/0.json" for name in ("circuits", "circuit-files", "neuronpedia")} < set(tree.paths())
    for path in tree.paths():
        assert (out / path).read_bytes() == tree.get(path)
    assert json.loads((out / "data" / "manifest.json").read_text())["live"] is False
    told_notes = json.loads((out / "data" / "notes.json").read_text())
    assert (told_notes["atlas"], told_notes["revisions"]) == (atlas_id, revisions)
    with open_notes(atlas, tmp_path / "again.sqlite") as again:
        assert merge_notes(again, [out / "data" / "notes.json"]).revisions == len(revisions) == 2
    assert (out / "index.html").read_bytes() == (place / "page" / "index.html").read_bytes()
    files = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert files == set(json.loads((out / "cellglass-export.json").read_text())["files"])
    assert told[-1][0] == told[-1][1]
    assert sha256(place / "atlas") == before


def test_an_earlier_export_is_replaced_and_gives_the_same_bytes(place: Path, tmp_path: Path) -> None:
    atlas = open_atlas(place / "atlas")
    first = sha256(export(atlas, tmp_path / "site", page_folder=place / "page"))
    (tmp_path / "site" / "data" / "concepts.json").unlink()
    assert sha256(export(atlas, tmp_path / "site", page_folder=place / "page")) == first


def test_files_of_others_are_refused_and_kept(place: Path, tmp_path: Path) -> None:
    atlas = open_atlas(place / "atlas")
    out = export(atlas, tmp_path / "site", page_folder=place / "page")
    (out / "data" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"data/mine\.txt, which no export wrote"):
        export(atlas, out, page_folder=place / "page")
    assert (out / "data" / "mine.txt").read_text() == "mine"
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.doc").write_text("years")
    with pytest.raises(InputError, match=r"thesis\.doc"):
        export(atlas, tmp_path / "home", page_folder=place / "page")
    with pytest.raises(InputError, match="no folder"):
        export(atlas, tmp_path / "home" / "thesis.doc", page_folder=place / "page")
    for wrong in (place / "atlas", place / "atlas" / "site", place):
        with pytest.raises(InputError, match="lies in the atlas"):
            export(atlas, wrong, page_folder=place / "page")


def test_a_failure_on_the_way_leaves_nothing(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atlas, calls = open_atlas(place / "atlas"), []
    get = Tree.get

    def fails(self: Tree, path: str) -> bytes:
        calls.append(path)
        if len(calls) > 5:
            raise OSError("disk full")
        return get(self, path)

    monkeypatch.setattr(Tree, "get", fails)
    with pytest.raises(OSError, match="disk full"):
        export(atlas, tmp_path / "site", page_folder=place / "page")
    assert list(tmp_path.iterdir()) == []
