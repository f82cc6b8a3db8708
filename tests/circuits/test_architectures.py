"""Each architecture: its parts, what its MLPs read, its own patterns of queries and keys; another one is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cellglass.circuits.architectures import plan_of
from cellglass.errors import InputError
from circuits.networks import LAYERS, NETS, frozen


def test_parts_are_what_tokens_bring() -> None:
    a, b = frozen("scgpt"), frozen("bert")
    assert set(a.parts) == {"gene", "value"}
    assert not a.constant
    assert b.constant == {"position", "type"}
    assert (frozen("gpt2").parts.keys(), frozen("gpt2").constant) == ({"token", "position"}, {"position"})
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
    assert (made.attend(0).heads.looking().cos is None) == (name.split(",")[0] in {"bert", "gpt2", "scgpt"})


def test_another_network_is_refused() -> None:
    with pytest.raises(InputError, match=r"circuits know no network Linear; they know .*ScgptNet"):
        plan_of(nn.Linear(2, 2))
