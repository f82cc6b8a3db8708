"""Removal: places of tokens, patterns of shorter inputs, sums against small steps, genes of every kind of model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellglass.circuits.answers import frozen_cell
from cellglass.circuits.asked import ask
from cellglass.circuits.features import replace_mlps
from cellglass.circuits.freezing import freeze
from cellglass.circuits.linear_map import Frozen
from cellglass.circuits.propagation import Targets
from cellglass.circuits.removal import deleted, losses, places, removals
from circuits.models import TARGETS, cells_of, model_of, transcoders_of
from circuits.networks import NETS, TOKENS, WIDTH, drawn, frozen, ids_of, transcoders
from circuits.test_propagation import forward

GONE = [4, 5]
PLACE = np.array([*range(4), -1, -1, *range(4, TOKENS - 2)])


def test_tokens_are_found_by_gene_and_place_within_it() -> None:
    old, new = np.array([-1, 7, 7, 3, 9, 9, -1, -1]), np.array([-1, 7, 7, 9, 9, 5, 5, 5, -1, -1])
    assert places(old, new).tolist() == [0, 1, 2, -1, 3, 4, 8, 9]
    assert places(old, old).tolist() == list(range(8))
    assert (places(old, new[:-1]) == -1).all()


@pytest.mark.parametrize("name", ["gpt_neox", "llama", "scgpt"])
def test_patterns_of_the_first_layer_are_those_of_the_input_without_the_tokens(name: str) -> None:
    net, ids = drawn(name), ids_of()
    kept = np.flatnonzero(PLACE >= 0)

    def call(some: torch.Tensor):
        if name == "scgpt":
            return lambda: net(some, some.double() / 9, torch.ones_like(some, dtype=torch.bool)).hidden
        return lambda: net(input_ids=some)

    whole, part = (freeze(net, call(some), scores=True) for some in (ids, ids[:, kept]))
    made = whole.attend(0).heads.looking()
    to = torch.from_numpy(PLACE)
    found = made.moved(to.clamp(min=0), to < 0).pattern(made.read)
    torch.testing.assert_close(found[:, kept][:, :, kept], part.attend(0).heads.pattern, rtol=1e-4, atol=1e-6)
    assert not found[:, kept][:, :, GONE].any()


def along(made: Frozen, share: float) -> Frozen:
    """Return the network with a share of the way gone to the patterns and places without the tokens."""
    to = torch.from_numpy(PLACE)
    gone, to = to < 0, to.clamp(min=0)
    steps = []
    for step in made.steps:
        if hasattr(step, "heads"):
            change = step.heads.looking().moved(to, gone).pattern(step.heads.looking().read) - step.heads.pattern
            change = torch.where(gone[:, None], 0, change)
            step = replace(step, heads=replace(step.heads, query_key=Between(step.heads.looking(), share * change)))
        steps.append(step)
    parts = dict(made.parts)
    for part in made.constant:
        parts[part] = parts[part] + share * (parts[part][to] - parts[part]) * (~gone)[:, None]
    return replace(made, steps=steps, parts=parts)


class Between:
    """Patterns that answer to what is read, and something added to them."""

    def __init__(self, made, more) -> None:
        self.made, self.more = made, more

    def pattern(self, y: torch.Tensor) -> torch.Tensor:
        return self.made.pattern(y) + self.more


@pytest.mark.parametrize("name", sorted(NETS))
def test_what_is_lost_is_the_slope_of_the_answer_on_the_way(name: str) -> None:
    """By small steps through a network whose patterns answer, scales and choice of features frozen."""
    made = frozen(name, scores=True)
    replacement = replace_mlps(made, transcoders(made, skip=True))
    torch.manual_seed(0)
    gradient = torch.zeros(TOKENS, 1, WIDTH, dtype=torch.float64)
    gradient[-1] = torch.randn(1, WIDTH, dtype=torch.float64)
    targets = Targets(len(made.steps), gradient, torch.zeros(1, dtype=torch.float64))
    found = losses(made, replacement, targets, np.stack([PLACE, np.arange(TOKENS)]))
    answers = []
    for share in (1e-3, -1e-3):
        moved = along(made, share)
        last = forward(moved, replacement, moved.first, replacement.error, soft=True)
        answers.append(float((last * gradient[:, 0]).sum()))
    assert found[0] == pytest.approx((answers[1] - answers[0]) / 2e-3, rel=1e-3, abs=1e-3)
    assert found[1] == pytest.approx(0, abs=1e-5)
    assert abs(found[0]) > 1e-2


@pytest.mark.parametrize("kind", sorted(TARGETS))
def test_every_gene_has_its_removal_unless_it_is_what_is_asked(kind: str) -> None:
    one = ask(model_of(kind), cells_of()[:1], transcoders_of(kind), *TARGETS[kind])
    found = removals(one)
    symbols, questions = deleted(one)
    assert set(found.index) == set(symbols) == {gene for gene in one.question.genes if gene}
    made = frozen_cell(one.model, one.question.tokens, scores=True)
    for gene, without in zip(symbols, questions, strict=True):
        if without is None:
            assert gene in TARGETS[kind][0]
            assert np.isnan(found[gene])
            continue
        assert gene not in without.genes
        place = places(one.question.tokens.gene, without.tokens.gene)
        assert [one.question.genes[i] for i in np.flatnonzero(place < 0)] == [gene] * int((place < 0).sum())
        if place[-1] < 0 and kind == "gemma2":  # the next word is asked for at the last gene
            assert np.isnan(found[gene])
            continue
        (expected,) = losses(made, one.replacement, one.answers.targets, place[None])
        assert found[gene] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert found.abs().max() > 1e-3
