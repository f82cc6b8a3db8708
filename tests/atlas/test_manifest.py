from pathlib import Path

import pytest

from cellglass.atlas import manifest as manifests
from cellglass.atlas import schema
from cellglass.errors import InputError


def test_a_manifest_is_replaced_whole_and_read_back(tmp_path: Path) -> None:
    first = manifests.new_manifest(7, {"labels": ["celltype"]})
    assert first["schema_version"] == schema.SCHEMA_VERSION
    assert {"numpy", "anndata", "torch"} <= set(first["versions"])
    manifests.write_manifest(tmp_path, first)
    running = {"fingerprint": "f", "state": "running", "seconds": 0.0, "outputs": {}}
    stages = {"genes": running, "pathways": {**running, "state": "done"}}
    manifests.write_manifest(tmp_path, {**first, "stages": stages})
    read = manifests.read_manifest(tmp_path)
    assert read["stages"] == {"genes": running, "pathways": {**running, "state": "done"}}
    assert {key: read[key] for key in ("seed", "config", "created")} == {
        key: first[key] for key in ("seed", "config", "created")
    }
    assert [p.name for p in tmp_path.iterdir()] == [schema.MANIFEST]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda p: p, "no such folder"),
        (lambda p: p.write_text("x"), "an atlas is a folder"),
        (lambda p: p.mkdir(), "no manifest.json"),
        (lambda p: (p.mkdir(), (p / "manifest.json").write_text('{"schema_ver')), "cannot be read"),
        (lambda p: (p.mkdir(), (p / "manifest.json").write_bytes(b"\xff\xfe")), "cannot be read"),
        (lambda p: (p.mkdir(), (p / "manifest.json").write_text('{"manifest_version": 3}')), "no cellglass atlas"),
    ],
)
def test_what_is_no_atlas_is_named_in_one_line(tmp_path: Path, prepare: object, message: str) -> None:
    folder = tmp_path / "atlas"
    prepare(folder)  # type: ignore[operator]
    with pytest.raises(InputError, match=message) as raised:
        manifests.read_manifest(folder)
    assert str(folder) in str(raised.value)
    assert "\n" not in str(raised.value)
