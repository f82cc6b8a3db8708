"""The threshold that keeps k scores of a row, by sorting; latents answer by their own row of the encoder alone."""

import pytest
import torch

from cellglass.dictionaries import BatchTopK, BatchTopKConfig, JumpReLU, JumpReLUConfig
from cellglass.dictionaries.base import Dictionary
from cellglass.dictionaries.kinds.thresholds import threshold_for


def filled(dictionary, seed: int = 0):
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in [*dictionary.named_parameters(), *dictionary.named_buffers()]:
            random = torch.randn(weight.shape, generator=noise)
            weight.copy_(random.abs() + 0.3 if "scale" in name or name == "threshold" else random)
    return dictionary.freeze()


@pytest.mark.parametrize("k", [1, 3, 2.5, 30])
def test_it_keeps_k_of_a_row_on_average(k: float) -> None:
    dictionary = filled(BatchTopK(BatchTopKConfig(5, 40, 3)))
    u = torch.randn(300, 5, generator=torch.Generator().manual_seed(1))
    bar = threshold_for(dictionary, u, k)
    scores = dictionary.scores(u)
    if k == 30:
        assert float((scores > 0).sum()) < 300 * k
        assert float(bar) == 0
    else:
        assert int((scores > bar).sum()) == round(300 * k)


def test_few_positive_scores_are_all_kept() -> None:
    dictionary = filled(BatchTopK(BatchTopKConfig(5, 40, 3)))
    with torch.no_grad():
        dictionary.encoder_bias.fill_(-100)
    assert float(threshold_for(dictionary, torch.randn(50, 5), 3)) == 0


@pytest.mark.parametrize("config", [BatchTopKConfig(5, 40, 3), JumpReLUConfig(5, 40, 3)])
def test_a_negative_threshold_counts_as_zero_and_equality_is_not_above(config) -> None:
    dictionary = filled({"batchtopk": BatchTopK, "jumprelu": JumpReLU}[config.kind](config))
    x = torch.randn(30, 5, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        dictionary.threshold.fill_(-1)
    dense = torch.from_numpy(dictionary.encode(x).to_csr().toarray())
    assert torch.allclose(dense, dictionary.preactivations(x).relu(), atol=1e-6)
    assert bool((dense == 0).any())
    with torch.no_grad():
        dictionary.encoder.zero_()
        dictionary.threshold.fill_(0.5)
        dictionary.encoder_bias.fill_(0.5)
    assert dictionary.encode(x).to_csr().nnz == 0
    assert float(dictionary.activations_of(x, torch.arange(30)).sum()) == 0


@pytest.mark.parametrize("role", [{}, {"d_out": 3}, {"d_out": 3, "skip": True}])
@pytest.mark.parametrize("kind", [BatchTopKConfig, JumpReLUConfig])
def test_one_latent_of_each_row_is_the_lookup_and_so_is_its_gradient(kind, role) -> None:
    cls = {"batchtopk": BatchTopK, "jumprelu": JumpReLU}[kind.kind]
    dictionary = filled(cls(kind(6, 33, 5, **role)))
    noise = torch.Generator().manual_seed(3)
    x = torch.randn(400, 6, generator=noise, requires_grad=True)
    latent = torch.randint(33, (400,), generator=noise)
    fast, plain = dictionary.activations_of(x, latent), Dictionary.activations_of(dictionary, x, latent)
    assert torch.allclose(fast, plain, atol=1e-5)
    assert 0 < int((fast > 0).sum()) < 400
    weight = torch.randn(400, generator=noise)
    (a,) = torch.autograd.grad((fast * weight).sum(), x)
    (b,) = torch.autograd.grad((plain * weight).sum(), x)
    assert torch.allclose(a, b, atol=1e-5)
    assert float(a.abs().sum()) > 0
