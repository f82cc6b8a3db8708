"""Every kind is fitted, saved and loaded by two functions; the same seed gives the same dictionary."""

import numpy as np
import pytest
import torch

from cellglass import dictionaries
from cellglass.dictionaries import KINDS, TopKConfig, TrainConfig
from cellglass.dictionaries.registry import trained
from cellglass.errors import InputError
from cellglass.files import sha256
from cellglass.vocabulary import JOINT

BY_GRADIENT = [kind for kind in trained() if KINDS[kind].learn is None]
QUICK = TrainConfig(steps=60, batch_size=64, check_every=10, dead_after=500)


def test_saved_and_loaded_is_the_same(one, positive, tmp_path) -> None:
    one.save(tmp_path / "d")
    again = dictionaries.load(tmp_path / "d")
    assert type(again) is type(one)
    assert (again.n_latents, again.d_in, again.d_out) == (one.n_latents, one.d_in, one.d_out)
    a, b = one.encode(positive), again.encode(positive)  # the weights are equal, but may lie otherwise in memory
    assert abs(a.to_csr() - b.to_csr()).max() < 1e-5
    assert torch.allclose(one.decode(a), again.decode(b), atol=1e-5)
    again.save(tmp_path / "again")
    assert sha256(tmp_path / "again") == sha256(tmp_path / "d")


@pytest.mark.slow
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


def test_a_config_of_another_kind_is_named(positive) -> None:
    with pytest.raises(InputError, match="config is for kind 'topk'"):
        dictionaries.fit("matryoshka", positive, config=TopKConfig(8, 32, 4))


@pytest.mark.parametrize(
    ("kind", "skip"),
    [*((kind, skip) for kind in BY_GRADIENT for skip in (False, True)), *((kind, False) for kind in JOINT)],
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
    assert type(again) is KINDS[kind].cls
    assert again.config == config
    assert again.is_transcoder
    assert torch.allclose(again.decode(again.encode(x), x), made.decode(made.encode(x), x), atol=1e-5)
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
