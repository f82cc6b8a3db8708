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


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ([], "no cellglass atlas"),
        ({"name": "other"}, "no cellglass atlas"),
        ({"schema_version": 2, "stages": {}}, "schema version 2 .* pip install -U cellglass"),
        ({"schema_version": 1}, "no stages"),
        ({"schema_version": 1, "stages": {"genes": {"state": "lost"}}}, "stage 'genes' has no state"),
    ],
)
def test_manifests_that_cannot_be_read(manifest: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        manifests.check_manifest(manifest, "folder")
    assert "\n" not in str(raised.value)


def test_outputs_come_from_finished_stages_only() -> None:
    stages = {
        "a": {"state": "done", "outputs": {"x": "1"}},
        "b": {"state": "running", "outputs": {"y": "2"}},
    }
    assert manifests.outputs_of({"stages": stages}) == {"x": "1"}
    assert manifests.unfinished_stages({"stages": stages}) == ["b"]


def test_a_written_manifest_states_the_encodings_of_json_files(tmp_path: Path) -> None:
    manifests.write_manifest(tmp_path, {**manifests.new_manifest(0, {}), "encodings": "old"})
    read = manifests.read_manifest(tmp_path)
    assert manifests.stated_encoding(read, schema.EVALUATION) == {
        "encoding-type": "cellglass.evaluation",
        "encoding-version": "1.0.0",
    }
    for encodings in ("old", {schema.EVALUATION: 1}, {}, None):
        assert manifests.stated_encoding({**read, "encodings": encodings}, schema.EVALUATION) == {}
