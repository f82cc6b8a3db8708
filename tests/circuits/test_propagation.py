"""Effects add up to what they are effects on, agree with doubling and autograd, and are linear in every source."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cellglass.circuits.features import replace_mlps
from cellglass.circuits.propagation import Targets, effects, feature_targets
from cellglass.errors import InputError
from circuits.networks import LAYERS, NETS, TOKENS, WIDTH, frozen, transcoders

EXACT = {torch.float32: 1e-4, torch.float64: 1e-9}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize("dtype", sorted(EXACT, key=str))
@pytest.mark.parametrize("skip", [False, True])
def test_effects_add_up_to_every_active_feature(name: str, dtype: torch.dtype, skip: bool) -> None:
    for seed in range(3):
        made = frozen(name, dtype, seed)
        replacement = replace_mlps(made, transcoders(made, skip=skip))
        for layer in range(LAYERS):
            features = replacement.features[layer]
            position, slot = torch.nonzero(features.value > 0, as_tuple=True)
            targets = feature_targets(made, replacement, layer, position, features.latent[position, slot])
            value = features.value[position, slot]
            assert len(value) > TOKENS
            for total in (False, True):
                sums = effects(made, replacement, targets, total=total).sums(total=total)
                assert float(((sums - value).abs() / value.abs().clamp_min(value.max() * 1e-3)).max()) < EXACT[dtype]


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize("dtype", sorted(EXACT, key=str))
@pytest.mark.parametrize("total", [False, True])
def test_effects_through_patterns_add_up_too(name: str, dtype: torch.dtype, total: bool) -> None:
    made = frozen(name, dtype, scores=True)
    replacement = replace_mlps(made, transcoders(made, skip=True))
    features = replacement.features[LAYERS - 1]
    position, slot = torch.nonzero(features.value > 0, as_tuple=True)
    targets = feature_targets(made, replacement, LAYERS - 1, position, features.latent[position, slot])
    value = features.value[position, slot]
    found = effects(made, replacement, targets, total=total, patterns="linear")
    away = (found.sums(total=total) - value).abs()
    size = sum(one.abs() for one in found.biases.values()) + value.abs()  # parts that cancel are larger than the sum
    assert float((away / size).max()) < EXACT[dtype]
    assert all(float(found.biases[f"layers.{i}.pattern"].abs().max()) > 1e-3 for i in range(LAYERS - 1))


def test_effects_through_patterns_need_queries_and_keys() -> None:
    made = frozen("gpt_neox")
    replacement = replace_mlps(made, transcoders(made))
    targets = Targets(len(made.steps), made.final[:, None], torch.zeros(1, dtype=torch.float64))
    with pytest.raises(InputError, match="freeze it with scores=True"):
        effects(made, replacement, targets, patterns="linear")
    with pytest.raises(InputError, match="patterns are one of frozen, linear, not 'soft'"):
        effects(made, replacement, targets, patterns="soft")


@pytest.mark.parametrize("name", sorted(NETS))
def test_an_edge_is_what_doubling_its_source_changes(name: str) -> None:
    made = frozen(name)
    replacement = replace_mlps(made, transcoders(made))
    torch.manual_seed(0)
    gradient = torch.randn(TOKENS, 2, WIDTH, dtype=torch.float64)
    answers = Targets(len(made.steps), gradient, torch.zeros(2, dtype=torch.float64))
    direct, written = effects(made, replacement, answers), replacement.written(made)
    features = replacement.features[1]
    for t, slot in [(0, 0), (4, 2), (TOKENS - 1, 1)]:
        more = [w.clone() for w in written]
        more[1][t] += features.value[t, slot] * features.write[1][features.latent[t, slot]]
        *_, last = made.states(made.first, more)
        change = answers.values(last) - answers.values(made.final)
        torch.testing.assert_close(direct.features[1][t, slot], change)
    more = [w.clone() for w in written]
    more[0][3] += replacement.error[0][3]
    *_, last = made.states(made.first, more)
    torch.testing.assert_close(direct.errors[0, 3], answers.values(last) - answers.values(made.final))
    first = made.first.clone()
    part = next(iter(made.parts))
    first[2] += made.parts[part][2]
    *_, last = made.states(first, written)
    torch.testing.assert_close(direct.parts[part][2], answers.values(last) - answers.values(made.final))


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("patterns", ["frozen", "linear"])
def test_total_effects_are_gradients_through_features(name: str, skip: bool, patterns: str) -> None:
    """The same by autograd through a forward pass in which transcoders answer with their choice frozen."""
    made = frozen(name, scores=True)
    replacement = replace_mlps(made, transcoders(made, skip=skip))
    torch.manual_seed(0)
    gradient = torch.randn(TOKENS, 1, WIDTH, dtype=torch.float64)
    targets = Targets(len(made.steps), gradient, torch.zeros(1, dtype=torch.float64))
    found = effects(made, replacement, targets, total=True, patterns=patterns)
    first = made.first.clone().requires_grad_()
    errors = [e.clone().requires_grad_() for e in replacement.error]
    last = forward(made, replacement, first, errors, soft=patterns == "linear")
    answer = (last * gradient[:, 0]).sum()
    grads = torch.autograd.grad(answer, [first, *errors])
    tokens = sum(found.parts.values())[:, 0]
    close = {"rtol": 1e-7, "atol": 1e-7} if patterns == "frozen" else {"rtol": 2e-5, "atol": 2e-5}
    torch.testing.assert_close(tokens, (grads[0] * made.first).sum(1), **close)
    for layer in range(LAYERS):
        expected = (grads[1 + layer] * replacement.error[layer]).sum(1)
        torch.testing.assert_close(found.errors[layer, :, 0], expected, **close)
    torch.testing.assert_close(found.sums(total=True)[0], answer.detach(), **close)


def forward(made, replacement, first, errors, *, soft: bool):
    """Return the last state, with scales and features' choice frozen; soft patterns are the network's float32 ones."""
    states, x = [], first
    for step in made.steps:
        states.append(x)
        layer = getattr(step, "layer", None)
        if hasattr(step, "norm"):
            x = step.norm(x)
        elif hasattr(step, "heads"):
            y = x if step.before is None else step.before(x)
            heads = step.heads
            out = (replace(heads, pattern=heads.query_key.pattern(y)) if soft else heads)(y)
            x = x + (out if step.after is None else step.after(out))
        else:
            read = states[made.reads(layer)]
            y = read if step.before is None else step.before(read)
            f = replacement.features[layer]
            p = torch.einsum("td,tkd->tk", y, f.read[f.latent]) + f.read_bias[f.latent]
            p = p * (f.value > 0)
            out = torch.einsum("tk,tkd->td", p, f.write[layer][f.latent]) + replacement.constant[layer] + errors[layer]
            if replacement.skip[layer] is not None:
                out = out + y @ replacement.skip[layer]
            x = x + out
    return x
