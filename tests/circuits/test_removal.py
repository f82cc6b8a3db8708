"""Removal: places of tokens, patterns of shorter inputs, sums against small steps, genes of every kind of model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass.circuits.answers import LAST, frozen_cell
from cellglass.circuits.architectures import plan_of
from cellglass.circuits.asked import ask
from cellglass.circuits.choice import on_masks, units
from cellglass.circuits.editing import Filling, Written, edits_of
from cellglass.circuits.freezing import freeze
from cellglass.circuits.removal import deleted, losses, places, removals, slopes
from cellglass.models.transformer.hooks import run
from circuits.models import TARGETS, cells_of, model_of, transcoders_of
from circuits.networks import TOKENS, drawn, ids_of

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


@pytest.mark.parametrize("kind", sorted(TARGETS))
def test_what_is_lost_is_the_slope_of_the_circuits_answer_on_the_way(kind: str) -> None:
    """By small steps of what heads read, towards the patterns without a gene, while features answer."""
    one = ask(model_of(kind), cells_of()[:1], transcoders_of(kind, skip=True), *TARGETS[kind], scores=True)
    made, genes = one.frozen, np.array(one.question.genes, dtype=object)
    gone = genes == removals(one).abs().idxmax()
    place = np.where(gone, -1, np.cumsum(~gone) - 1)
    to = torch.from_numpy(place).clamp(min=0)
    change = {}
    for layer in range(made.n_layers):
        looking, heads = made.attend(layer).heads.looking(), made.attend(layer).heads
        fall = looking.moved(to, torch.from_numpy(gone)).pattern(looking.read) - heads.pattern
        read = torch.where(torch.from_numpy(gone)[:, None], 0, fall) @ heads.values(looking.read)
        change |= {f"layers.{layer}.attn.head.{h}": part for h, part in enumerate(read)}
    plan = plan_of(one.model.net)
    for name in plan.constant:
        change[name] = (made.parts[name][to] - made.parts[name]) * torch.from_numpy(~gone)[:, None]
    units_of = units(one.replacement)
    masks = on_masks(units_of, one.replacement, [np.arange(len(units_of))])
    batch = one.question.tokens.padded(np.arange(1), one.model.pad_id, one.model.pad_value)

    def answer(share: float) -> float:
        edits = edits_of(Written(made, one.replacement, Filling(answering=True), *masks))
        edits |= {name: lambda x, part=part: x + share * part for name, part in change.items()}
        points = {**one.model.points, LAST: plan.last, **{name: plan.parts[name] for name in plan.constant}}
        with torch.no_grad():
            seen, _ = run(one.model.net, lambda: one.model.forward(batch), points, [one.question.point], edits)
            return float(one.question.reader(seen[one.question.point]).double().sum())

    found = slopes(one)
    assert found.answer == pytest.approx(answer(0), rel=1e-4, abs=1e-4)
    assert found.answer == pytest.approx(float(one.answers.found[0]), rel=1e-3, abs=1e-3)
    lost, still = losses(made, found, np.stack([place, np.arange(len(place))]))
    step = 2e-3  # at 1e-2 a network may have bent
    assert lost == pytest.approx((answer(-step) - answer(step)) / (2 * step), rel=0.02, abs=2e-3)
    assert abs(lost) > 5e-3
    assert still == pytest.approx(0, abs=1e-5)


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
        (expected,) = losses(made, slopes(one), place[None])
        assert found[gene] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert found.abs().max() > 1e-3
