"""Edges are what doubling their source changes, in every architecture; a wrong weight is found."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cellglass.circuits.edges import check_edges
from cellglass.circuits.features import replace_mlps
from cellglass.errors import InputError
from circuits.networks import NETS, frozen, transcoders
from circuits.test_features import crosslayer


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_edges_are_what_doubling_changes(name: str, dtype: torch.dtype, most: float) -> None:
    made = frozen(name, dtype)
    replacement = replace_mlps(made, transcoders(made, skip=True))
    found = check_edges(made, replacement, sources=20)
    active = sum(one.n_active for one in replacement.features)
    assert (found.sources, found.edges) == (20, 20 * active)
    assert found.largest > 1e-3
    assert found.deviation < most * found.largest


def test_features_that_write_to_several_layers_are_doubled_in_all() -> None:
    made = frozen("gpt_neox")
    found = check_edges(made, replace_mlps(made, crosslayer(made)), sources=20)
    assert found.largest > 1e-3
    assert found.deviation < 1e-9 * found.largest


def test_a_model_that_is_not_the_one_traced_is_found_out() -> None:
    """With later norms' scales left to move, edges would be another network's."""
    made = frozen("gpt_neox")
    replacement = replace_mlps(made, transcoders(made))
    features = replacement.features[2]
    wrong = replace(features, value=features.value * 2)  # activations that are not p
    broken = replace(replacement, features=[*replacement.features[:2], wrong])
    assert check_edges(made, broken).deviation < 1e-9  # what is last in line is a source of nothing
    step = made.mlp(1)
    other = replace(step.before, weight=step.before.weight * 1.5)
    steps = [replace(step, before=other) if s is step else s for s in made.steps]
    moved = replace(made, steps=steps)
    edge = check_edges(moved, replacement)
    assert edge.deviation < 1e-9 * edge.largest  # both ways know of it
    assert edge.largest != check_edges(made, replacement).largest


def test_nothing_to_double_is_refused() -> None:
    made = frozen("gpt_neox")
    replacement = replace_mlps(made, transcoders(made))
    with pytest.raises(InputError, match="there is nothing to check"):
        check_edges(made, replacement, sources=0)
