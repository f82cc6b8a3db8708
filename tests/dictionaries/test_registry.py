"""Every kind is fitted, saved and loaded through one registry; the same seed gives the same dictionary."""

import json

import pytest
import torch

from cellglass import dictionaries
from cellglass.dictionaries import KINDS, TopKConfig, TrainConfig
from cellglass.dictionaries.registry import JOINT
from cellglass.errors import InputError
from cellglass.files import sha256

QUICK = TrainConfig(steps=60, batch_size=64, check_every=10, dead_after=500)


def test_saved_and_loaded_is_the_same(one, positive, tmp_path) -> None:
    one.save(tmp_path / "d")
    again = dictionaries.load(tmp_path / "d")
    assert type(again) is type(one)
    assert (again.n_latents, again.d_in, again.d_out) == (one.n_latents, one.d_in, one.d_out)
    a, b = one.encode(positive), again.encode(positive)
    assert torch.equal(a.indices, b.indices)
    assert torch.equal(a.values, b.values)
    assert torch.equal(one.decode(a), again.decode(b))
    again.save(tmp_path / "again")
    assert sha256(tmp_path / "again") == sha256(tmp_path / "d")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in JOINT])
def test_the_same_seed_gives_the_same_bytes(kind: str, every_kind, positive, tmp_path) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = dictionaries.fit(kind, positive, training=QUICK, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    every_kind[kind].save(tmp_path / "a")
    again.save(tmp_path / "b")
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


@pytest.mark.parametrize("kind", ["topk", "matryoshka", "random"])
def test_another_seed_gives_another_dictionary(kind: str, every_kind, positive) -> None:
    other = dictionaries.fit(kind, positive, training=QUICK, seed=3)
    assert not torch.allclose(other.directions, every_kind[kind].directions, atol=1e-2)


def test_an_unknown_kind_names_those_that_there_are(positive, tmp_path) -> None:
    with pytest.raises(InputError, match=r"'umap' is unknown.*topk"):
        dictionaries.fit("umap", positive)
    dictionaries.fit("neurons", positive).save(tmp_path / "d")
    content = json.loads((tmp_path / "d" / "cfg.json").read_text())
    (tmp_path / "d" / "cfg.json").write_text(json.dumps({**content, "kind": "umap"}))
    with pytest.raises(InputError, match="umap"):
        dictionaries.load(tmp_path / "d")


def test_a_config_of_another_kind_is_named(positive) -> None:
    with pytest.raises(InputError, match="config is for kind 'topk'"):
        dictionaries.fit("matryoshka", positive, config=TopKConfig(8, 32, 4))
