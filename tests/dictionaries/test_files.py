"""A damaged dictionary is named, whatever is wrong with it."""

import json

import pytest
import torch

from cellglass import dictionaries
from cellglass.errors import InputError


@pytest.fixture
def folder(one, tmp_path):
    one.save(tmp_path / "d")
    return tmp_path / "d"


def test_cfg_is_plain_and_nothing_else_is_there(folder, one) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["cfg.json", "weights.safetensors"]
    content = json.loads((folder / "cfg.json").read_text())
    assert (content["format"], content["schema_version"], content["kind"]) == ("cellglass.dictionary", 1, one.kind)
    assert content["config"]["d_in"] == one.d_in


def test_damage_is_named(folder) -> None:
    cfg, weights = folder / "cfg.json", folder / "weights.safetensors"
    text, content = cfg.read_text(), json.loads(cfg.read_text())
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(InputError, match=r"weights\.safetensors: is missing, truncated or damaged"):
        dictionaries.load(folder)
    weights.unlink()
    with pytest.raises(InputError, match=r"weights\.safetensors: is missing"):
        dictionaries.load(folder)
    weights.write_bytes(whole)
    for changes, message in (
        ({"config": {}}, "lacks|missing or unknown"),
        ({"config": {**content["config"], "d_in": 9}}, "cfg.json asks for"),
        ({"schema_version": 2}, "schema version 2"),
        ({"format": "other"}, "is not the cfg.json"),
    ):
        cfg.write_text(json.dumps({**content, **changes}))
        with pytest.raises(InputError, match=message):
            dictionaries.load(folder)
    cfg.write_text(text[:-10])
    with pytest.raises(InputError, match="JSON"):
        dictionaries.load(folder)
    cfg.unlink()
    with pytest.raises(InputError, match="no dictionary is here"):
        dictionaries.load(folder)


def test_saving_replaces_what_was_there(tmp_path, positive) -> None:
    dictionaries.fit("neurons", positive).save(tmp_path / "d")
    dictionaries.fit("pca", positive, n_components=2).save(tmp_path / "d")
    assert dictionaries.load(tmp_path / "d").kind == "pca"
    assert torch.equal(
        dictionaries.load(tmp_path / "d").directions, dictionaries.fit("pca", positive, n_components=2).directions
    )
