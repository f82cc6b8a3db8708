"""Every prefix of a nested dictionary reconstructs by itself, and better than a prefix of a plain one."""

import pytest
import torch

from cellglass.dictionaries import Matryoshka, MatryoshkaConfig, TopK, TopKConfig, TrainConfig, train
from cellglass.dictionaries.base import Dictionary
from cellglass.errors import InputError


def explained(dictionary: Dictionary, x: torch.Tensor) -> float:
    residual = x - dictionary.decode(dictionary.encode(x))
    return 1 - float(residual.square().sum() / (x - x.mean(0)).square().sum())


def clusters() -> torch.Tensor:
    """Eight clusters of unequal size with structure of lower variance within."""
    noise = torch.Generator().manual_seed(4)
    centres = torch.randn(8, 16, generator=noise) * 2
    which = torch.multinomial(torch.arange(1.0, 9.0), 4000, replacement=True, generator=noise)
    within = torch.randn(4000, 4, generator=noise) @ torch.randn(4, 16, generator=noise) * 0.3
    return centres[which] + within


def test_every_prefix_reconstructs_and_more_latents_do_better() -> None:
    x = clusters()
    training = TrainConfig(steps=200, batch_size=256, learning_rate=8e-3)
    nested = train(Matryoshka(MatryoshkaConfig(16, 64, 8, (8, 16, 64), (1, 2, 8))), x, training, seed=0)
    plain = train(TopK(TopKConfig(16, 64, 8)), x, training, seed=0)
    shares = [explained(nested.prefix(i), x) for i in range(3)]
    assert shares[0] > 0.5
    assert shares == sorted(shares)
    assert shares[2] > 0.9
    assert shares[2] == pytest.approx(explained(nested, x), abs=1e-6)
    first = TopK(TopKConfig(16, 8, 1))
    weights = plain.state_dict()
    first.load_state_dict({k: v[:8] if k in ("encoder", "encoder_bias", "decoder") else v for k, v in weights.items()})
    assert explained(first.freeze(), x) < shares[0] - 0.2


@pytest.mark.parametrize(
    ("prefixes", "k", "message"),
    [
        ((), (), "sizes that grow"),
        ((8, 32), (4,), "2 prefixes and 1 prefix_k"),
        ((8, 8, 32), (1, 1, 4), "sizes that grow"),
        ((8, 16), (1, 4), "must be all 32 latents"),
        ((8, 32), (1, 3), "it must be 4"),
        ((8, 32), (9, 4), "between 1 and 8"),
    ],
)
def test_wrong_prefixes_are_named(prefixes, k, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MatryoshkaConfig(6, 32, 4, prefixes, k)
