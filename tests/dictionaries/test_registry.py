"""Every kind is fitted, saved and loaded through one registry; the same seed gives the same dictionary."""

import json

import numpy as np
import pytest
import torch

from cellglass import dictionaries
from cellglass.dictionaries import KINDS, TopKConfig, TrainConfig
from cellglass.dictionaries.registry import BASELINES, JOINT, TRAINED
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


def test_every_kind_is_named_by_its_class() -> None:
    assert {kind: cls.kind for kind, cls in KINDS.items()} == {kind: kind for kind in KINDS}
    for kind, cls in {**TRAINED, **JOINT}.items():
        assert cls.config_class.kind == kind
    assert set(TRAINED) | set(JOINT) | set(BASELINES) == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "skip"),
    [(kind, skip) for kind in [*TRAINED, *JOINT] for skip in (False, True) if kind in TRAINED or not skip],
)
def test_a_transcoder_of_every_kind_is_fitted_saved_and_loaded(kind: str, skip: bool, tmp_path, small_config) -> None:
    noise = torch.Generator().manual_seed(0)
    width = 24 if kind in JOINT else 8
    x, y = torch.randn(200, width, generator=noise), torch.randn(200, width, generator=noise)
    config = small_config(kind, 8, 24, 3, d_out=width, skip=skip)
    training = TrainConfig(steps=10, batch_size=32)
    made = dictionaries.fit(kind, x, config=config, training=training, target=y, seed=1)
    made.save(tmp_path / "d")
    again = dictionaries.load(tmp_path / "d")
    assert type(again) is KINDS[kind]
    assert again.config == config
    assert again.is_transcoder
    assert torch.equal(again.decode(again.encode(x), x), made.decode(made.encode(x), x))
    assert not any(weight.requires_grad for weight in again.parameters())


def test_a_default_transcoder_is_as_wide_as_its_target(positive) -> None:
    made = dictionaries.fit("topk", positive, training=QUICK, target=positive[:, :3])
    assert (made.d_in, made.d_out) == (8, 3)
    assert made.decode(made.encode(positive)).shape == (400, 3)


def test_rows_to_learn_from_reach_trained_kinds_and_baselines(positive) -> None:
    learn = np.arange(0, 300)
    for kind in ("topk", "pca"):
        ours = dictionaries.fit(kind, positive, training=QUICK, rows_train=learn, rows_valid=np.arange(300, 400))
        assert torch.allclose(ours.centre, positive[:300].mean(0), atol=1e-6)
    held = dictionaries.fit("pca", positive, rows_valid=np.arange(300, 400))
    assert torch.allclose(held.centre, positive[:300].mean(0), atol=1e-6)


def test_checkpoint_and_progress_reach_the_training(positive, tmp_path) -> None:
    heard = []

    def hear(what: str, done: int, total: int) -> None:
        heard.append(done)
        if done > 1 and not (tmp_path / "c").exists():
            raise AssertionError("no checkpoint was kept")

    training = TrainConfig(steps=5, batch_size=64, checkpoint_seconds=0)
    dictionaries.fit("batchtopk", positive, training=training, checkpoint=tmp_path / "c", progress=hear)
    assert heard == [1, 2, 3, 4, 5]
    assert not (tmp_path / "c").exists()
