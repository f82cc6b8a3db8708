"""The formulas of the base, against loops; units of the site in and out."""

import pytest
import torch

from cellglass.dictionaries.base import Codes
from cellglass.dictionaries.sparse import SparseConfig, combine
from cellglass.dictionaries.topk import TopK, TopKConfig
from cellglass.errors import InputError


@pytest.fixture
def dictionary() -> TopK:
    noise = torch.Generator().manual_seed(0)
    made = TopK(TopKConfig(5, 9, 3))
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape, generator=noise))
        made.centre.copy_(torch.randn(5, generator=noise) * 10)
        made.scale.fill_(4.0)
    made.normalise_decoder()
    return made.freeze()


def test_encode_and_decode_equal_the_formulas_in_loops(dictionary: TopK) -> None:
    x = torch.randn(20, 5, generator=torch.Generator().manual_seed(1)) * 6
    codes = dictionary.encode(x)
    x_hat = dictionary.decode(codes)
    for i in range(20):
        u = (x[i] - dictionary.centre) / dictionary.scale
        p = [float(dictionary.encoder[j] @ (u - dictionary.bias) + dictionary.encoder_bias[j]) for j in range(9)]
        kept = sorted(range(9), key=lambda j: p[j])[-3:]
        f = [max(p[j], 0.0) if j in kept else 0.0 for j in range(9)]
        total = sum((f[j] * dictionary.decoder[j] for j in range(9)), start=dictionary.bias)
        assert torch.allclose(x_hat[i], dictionary.centre + 4 * total, atol=1e-4)
        found = dict(zip(codes.indices[i].tolist(), codes.values[i].tolist(), strict=True))
        assert found == pytest.approx({j: f[j] for j in kept}, abs=1e-5)


def test_decoder_rows_have_norm_one(dictionary: TopK) -> None:
    assert torch.allclose(dictionary.decoder.norm(dim=1), torch.ones(9), atol=1e-6)
    assert torch.allclose(dictionary.directions.norm(dim=1), torch.full((9,), 4.0), atol=1e-5)


def test_frozen_weights_collect_no_gradient_but_inputs_do(dictionary: TopK) -> None:
    x = torch.randn(4, 5, requires_grad=True)
    dictionary.encode(x).values.sum().backward()
    assert x.grad is not None
    assert all(weight.grad is None for weight in dictionary.parameters())


@pytest.mark.parametrize("m", [10, 400])
def test_both_ways_to_combine_and_their_gradients_agree_with_a_dense_product(m: int) -> None:
    noise = torch.Generator().manual_seed(m)
    indices = torch.rand(12, m, generator=noise).topk(4, dim=1).indices
    values = torch.rand(12, 4, generator=noise, requires_grad=True)
    decoder = torch.randn(m, 6, generator=noise, requires_grad=True)
    weight = torch.randn(12, 6, generator=noise)
    dense = torch.zeros(12, m).scatter(1, indices, values) @ decoder
    wanted = torch.autograd.grad((dense * weight).sum(), (values, decoder))
    got = combine(Codes(indices, values, m), decoder)
    found = torch.autograd.grad((got * weight).sum(), (values, decoder))
    assert torch.allclose(got, dense, atol=1e-5)
    assert torch.allclose(found[0], wanted[0], atol=1e-5)
    assert torch.allclose(found[1], wanted[1], atol=1e-5)


@pytest.mark.parametrize(("width", "latents", "message"), [(0, 3, "d_in is 0"), (3, 0, "n_latents is 0")])
def test_wrong_sizes_are_named(width: int, latents: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SparseConfig(width, latents)
