"""A network as a linear map: its states are the network's own, which is left as it was; what is another is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cellglass.circuits.architectures import Attention, plan_of
from cellglass.circuits.freezing import freeze
from cellglass.errors import InputError
from circuits.networks import LAYERS, NETS, drawn, frozen, ran


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_map_gives_the_networks_own_states(name: str, dtype: torch.dtype) -> None:
    net = drawn(name, dtype)
    lists = ("layer", "layers", "h")
    named = [(path.split("."), module) for path, module in net.named_modules()]
    layers = [module for path, module in named if path[-1].isdigit() and path[-2] in lists]
    seen: list[torch.Tensor] = []
    handles = [
        one.register_forward_hook(lambda _m, _a, out: seen.append(out[0] if isinstance(out, tuple) else out))
        for one in layers
    ]
    ran(net)()
    for handle in handles:
        handle.remove()
    made = freeze(net, ran(net))
    assert made.n_layers == len(seen) == LAYERS
    states = list(made.states(made.first, made.mlp_out))
    for layer, theirs in enumerate(seen):
        torch.testing.assert_close(
            states[made.ends[layer + 1]], theirs.reshape(-1, theirs.shape[-1]), rtol=1e-4, atol=1e-4
        )
    torch.testing.assert_close(states[-1], made.final)


@pytest.mark.parametrize("name", ["gpt_neox", "gemma2", "bert"])
def test_a_pass_leaves_the_network_as_it_was(name: str) -> None:
    net = drawn(name)
    before, own = net.config._attn_implementation, ran(net)()[0]
    freeze(net, ran(net))
    assert net.config._attn_implementation == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    torch.testing.assert_close(ran(net)()[0], own, rtol=0, atol=0)


def test_queries_and_keys_are_kept_on_wish_only() -> None:
    made = frozen("gemma2")
    assert all(made.attend(layer).heads.query_key is None for layer in range(LAYERS))
    with pytest.raises(InputError, match="queries and keys of this model were not kept; freeze it with scores=True"):
        made.attend(0).heads.looking()


def test_a_plan_without_queries_and_keys_cannot_keep_them() -> None:
    net = drawn("gpt_neox")
    plan = plan_of(net)
    bare = replace(plan, steps=[replace(s, query_key=None) if isinstance(s, Attention) else s for s in plan.steps])
    with pytest.raises(InputError, match="the plan says no queries and keys of gpt_neox"):
        freeze(net, ran(net), bare, scores=True)


def test_a_network_that_computes_something_else_is_refused() -> None:
    net = drawn("gpt_neox")
    net.gpt_neox.layers[1].mlp.register_forward_hook(lambda _m, _a, out: -out)
    plan = plan_of(net)
    broken = drawn("gpt_neox")
    with pytest.raises(InputError, match="computes something else than circuits know of it"):
        freeze(net, ran(net), plan_of(broken))
    assert freeze(net, ran(net), plan).n_layers == LAYERS  # what its parts do is read from the parts


def test_several_inputs_are_refused() -> None:
    net = drawn("gpt_neox")
    with pytest.raises(InputError, match="a circuit is of one input, but the batch holds 2"):
        freeze(net, lambda: net(input_ids=torch.ones(2, 4, dtype=torch.long)))
