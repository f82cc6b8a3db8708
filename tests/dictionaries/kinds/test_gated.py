"""Gated: codes by the two halves of the encoder, each latent alone, and the pressure that brings their number to k."""

import pytest
import torch

from cellglass.dictionaries import Gated, GatedConfig
from cellglass.dictionaries.base import Dictionary
from cellglass.dictionaries.sparse_ops.products import Pattern
from cellglass.dictionaries.sparse_ops.selection import Chosen


def filled(**role) -> Gated:
    noise = torch.Generator().manual_seed(0)
    made = Gated(GatedConfig(6, 33, 5, **role))
    with torch.no_grad():
        for name, weight in [*made.named_parameters(), *made.named_buffers()]:
            random = torch.randn(weight.shape, generator=noise)
            weight.copy_(random.abs() + 0.3 if "scale" in name or name == "pressure" else random)
    return made.freeze()


@pytest.mark.parametrize("role", [{}, {"d_out": 3}, {"d_out": 3, "skip": True}])
def test_codes_equal_the_formula_in_loops(role) -> None:
    dictionary = filled(**role)
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(1)) * 3
    dense = dictionary.encode(x).to_csr().toarray()
    u = (x - dictionary.centre) / dictionary.scale
    if not role:
        u = u - dictionary.bias
    closed = 0
    for i in range(20):
        for j in range(33):
            q = float(u[i] @ dictionary.encoder[j])
            gate = q + float(dictionary.gate_bias[j])
            value = max(float(dictionary.log_magnitude[j].exp()) * q + float(dictionary.encoder_bias[j]), 0.0)
            assert dense[i, j] == pytest.approx(value if gate > 0 else 0.0, rel=1e-3, abs=1e-5)
            assert float(dictionary.preactivations(x[i : i + 1])[0, j].relu()) == pytest.approx(
                value, rel=1e-3, abs=1e-5
            )
            closed += gate <= 0 < value
    assert closed > 10, "no gate kept a positive value back: the test is too tame"


@pytest.mark.parametrize("role", [{}, {"d_out": 3}])
def test_one_latent_of_each_row_is_the_lookup_and_so_is_its_gradient(role) -> None:
    dictionary, noise = filled(**role), torch.Generator().manual_seed(2)
    x = torch.randn(300, 6, generator=noise, requires_grad=True)
    latent = torch.randint(33, (300,), generator=noise)
    fast, plain = dictionary.activations_of(x, latent), Dictionary.activations_of(dictionary, x, latent)
    assert torch.allclose(fast, plain, atol=1e-5)
    assert 0 < int((fast > 0).sum()) < 300
    (a,) = torch.autograd.grad(fast.sum(), x)
    (b,) = torch.autograd.grad(plain.sum(), x)
    assert torch.allclose(a, b, atol=1e-5)


def test_the_pressure_grows_where_too_many_gates_are_open_and_falls_where_too_few() -> None:
    def pressure(open_gates: int) -> tuple[float, float]:
        dictionary = Gated(GatedConfig(6, 33, 5))
        pattern = Pattern(torch.tensor([0, open_gates]).int(), torch.arange(open_gates).int(), 33)
        first = float(dictionary.pressure[0])
        for _ in range(50):
            dictionary.settle([Chosen(pattern, torch.ones(open_gates))], None, lambda value: value)
        assert float(dictionary.pressure[1]) == pytest.approx(open_gates, abs=0.1)
        return first, float(dictionary.pressure[0])

    for open_gates, way in ((20, 1), (1, -1), (5, 0)):
        before, after = pressure(open_gates)
        assert (after > 1.5 * before) - (after < before / 1.5) == way


def test_the_pressure_is_no_part_of_what_is_saved(tmp_path) -> None:
    dictionary = filled()
    assert "pressure" not in dictionary.state_dict()
    dictionary.save(tmp_path / "d")
    assert set(Gated.load(tmp_path / "d").state_dict()) == set(dictionary.state_dict())
