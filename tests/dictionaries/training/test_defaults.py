"""The default fits any width and number of cells, and is the one that was measured where it was measured."""

from dataclasses import replace

import pytest

from cellglass.dictionaries import MatryoshkaConfig, TrainConfig, default_config, default_training
from cellglass.dictionaries.kinds.consensus import ConsensusConfig
from cellglass.dictionaries.registry import KINDS, trained
from cellglass.errors import InputError


def test_the_measured_default() -> None:
    nested = default_config(20, 3486, kind="matryoshka")
    assert nested == MatryoshkaConfig(20, 128, 12, (5, 10, 20, 40, 128), (1, 1, 1, 1, 12))


def test_the_default_kind_has_room_for_what_comes_back_beside() -> None:
    """64 latents more than a plain kind, at any width; 4 active ones more than a plain kind of as many latents."""
    assert default_config(20, 3486) == ConsensusConfig(20, 192, 16)
    for width, n in ((5, 40), (30, 560), (512, 5000)):
        plain, ours = default_config(width, n, kind="topk"), default_config(width, n)
        assert ours.n_latents == plain.n_latents + 64
        assert ours.k == default_config(width, n, kind="topk", n_latents=ours.n_latents).k + 4
        assert default_config(width, n, n_latents=40, k=9).n_latents == 40


@pytest.mark.parametrize("width", [1, 5, 10, 30, 64, 65, 512, 2048])
@pytest.mark.parametrize("n", [3, 40, 560, 5000, 10**7])
@pytest.mark.parametrize("kind", trained())
def test_any_site_gets_a_valid_config(width: int, n: int, kind: str) -> None:
    config = default_config(width, n, kind=kind)
    assert config.kind == kind
    assert config.n_latents <= max(32, n / 12) + KINDS[kind].more[0]
    assert 1 <= config.k <= config.n_latents / 2
    assert isinstance(config, KINDS[kind].cls.config_class)


def test_training_sees_enough_rows_for_each_latent() -> None:
    for n_latents in (32, 128, 1023, 1024, 4096, 16_384):
        training = default_training(n_latents)
        assert training.batch_size == (512 if n_latents < 1024 else 4096)
        assert (training == replace(TrainConfig(), batch_size=4096, steps=training.steps)) == (n_latents >= 1024)
        assert training.steps >= 800
        assert training.steps * training.batch_size >= 1500 * n_latents


def test_what_is_asked_for_is_given() -> None:
    ours = default_config(20, 5000, n_latents=512, k=24)
    assert (ours.kind, ours.n_latents, ours.k) == ("consensus", 512, 24)
    config = default_config(20, 5000, kind="matryoshka", n_latents=512, k=24)
    assert (config.n_latents, config.k) == (512, 24)
    assert isinstance(config, MatryoshkaConfig)
    assert config.prefixes == (5, 10, 20, 40, 128, 512)
    assert config.prefix_k == (1, 1, 1, 1, 12, 24)
    assert default_config(20, 5000, kind="matryoshka", n_latents=2).prefixes == (2,)


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(InputError, match="no default config"):
        default_config(20, 100, kind="pca")
    with pytest.raises(InputError, match="0 cells"):
        default_config(20, 0)
    with pytest.raises(InputError, match="k is 50"):
        default_config(20, 100, n_latents=32, k=50)
