"""Heads: their contributions add up to what attention gives and to the target; what they carry adds up to them."""

from __future__ import annotations

import pytest
import torch

from cellglass.circuits.features import replace_mlps
from cellglass.circuits.freezing import freeze
from cellglass.circuits.heads import carried, head_effects, head_targets
from cellglass.circuits.linear_map import Attend, through
from cellglass.circuits.propagation import Targets, effects, feature_targets
from cellglass.errors import InputError
from circuits.networks import LAYERS, NETS, TOKENS, WIDTH, drawn, frozen, ids_of, ran, transcoders

EXACT = {"rtol": 1e-9, "atol": 1e-9}


def answers(made, n: int = 2) -> Targets:
    torch.manual_seed(0)
    gradient = torch.zeros(TOKENS, n, WIDTH, dtype=torch.float64)
    gradient[-1] = torch.randn(n, WIDTH)
    return Targets(len(made.steps), gradient, torch.arange(n).double())


@pytest.mark.parametrize("name", sorted(NETS))
def test_heads_and_what_goes_along_the_stream_add_up_to_the_target(name: str) -> None:
    made = frozen(name)
    replacement = replace_mlps(made, transcoders(made))
    given = answers(made)
    torch.testing.assert_close(head_effects(made, given).sums(), given.values(made.final), **EXACT)
    for layer in range(LAYERS):
        features = replacement.features[layer]
        position, slot = torch.nonzero(features.value > 0, as_tuple=True)
        targets = feature_targets(made, replacement, layer, position, features.latent[position, slot])
        sums = head_effects(made, targets).sums()
        torch.testing.assert_close(sums, features.value[position, slot], **EXACT)


@pytest.mark.parametrize("name", sorted(NETS))
def test_heads_of_a_layer_add_up_to_what_its_attention_gives(name: str) -> None:
    """The share of a target that is taken off when a layer's attention is taken off the stream, less its biases."""
    made = frozen(name)
    given = answers(made)
    found = head_effects(made, given)
    states = list(made.states(made.first, made.mlp_out))
    for i, step in enumerate(made.steps):
        if not isinstance(step, Attend):
            continue
        y = through(step.before, states[i])
        added = step.heads(y) if step.heads.output_bias is None else step.heads(y) - step.heads.output_bias
        added = added if step.after is None else step.after.linear(added)
        zero = torch.zeros_like(added)
        for later in made.steps[i + 1 :]:
            if hasattr(later, "norm"):
                added, zero = later.norm(added), later.norm(zero)
        expected = torch.einsum("td,tbd->b", added - zero, given.gradient)
        torch.testing.assert_close(found.heads[step.layer].sum((0, 1)), expected, **EXACT)


@pytest.mark.parametrize("name", ["gpt_neox, sequential", "gemma2"])
def test_a_contribution_is_its_formula(name: str) -> None:
    made = frozen(name)
    given = answers(made, 1)
    found = head_effects(made, given)
    states = list(made.states(made.first, made.mlp_out))
    g = made.steps[-1].norm.back(given.gradient)[-1, 0]
    for i, step in enumerate(made.steps):
        if isinstance(step, Attend):
            y, c = step.before(states[i]), len(step.heads.output) // step.heads.n_heads
            behind = g if step.after is None else g * step.after.weight * step.after.scale[-1]
            for head in range(step.heads.n_heads):
                some = slice(head * c, (head + 1) * c)
                for s in (0, 7, TOKENS - 1):
                    bias = 0 if step.heads.value_bias is None else step.heads.value_bias[some]
                    v = (y[s] @ step.heads.value[:, some] + bias) @ step.heads.output[some]
                    expected = step.heads.pattern[head, -1, s] * (v @ behind)
                    torch.testing.assert_close(found.heads[step.layer, head, s, 0], expected)


def test_no_head_of_its_own_layer_is_upstream_of_a_parallel_mlp() -> None:
    for name, own in (("gpt_neox", False), ("gpt_neox, sequential", True)):
        made = frozen(name)
        replacement = replace_mlps(made, transcoders(made))
        features = replacement.features[1]
        targets = feature_targets(made, replacement, 1, torch.tensor([TOKENS - 1]), features.latent[-1, :1])
        found = head_effects(made, targets).heads
        assert bool(found[0].any())
        assert bool(found[1].any()) == own
        assert not bool(found[2].any())
    with pytest.raises(InputError, match="heads of layer 2 are not upstream of the target"):
        head_targets(made, targets, 2, 0, 0)


@pytest.mark.parametrize("name", sorted(NETS))
def test_what_a_head_carries_adds_up_to_its_contribution(name: str) -> None:
    made = frozen(name)
    replacement = replace_mlps(made, transcoders(made, skip=True))
    given = answers(made)
    found = head_effects(made, given).heads
    for layer, head, source in [(0, 0, 2), (2, 1, 8), (2, 3, TOKENS - 1)]:
        contribution = found[layer, head, source]
        targets = head_targets(made, given, layer, head, source)
        torch.testing.assert_close(head_effects(made, targets).sums(), contribution, **EXACT)
        torch.testing.assert_close(effects(made, replacement, targets).sums(), contribution, **EXACT)
        for target in (0, 1):
            for stand in (replacement, None):
                table = carried(made, stand, given, layer, head, source, target=target)
                assert table["effect"].sum() == pytest.approx(float(contribution[target]), rel=1e-9, abs=1e-9)
    assert table["effect"].abs().is_monotonic_decreasing


def test_the_table_has_the_largest_first() -> None:
    made = frozen("bert")
    found = head_effects(made, answers(made))
    table = found.table(1)
    assert len(table) == LAYERS * 4 * TOKENS
    for row in table.sample(5, random_state=0).itertuples():
        assert row.effect == float(found.heads[row.layer, row.head, row.source, 1])
    assert table["effect"].abs().is_monotonic_decreasing
    assert len(found.table(1, most=7)) == 7
    assert len(head_effects(frozen("gpt_neox"), answers(frozen("gpt_neox"))).table()) == LAYERS * 4 * TOKENS


def test_what_is_not_there_is_refused() -> None:
    made = frozen("gpt_neox")
    with pytest.raises(InputError, match="there is no head 4; layer 1 has heads 0 to 3"):
        head_targets(made, answers(made), 1, 4, 0)
    with pytest.raises(InputError, match="there is no token -1; the input has tokens 0 to 12"):
        head_targets(made, answers(made), 1, 0, -1)


def test_gpt2_gives_dunefskys_formula_from_its_own_weights() -> None:
    """Plain loops over the modules of transformers' GPT-2: pattern (x_s W_V + b_V) W_O, through the reader's norm."""
    net = drawn("gpt2")
    made = freeze(net, ran(net))
    replacement = replace_mlps(made, transcoders(made))
    features = replacement.features[2]
    t, slot = (int(one) for one in torch.nonzero(features.value > 0)[-1])
    latent = features.latent[t, slot]
    targets = feature_targets(made, replacement, 2, torch.tensor([t]), latent[None])
    found = head_effects(made, targets)
    net.set_attn_implementation("eager")
    seen = {}
    hook = net.transformer.h[2].ln_2.register_forward_pre_hook(lambda _m, args: seen.__setitem__("reads", args[0][0]))
    said = net(input_ids=ids_of(), output_hidden_states=True, output_attentions=True)
    hook.remove()
    norm, x = net.transformer.h[2].ln_2, seen["reads"][t]
    sigma = (x.var(unbiased=False) + norm.eps).sqrt()
    for layer in (0, 1, 2):
        block, c = net.transformer.h[layer], WIDTH // 4
        reads = block.ln_1(said.hidden_states[layer][0])
        for head in range(4):
            value = slice(2 * WIDTH + head * c, 2 * WIDTH + (head + 1) * c)
            for s in (0, 5, t):
                v = reads[s] @ block.attn.c_attn.weight[:, value] + block.attn.c_attn.bias[value]
                out = v @ block.attn.c_proj.weight[head * c : (head + 1) * c]
                read = (out - out.mean()) / sigma * norm.weight @ features.read[latent]
                expected = said.attentions[layer][0, head, t, s] * read
                torch.testing.assert_close(found.heads[layer, head, s, 0], expected, **EXACT)
