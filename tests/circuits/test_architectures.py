"""Each architecture as a linear map: what it reads and writes is the network's own; another network is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from cellglass.circuits.architectures import Attention, freeze, plan_of
from cellglass.errors import InputError
from circuits.networks import LAYERS, NETS, drawn, frozen, ran


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_map_gives_the_networks_own_states(name: str, dtype: torch.dtype) -> None:
    net = drawn(name, dtype)
    layers = [module for path, module in net.named_modules() if path.split(".")[-1].isdigit() and "layer" in path]
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


def test_parts_are_what_tokens_bring() -> None:
    a, b = frozen("scgpt"), frozen("bert")
    assert set(a.parts) == {"gene", "value"}
    assert not a.constant
    assert b.constant == {"position", "type"}
    assert frozen("scgpt, scaled by value").parts.keys() == {"gene"}


def test_no_head_of_a_layer_is_upstream_of_its_parallel_mlp() -> None:
    made = frozen("gpt_neox")
    for layer in range(LAYERS):
        assert made.reads(layer) == made.ends[layer]  # the state that attention reads too
    assert frozen("gpt_neox, sequential").reads(1) == made.reads(1) + 1


@pytest.mark.parametrize("name", sorted(NETS))
def test_queries_and_keys_make_the_networks_own_patterns(name: str) -> None:
    made = frozen(name, scores=True)
    for layer in range(LAYERS):
        heads = made.attend(layer).heads
        found = heads.looking()
        torch.testing.assert_close(found.pattern(found.read), heads.pattern, rtol=1e-5, atol=1e-6)
        assert float(heads.pattern.std()) > 0.01  # not a pattern that any scores would make
    assert (made.attend(0).heads.looking().cos is None) == (name.split(",")[0] in {"bert", "scgpt"})


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


def test_another_network_is_refused() -> None:
    with pytest.raises(InputError, match=r"circuits know no network Linear; they know .*ScgptNet"):
        plan_of(nn.Linear(2, 2))


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
