"""TopK keeps the k largest; the fast activation of one latent equals the lookup, also over many rows."""

import pytest
import torch

from cellglass.dictionaries.base import Dictionary
from cellglass.dictionaries.kinds import topk
from cellglass.dictionaries.kinds.topk import TopK, TopKConfig
from cellglass.errors import InputError


@pytest.mark.parametrize("k", [1, 3, 10])
def test_encoding_keeps_what_sorting_puts_first(k: int) -> None:
    pre = torch.randn(50, 10, generator=torch.Generator().manual_seed(k))
    dense = torch.from_numpy(TopK(TopKConfig(4, 10, k)).select(pre).to_csr().toarray())
    threshold = pre.sort(dim=1, descending=True).values[:, k - 1 : k]
    assert torch.equal(dense, torch.where(pre >= threshold, pre.relu(), 0.0))


def test_the_fast_activation_equals_the_lookup_over_several_pieces(monkeypatch) -> None:
    monkeypatch.setattr(topk, "_FLOATS_AT_ONCE", 64 * 33)
    noise = torch.Generator().manual_seed(0)
    dictionary = TopK(TopKConfig(6, 33, 5))
    with torch.no_grad():
        for weight in dictionary.parameters():
            weight.copy_(torch.randn(weight.shape, generator=noise))
    dictionary.freeze()
    x = torch.randn(1000, 6, generator=noise)
    latent = torch.randint(33, (1000,), generator=noise)
    plain = Dictionary.activations_of(dictionary, x, latent)  # of products of other shapes
    assert torch.allclose(dictionary.activations_of(x, latent), plain, rtol=1e-5, atol=1e-5)
    assert dictionary.activations_of(x[:0], latent[:0]).shape == (0,)
    x.requires_grad_()
    (fast,) = torch.autograd.grad(dictionary.activations_of(x, latent).sum(), x)
    (slow,) = torch.autograd.grad(Dictionary.activations_of(dictionary, x, latent).sum(), x)
    assert torch.allclose(fast, slow, atol=1e-6)
    assert fast.abs().sum() > 0


def test_negative_responses_become_zero() -> None:
    codes = TopK(TopKConfig(4, 3, 2)).select(torch.tensor([[-3.0, -1.0, -2.0]]))
    assert codes.values.tolist() == [[0, 0]]
    assert codes.to_csr().nnz == 0


@pytest.mark.parametrize("k", [0, 11])
def test_wrong_k_is_named(k: int) -> None:
    with pytest.raises(InputError, match=f"k is {k}; it must lie between 1 and the number of latents, 10"):
        TopKConfig(4, 10, k)
