"""Queries and keys: what a change of the input changes in a pattern, against autograd and finite steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cellglass.circuits.patterns import QueryKey

T, B, D, H, C = 6, 3, 8, 2, 4


def made(*, cap: float | None = None, turned: int = 0, seen: bool = False) -> QueryKey:
    torch.manual_seed(0)
    read, query, key = (torch.randn(n, m).double() for n, m in [(T, D), (D, H * C), (D, H * C)])
    biases = torch.randn(2, H * C).double()
    angle = torch.arange(T).double()[:, None] * torch.rand(turned // 2).double().repeat(2) if turned else None
    cos, sin = (None, None) if angle is None else (angle.cos(), angle.sin())
    mask = torch.ones(T, T, dtype=torch.bool).tril() if seen else None
    return QueryKey(read, H, query, biases[0], key, biases[1], 0.3, cap, cos, sin, mask)


KINDS = [made(), made(cap=1.5), made(turned=2), made(turned=C, seen=True), made(cap=2.0, turned=C)]


def by_loop(one: QueryKey, y: torch.Tensor) -> torch.Tensor:
    """Return the scores one by one; a turn is a multiplication of complex numbers."""
    out = torch.empty(H, T, T, dtype=torch.float64)
    for h in range(H):
        some = slice(h * C, (h + 1) * C)
        q, k = y @ one.query[:, some] + one.query_bias[some], y @ one.key[:, some] + one.key_bias[some]
        for t in range(T):
            for s in range(T):
                a, b = q[t].clone(), k[s].clone()
                if one.cos is not None:
                    half = one.cos.shape[1] // 2
                    for x, token in ((a, t), (b, s)):
                        z = torch.complex(x[:half].clone(), x[half : 2 * half].clone())
                        z = z * torch.complex(one.cos[token, :half], one.sin[token, :half])
                        x[:half], x[half : 2 * half] = z.real, z.imag
                out[h, t, s] = one.scaling * (a @ b)
    out = out if one.cap is None else one.cap * torch.tanh(out / one.cap)
    return out if one.seen is None else out.masked_fill(~one.seen, -torch.inf)


@pytest.mark.parametrize("one", KINDS)
def test_scores_are_their_formula(one: QueryKey) -> None:
    torch.testing.assert_close(one.scores(one.read), by_loop(one, one.read))
    torch.testing.assert_close(one.pattern(one.read).sum(-1), torch.ones(H, T, dtype=torch.float64))


@pytest.mark.parametrize("one", KINDS)
def test_back_is_the_gradient_of_what_is_read_through_the_pattern(one: QueryKey) -> None:
    values, g = torch.randn(H, T, C).double(), torch.randn(H, T, B, C).double()
    found = one.back(one.pattern(one.read), values, g)
    for b in range(B):
        y = one.read.clone().requires_grad_()
        (expected,) = torch.autograd.grad((one.pattern(y) @ values * g[:, :, b]).sum(), y)
        torch.testing.assert_close(found[:, b], expected)


@pytest.mark.parametrize("one", KINDS)
def test_change_is_the_derivative_of_the_pattern_along_its_own_input(one: QueryKey) -> None:
    bias, step = torch.randn(D).double(), 1e-6
    found = one.change(one.pattern(one.read), bias)
    along = (one.pattern(one.read + step * (one.read - bias)) - one.pattern(one.read - step * (one.read - bias))) / 2
    torch.testing.assert_close(found, along / step, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("one", KINDS)
def test_one_head_at_one_token_is_a_row_of_all(one: QueryKey) -> None:
    for head, token in [(0, 0), (1, T - 1)]:
        for side, every in (("query", one.queries), ("key", one.keys)):
            part = one.one(one.read[token][None], head, token, side)[0] + one.bias(head, token, side)
            torch.testing.assert_close(part, every(one.read)[head, token])


@pytest.mark.parametrize("one", KINDS)
def test_tokens_at_other_places_are_turned_there_and_gone_ones_are_not_seen(one: QueryKey) -> None:
    """Places behind the last one too; a shift of all is none."""
    place, gone = torch.tensor([0, 1, 3, 4, 8, 9]), torch.tensor([False, False, True, False, False, False])
    found = one.moved(place, gone)
    seen = torch.ones(T, T, dtype=torch.bool) if one.seen is None else one.seen.clone()
    seen[:, 2] = False
    expected = replace(one, seen=seen)
    if one.cos is not None:
        angle = torch.atan2(one.sin[1], one.cos[1]) * place[:, None]
        expected = replace(expected, cos=angle.cos(), sin=angle.sin())
    torch.testing.assert_close(found.pattern(one.read), by_loop(expected, one.read).softmax(-1))
    shifted = one.moved(torch.arange(T) + 5, torch.zeros(T, dtype=torch.bool))
    torch.testing.assert_close(shifted.pattern(one.read), one.pattern(one.read))


def test_the_first_tokens_stand_alone() -> None:
    one = made(turned=C, seen=True)
    part = one.cut(4)
    torch.testing.assert_close(part.pattern(part.read), one.pattern(one.read)[:, :4, :4])
