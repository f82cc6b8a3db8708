"""Where notes lie, and to which atlas they belong."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from cellglass.atlas import open_atlas
from cellglass.errors import InputError
from cellglass.explorer.notes.place import fingerprint, notes_path, open_notes, shown_notes
from synthetic import make_atlas


@pytest.fixture
def folder(full_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(full_folder, tmp_path / "atlas"))


def change(folder: Path, name: str) -> None:
    """Change the checksum of a part in the manifest, as a stage that ran anew does."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["stages"]["all"]["outputs"][name] = hashlib.sha256(name.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_fingerprint_is_of_the_concepts_and_not_of_what_is_said_of_them(folder: Path) -> None:
    first = fingerprint(open_atlas(folder))
    assert len(first) == 32
    for name in ("pathways.parquet", "evaluation.json", "report.html"):
        (folder / name).touch()
        change(folder, name)
        assert fingerprint(open_atlas(folder)) == first
    change(folder, "concepts.zarr")
    second = fingerprint(open_atlas(folder))
    change(folder, "dictionaries")
    assert len({first, second, fingerprint(open_atlas(folder))}) == 3


def test_a_file_that_is_named_is_taken(folder: Path, tmp_path: Path) -> None:
    atlas = open_atlas(folder)
    assert notes_path(atlas, tmp_path / "n.sqlite") == tmp_path / "n.sqlite"
    with open_notes(atlas, tmp_path / "sub" / "n.sqlite") as notes:
        assert (notes.path, notes.atlas) == (tmp_path / "sub" / "n.sqlite", fingerprint(atlas))
        assert notes.latents == frozenset(range(24))


def test_no_other_file_of_the_atlas_is_taken(folder: Path, tmp_path: Path) -> None:
    atlas = open_atlas(folder)
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    inside = ("atlas/n.sqlite", "atlas/work/n", "x/../atlas/n", "link/n")
    for place in (tmp_path / name for name in inside):
        with pytest.raises(InputError, match="lies in the atlas"):
            notes_path(atlas, place)
    with pytest.raises(InputError, match="this is a folder"):
        notes_path(atlas, tmp_path)


def test_notes_of_another_atlas_are_refused_and_stay_as_they_are(folder: Path, tmp_path: Path) -> None:
    with open_notes(open_atlas(folder), tmp_path / "n.sqlite") as notes:
        notes.write({"latent": 1, "who": "Ada", "base": None, "label": "x"})
    other = open_atlas(make_atlas(tmp_path / "other", n_cells=60, n_concepts=9))
    with pytest.raises(InputError, match="notes of another atlas"):
        open_notes(other, tmp_path / "n.sqlite")
    with open_notes(open_atlas(folder), tmp_path / "n.sqlite") as notes:
        assert [revision["label"] for revision in notes.revisions()] == ["x"]


def test_two_atlases_have_places_of_their_own(folder: Path, tmp_path: Path) -> None:
    other = open_atlas(make_atlas(tmp_path / "other", n_cells=60, n_concepts=9))
    assert notes_path(open_atlas(folder)) != notes_path(other)


def test_notes_are_shown_where_there_are_any_and_none_are_made(folder: Path, tmp_path: Path) -> None:
    atlas = open_atlas(folder)
    with shown_notes(atlas) as none:
        assert none is None
    assert not notes_path(atlas).exists()
    with pytest.raises(InputError, match="no notes yet"), shown_notes(atlas, tmp_path / "n.sqlite"):
        pass
    with open_notes(atlas) as notes:
        notes.write({"latent": 1, "who": "Ada", "base": None, "label": "x"})
    with shown_notes(atlas) as notes:
        assert notes is not None
        assert [revision["label"] for revision in notes.revisions()] == ["x"]
    with shown_notes(atlas, wanted=False) as none:
        assert none is None
