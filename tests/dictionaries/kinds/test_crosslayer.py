"""The cross-layer transcoder against loops over layers; what a latent writes reaches its layer and later ones alone."""

import pytest
import torch

from cellglass.dictionaries import CrossLayerConfig, CrossLayerTranscoder, TrainConfig, load, train
from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.errors import InputError

LAYERS, D, OUT, M, K = 3, 4, 5, 7, 2
CONFIG = CrossLayerConfig(LAYERS * D, LAYERS * M, K, n_layers=LAYERS, d_out=LAYERS * OUT)


@pytest.fixture
def dictionary() -> CrossLayerTranscoder:
    noise = torch.Generator().manual_seed(0)
    made = CrossLayerTranscoder(CONFIG)
    with torch.no_grad():
        for name, weight in [*made.named_parameters(), *made.named_buffers()]:
            random = torch.randn(weight.shape, generator=noise)
            weight.copy_(random.abs() + 0.5 if "scale" in name else random)
    return made.freeze()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(30, LAYERS * D, generator=torch.Generator().manual_seed(1))


def test_encode_and_decode_equal_loops_over_layers(dictionary, x) -> None:
    codes = dictionary.encode(x)
    assert codes.indices.shape == (30, LAYERS * K)
    dense, out = codes.to_csr().toarray(), dictionary.decode(codes)
    for i in range(30):
        u = (x[i] - dictionary.centre) / dictionary.scale
        total = dictionary.bias.clone()
        for layer in range(LAYERS):
            own = range(layer * M, (layer + 1) * M)
            inputs = u[layer * D : (layer + 1) * D]
            p = {j: float(dictionary.encoder[j] @ inputs + dictionary.encoder_bias[j]) for j in own}
            kept = sorted(own, key=p.__getitem__)[-K:]
            for j in own:
                f = max(p[j], 0.0) if j in kept else 0.0
                assert dense[i, j] == pytest.approx(f, rel=1e-4, abs=1e-5)
                total[layer * OUT :] += f * getattr(dictionary, f"decoder_{layer}")[j - layer * M]
        assert torch.allclose(out[i], dictionary.centre_out + dictionary.scale_out * total, atol=1e-4)


def test_directions_are_what_a_unit_of_activation_adds(dictionary) -> None:
    nothing = dictionary.decode(Codes(torch.zeros(1, 1).long(), torch.zeros(1, 1), dictionary.n_latents))
    for latent in range(dictionary.n_latents):
        one = dictionary.decode(Codes(torch.tensor([[latent]]), torch.ones(1, 1), dictionary.n_latents))
        assert torch.allclose(one - nothing, dictionary.directions[latent : latent + 1], atol=1e-5)
        assert not bool(dictionary.directions[latent, : latent // M * OUT].any())


def test_one_latent_of_each_row_is_the_lookup_and_codes_have_gradients(dictionary, x) -> None:
    dense = torch.from_numpy(dictionary.encode(x).to_csr().toarray())
    latent = torch.arange(30) % dictionary.n_latents
    assert torch.allclose(dictionary.activations_of(x, latent), dense[torch.arange(30), latent], atol=1e-6)
    moved = x.clone().requires_grad_()
    codes = dictionary.encode(moved)
    assert torch.allclose(torch.from_numpy(codes.to_csr().toarray()), dense, atol=1e-6)
    weight = torch.randn(codes.values.shape, generator=torch.Generator().manual_seed(2))
    (grad,) = torch.autograd.grad((codes.values * weight).sum(), moved)
    active = torch.zeros(30, dictionary.n_latents).scatter(1, codes.indices, weight * (codes.values > 0))
    pre = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad((dictionary.preactivations(pre) * active).sum(), pre)
    assert torch.allclose(grad, wanted, atol=1e-5)


def test_each_layer_has_a_scale_of_its_own_and_what_is_written_has_norm_one(tmp_path) -> None:
    noise = torch.Generator().manual_seed(3)
    size = torch.tensor([1.0, 20.0, 0.1])
    x = torch.randn(500, LAYERS * D, generator=noise) * size.repeat_interleave(D) + 4
    y = torch.randn(500, LAYERS * OUT, generator=noise) * size.flip(0).repeat_interleave(OUT) - 1
    dictionary = train(CrossLayerTranscoder(CONFIG), x, TrainConfig(steps=30, batch_size=64), target=y, seed=0)
    assert torch.allclose(dictionary.scale.view(LAYERS, D).mean(1), size, rtol=0.1)
    assert torch.allclose(dictionary.scale_out.view(LAYERS, OUT).mean(1), size.flip(0), rtol=0.1)
    for layer in range(LAYERS):
        assert dictionary.scale.view(LAYERS, D)[layer].unique().numel() == 1
        rows = getattr(dictionary, f"decoder_{layer}")
        assert rows.shape == (M, (LAYERS - layer) * OUT)
        assert torch.allclose(rows.norm(dim=1), torch.ones(M), atol=1e-5)
    dictionary.save(tmp_path / "d")
    again = load(tmp_path / "d")
    assert type(again) is CrossLayerTranscoder
    assert torch.allclose(again.decode(again.encode(x)), dictionary.decode(dictionary.encode(x)), rtol=1e-5, atol=1e-5)
    assert isinstance(again, Dictionary)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_out": None}, "give d_out"),
        ({"skip": True}, "no skip connection"),
        ({"n_layers": 0}, "n_layers is 0"),
        ({"n_layers": 5}, "d_in is 12; it must be a multiple of 5 layers"),
        ({"n_latents": 22}, "n_latents is 22; it must be a multiple of 3"),
        ({"d_out": 16}, "d_out is 16"),
        ({"k": 8}, "k is 8, but a layer has 7 latents"),
    ],
)
def test_a_wrong_config_is_named(options, message: str) -> None:
    right = {"d_in": LAYERS * D, "n_latents": LAYERS * M, "k": K, "n_layers": LAYERS, "d_out": LAYERS * OUT}
    with pytest.raises(InputError, match=message):
        CrossLayerConfig(**{**right, **options})


def test_layer_after_layer_it_is_what_it_is_at_once(dictionary, x) -> None:
    whole, codes = dictionary.decode(dictionary.encode(x)).split(OUT, dim=1), dictionary.encode(x).to_csr().toarray()
    total = [dictionary.rest(layer).expand(30, -1) for layer in range(LAYERS)]
    for layer in range(LAYERS):
        own = dictionary.encode_layer(x[:, layer * D : (layer + 1) * D], layer)
        assert own.to_csr().toarray() == pytest.approx(codes[:, layer * M : (layer + 1) * M], abs=1e-5)
        for to, part in enumerate(dictionary.decode_layer(own, layer).split(OUT, dim=1), layer):
            total[to] = total[to] + part
    for found, wanted in zip(total, whole, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
