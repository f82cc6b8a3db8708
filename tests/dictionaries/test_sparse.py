"""The formulas of the base, against loops; units of the site in and out."""

import numpy as np
import pytest
import torch

from cellglass.dictionaries.base import Codes
from cellglass.dictionaries.kinds.topk import TopK, TopKConfig
from cellglass.dictionaries.registry import KINDS, trained
from cellglass.dictionaries.sparse import NARROW, SparseConfig, combine, draw
from cellglass.errors import InputError

BY_GRADIENT = [kind for kind in trained() if KINDS[kind].learn is None]
ROLES = {"autoencoder": {}, "transcoder": {"d_out": 5}, "with skip": {"d_out": 5, "skip": True}}


def filled(dictionary, seed: int = 0):
    """Random weights that activate some latents and not others."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in [*dictionary.named_parameters(), *dictionary.named_buffers()]:
            random = torch.randn(weight.shape, generator=noise)
            weight.copy_(random.abs() + 0.5 if "scale" in name or name in ("threshold", "pressure") else random)
    return dictionary.freeze()


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


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", BY_GRADIENT)
def test_what_every_role_reads_and_writes(kind: str, role: str, small_config) -> None:
    dictionary = filled(KINDS[kind].cls(small_config(kind, 8, 30, 4, **ROLES[role])))
    x = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    codes = dictionary.encode(x)
    f = torch.from_numpy(codes.to_csr().toarray())
    assert 0 < int((f > 0).sum()) < f.numel()
    u = (x - dictionary.centre) / dictionary.scale
    out = f @ dictionary.decoder + dictionary.bias
    if role == "autoencoder":
        wanted = dictionary.centre + dictionary.scale * out
    else:
        wanted = dictionary.centre_out + dictionary.scale_out * (out + (u @ dictionary.skip.T if "skip" in role else 0))
    assert torch.allclose(dictionary.decode(codes, x), wanted, atol=1e-4)
    assert dictionary.is_transcoder == (role != "autoencoder")
    if role == "with skip":
        with pytest.raises(InputError, match=r"call decode\(codes, x\) with its input"):
            dictionary.decode(codes)
    else:
        assert torch.equal(dictionary.decode(codes), dictionary.decode(codes, x))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", BY_GRADIENT)
def test_codes_with_a_gradient_equal_those_without_and_float64s(kind: str, role: str, small_config) -> None:
    dictionary = filled(KINDS[kind].cls(small_config(kind, 8, 30, 4, **ROLES[role])))
    x = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    plain, moved = dictionary.encode(x), x.clone().requires_grad_()
    codes = dictionary.encode(moved)
    assert abs(codes.to_csr() - plain.to_csr()).max() < 1e-5
    weight = torch.randn(codes.values.shape, generator=torch.Generator().manual_seed(2))
    (grad,) = torch.autograd.grad((codes.values * weight).sum(), moved)
    # Where the choice stays as it is, codes are the positive part of the pre-activations.
    dense = torch.zeros(40, 30).scatter_add(1, codes.indices, weight * (codes.values > 0))
    again = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad((dictionary.preactivations(again).relu() * dense).sum(), again)
    assert torch.allclose(grad, wanted, atol=1e-4)
    assert float(grad.abs().sum()) > 0
    exact = dictionary.double().encode(x.double())
    assert exact.values.dtype == torch.float64
    assert np.allclose(exact.to_csr().toarray(), plain.to_csr().toarray(), atol=1e-4)


def test_the_first_scale_has_the_least_squared_error() -> None:
    noise = torch.Generator().manual_seed(0)
    u = torch.randn(300, 6, generator=noise) * torch.linspace(2, 0.2, 6)

    def error(scale: float | None) -> float:
        made = TopK(TopKConfig(6, 40, 5))
        made.draw_weights(u, u, 1)
        if scale is None:
            made.fit_first_scale(u, u)
        else:
            with torch.no_grad():
                made.encoder.mul_(scale)
        made.freeze()
        return float((made.decode(made.encode(u)) - u).square().sum())

    found = error(None)
    assert found <= min(error(scale) for scale in torch.linspace(0.05, 2, 60).tolist()) * 1.0001
    assert found < error(1.0)


@pytest.mark.parametrize("width", [NARROW, NARROW + 1])
def test_first_weights_are_rows_in_wide_sites_and_directions_in_narrow_ones(width: int) -> None:
    u = torch.randn(100, width, generator=torch.Generator().manual_seed(0))
    made = TopK(TopKConfig(width, 50, 5))
    made.draw_weights(u, u, 1)
    nearest = (made.encoder.detach() @ torch.nn.functional.normalize(u, dim=1).T).max(1).values
    assert bool((nearest > 0.99).all()) == (width > NARROW)
    assert torch.allclose(made.encoder.norm(dim=1), torch.ones(50), atol=1e-5)
    assert torch.allclose(made.encoder, made.decoder, atol=0.1)
    pair = TopK(TopKConfig(width, 50, 5, d_out=3))
    pair.draw_weights(u, u[:, :3], 1)
    rows = (pair.encoder @ torch.nn.functional.normalize(u, dim=1).T).argmax(1)
    cosine = torch.nn.functional.cosine_similarity(pair.decoder, u[rows, :3])
    assert float(cosine.detach().median()) > 0.99


def test_rows_are_drawn_as_often_as_each_other() -> None:
    drawn = draw(7, 24, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=7)
    assert len(drawn) == 24
    assert counts.min() >= 3
    assert counts.max() <= 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_in": 0}, "d_in is 0; it must be at least 1"),
        ({"d_out": 0}, "d_out is 0"),
        ({"k": 0}, "k is 0; it must lie between 1 and the number of latents, 8"),
        ({"k": 9}, "k is 9"),
        ({"skip": True}, "skip is for transcoders; give d_out"),
    ],
)
@pytest.mark.parametrize("kind", ["topk", "batchtopk", "jumprelu", "gated", "archetypal"])
def test_a_wrong_config_of_any_kind_is_named(kind: str, options, message: str) -> None:
    with pytest.raises(InputError, match=message):
        KINDS[kind].cls.config_class(**{"d_in": 4, "n_latents": 8, "k": 2, **options})
