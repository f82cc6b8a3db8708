"""The linear map: each part forward and back against autograd, and the first tokens of a causal model."""

from __future__ import annotations

from dataclasses import replace

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


def test_heads_that_share_a_value_map_are_walked_back_as_each_with_its_own() -> None:
    made = heads()
    value = made.value[:, :3].repeat(1, 2)
    apart, shared = replace(made, value=value), replace(made, value=value, shared=2)
    g = torch.randn(T, B, D, dtype=torch.float64)
    torch.testing.assert_close(shared.back(g), apart.back(g))


def test_heads_add_up_to_attention() -> None:
    made, x = heads(), torch.randn(T, D, dtype=torch.float64)
    torch.testing.assert_close(made.by_head(x).sum(0) + made.output_bias, made(x))


@pytest.mark.parametrize("name", sorted(NETS))
def test_linear_patterns_and_their_constant_give_what_attention_gives(name: str) -> None:
    """Attention's gradient through values and patterns, times its input, and constants of their own formulas."""
    made = frozen(name, scores=True)
    states = list(made.states(made.first, made.mlp_out))
    g = torch.randn(made.n_tokens, 2, made.final.shape[1], dtype=torch.float64)
    for i, step in enumerate(made.steps):
        if isinstance(step, Attend):
            linear = torch.einsum("td,tbd->b", states[i], step.back(g, "linear"))
            constant = torch.einsum("td,tbd->b", step.constant(made.n_tokens) + step.unexplained(), g)
            torch.testing.assert_close(
                linear + constant, torch.einsum("td,tbd->b", step(states[i]), g), rtol=1e-9, atol=1e-8
            )
            assert not torch.allclose(step.back(g), step.back(g, "linear"), rtol=1e-2)


def test_the_first_tokens_keep_their_queries_and_keys() -> None:
    made = frozen("gemma2", scores=True)
    g = torch.zeros(made.n_tokens, 1, made.final.shape[1], dtype=torch.float64)
    g[4] = torch.randn(g.shape[2])
    for layer in range(made.n_layers):
        whole, part = made.attend(layer).back(g, "linear"), made.cut(5).attend(layer).back(g[:5], "linear")
        torch.testing.assert_close(part, whole[:5])
        assert not bool(whole[5:].any())


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
