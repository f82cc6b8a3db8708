"""The linear map: each part forward and back against autograd, and the first tokens of a causal model."""

from __future__ import annotations

import pytest
import torch

from cellglass.circuits.linear_map import Attend, Heads, Norm
from circuits.networks import CAUSAL, NETS, frozen

T, B, D = 6, 3, 8


def norm(*, centred: bool) -> Norm:
    torch.manual_seed(0)
    return Norm(torch.rand(T, 1).double() + 0.5, torch.randn(D).double(), torch.randn(D).double(), centred)


def heads() -> Heads:
    torch.manual_seed(1)
    pattern = torch.randn(2, T, T).double().softmax(-1)
    value, output = torch.randn(D, 6).double(), torch.randn(6, D).double()
    return Heads(pattern, value, torch.randn(6).double(), output, torch.randn(D).double())


@pytest.mark.parametrize("part", [norm(centred=True), norm(centred=False), heads()])
def test_back_is_the_gradient_of_forward(part: Norm | Heads) -> None:
    g = torch.randn(T, B, D, dtype=torch.float64)
    found = part.back(g)
    for b in range(B):
        x = torch.randn(T, D, dtype=torch.float64, requires_grad=True)
        (expected,) = torch.autograd.grad((part(x) * g[:, b]).sum(), x)
        torch.testing.assert_close(found[:, b], expected)


def test_heads_add_up_to_attention() -> None:
    made, x = heads(), torch.randn(T, D, dtype=torch.float64)
    torch.testing.assert_close(made.by_head(x).sum(0) + made.output_bias, made(x))


def test_what_biases_alone_add_is_what_attention_makes_of_zeros() -> None:
    step = Attend(0, heads(), norm(centred=True), norm(centred=False))
    torch.testing.assert_close(step.constant(T), step(torch.zeros(T, D, dtype=torch.float64)))


@pytest.mark.parametrize("name", sorted(NETS))
def test_first_tokens_of_a_causal_model_stand_alone(name: str) -> None:
    whole = frozen(name)
    assert whole.is_causal == (name in CAUSAL)
    if whole.is_causal:
        part = whole.cut(5)
        *_, last = part.states(part.first, part.mlp_out)
        torch.testing.assert_close(last, whole.final[:5])
        assert part.n_tokens == 5
