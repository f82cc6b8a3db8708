"""A manifest survives the way to disk and back; what cannot be understood is named."""

import json

import pytest

from cellglass.activations.manifest import NAME, Manifest, ShardEntry, ShardFile, StoredSite, read_manifest
from cellglass.errors import InputError


def example() -> Manifest:
    files = {"z": ShardFile("z/00000.safetensors", 5, "ab"), "t": ShardFile("t/00000.safetensors", 30, "cd")}
    sites = {"z": StoredSite(4, spread=True), "t": StoredSite(8, "token", "bfloat16")}
    return Manifest(9, "a model", sites, [ShardEntry((0, 5), files)])


def test_round_trip(tmp_path) -> None:
    example().write(tmp_path)
    read = read_manifest(tmp_path)
    assert read == example()
    assert (read.next_cell, read.rows("z"), read.rows("t"), read.complete) == (5, 5, 30, False)


def change(tmp_path, **changes) -> None:
    example().write(tmp_path)
    content = json.loads((tmp_path / NAME).read_text())
    (tmp_path / NAME).write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"format": "other"}, "no manifest"),
        ({"sites": {"z": {"wide": 3}}}, "damaged"),
        ({"sites": {"z": {"width": 3, "dtype": "int8"}}}, "int8"),
        ({"shards": [{}]}, "damaged"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path, changes, message: str) -> None:
    change(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path)


def test_no_manifest_and_no_json(tmp_path) -> None:
    with pytest.raises(InputError, match="no store of activations is here"):
        read_manifest(tmp_path / "nowhere")
    (tmp_path / NAME).write_text("{")
    with pytest.raises(InputError, match="JSON"):
        read_manifest(tmp_path)


def test_unknown_granularity_is_named() -> None:
    with pytest.raises(InputError, match="granularity"):
        StoredSite(3, "gene")
