"""Changes that are tried: nothing changed is nothing, counts are a cell made anew, means over cells with their null."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from cellglass.circuits.answers import question, real_values
from cellglass.circuits.scaling import ScaleFeatures
from cellglass.circuits.trying import SetCount, each_tried, other_genes, summed, try_changes, try_in_cells
from cellglass.errors import InputError
from circuits.models import LATENTS, NAMES, TARGETS, cells_of, model_of, transcoders_of
from circuits.test_scaling import active, asked_of

KINDS = sorted(TARGETS)


@pytest.mark.parametrize("kind", ["gpt_neox", "scgpt"])
def test_a_factor_of_one_and_features_that_are_silent_change_nothing(kind: str) -> None:
    silent = (0, next(i for i in range(LATENTS) if i not in active(kind, 0, "LYZ")))
    for change in (ScaleFeatures([(0, active(kind, 0)[0])], 1.0), ScaleFeatures([silent], 0.0, "LYZ")):
        found = try_changes(
            model_of(kind), cells_of()[:1], transcoders_of(kind), *TARGETS[kind], changes=[change], draws=3
        )
        assert found.after == found.before
        assert (found.touched, found.norm) == (0, 0)
        np.testing.assert_allclose(found.control, found.before, atol=1e-6)
        np.testing.assert_allclose(found.chances, found.chances[:1].repeat(5, 0), atol=1e-6)
        assert found.share == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_count_that_is_set_is_a_cell_read_anew(kind: str) -> None:
    model, cell = model_of(kind), cells_of()[:1]
    for gene, count in (("LYZ", 0), ("CCL5", 40)):
        if gene in str(TARGETS[kind]):
            continue
        dense = cell.counts.toarray()
        dense[0, NAMES.index(gene)] = count
        changed = dataclasses.replace(cell, counts=type(cell.counts)(dense))
        (wanted,) = real_values(model, [question(model, model.align(changed), *TARGETS[kind])])
        found = try_changes(model, cell, None, *TARGETS[kind], changes=[SetCount(gene, count)], draws=4)
        assert found.after == pytest.approx(wanted, abs=1e-5)
        assert (found.touched, found.norm) == (1, 0)
        assert np.isfinite(found.control).any()
    same = try_changes(model, cell, None, *TARGETS[kind], changes=[SetCount("B2M", int(cell.counts[0, 8]))], draws=0)
    assert (same.after, same.touched) == (same.before, 0)


@pytest.mark.parametrize("kind", ["gpt_neox", "gemma2", "geneformer"])
def test_probabilities_are_those_that_the_network_itself_gives(kind: str) -> None:
    model, asked = model_of(kind), asked_of(kind)
    with torch.no_grad():
        logits = model.net(input_ids=torch.from_numpy(asked.tokens.ids)[None]).logits[0]
    place = list(asked.tokens.ids).index(1) if kind == "geneformer" else -1  # 1 is <mask>
    found = try_changes(model, cells_of()[:1], None, *TARGETS[kind], changes=[SetCount("IL7R", 9)], draws=1)
    assert found.words == (TARGETS[kind][0].partition(":")[2], TARGETS[kind][1])
    for chance in found.chances[0]:
        assert float((logits[place].softmax(-1) - chance).abs().min()) == pytest.approx(0, abs=1e-6)
    if kind != "gemma2":  # whose logits are capped
        assert np.log(found.chances[0, 0] / found.chances[0, 1]) == pytest.approx(found.before, abs=1e-4)


def test_a_model_without_words_has_no_probabilities() -> None:
    found = try_changes(model_of("scgpt"), cells_of()[:1], None, "CD79A", changes=[SetCount("LYZ", 0)], draws=1)
    assert (found.words, found.chances.shape) == ((), (3, 0))


def test_other_genes_are_those_of_nearest_mean_count() -> None:
    model, cells = model_of("scgpt"), cells_of()
    mean = np.log1p(model.align(cells).counts.toarray()).mean(0)
    lyz, ccl5 = NAMES.index("LYZ"), NAMES.index("CCL5")
    found = other_genes(model, cells, np.array([lyz, ccl5]), 2, 0)
    assert found.shape == (2, 2)
    assert len({lyz, ccl5, *found.ravel().tolist()}) == 6, "none stands for two, and none is changed itself"
    free = sorted(set(range(len(NAMES))) - {lyz, ccl5}, key=lambda gene: abs(mean[gene] - mean[lyz]))
    assert set(found[:, 0]) <= set(free[:4])
    np.testing.assert_array_equal(found, other_genes(model, cells, np.array([lyz, ccl5]), 2, 0))
    with pytest.raises(InputError, match="no gene is left"):
        other_genes(model, cells, np.arange(len(NAMES)), 1, 0)


def test_cells_are_added_up_with_their_spread_and_a_null_of_their_mean() -> None:
    kind, seen = "gpt_neox", []
    changes = [ScaleFeatures([(0, active(kind, 0)[0]), (1, active(kind, 1)[0])], 0.0)]
    found = try_in_cells(
        model_of(kind), cells_of(), transcoders_of(kind), *TARGETS[kind], changes=changes, draws=5,
        progress=lambda what, done, total: seen.append((done, total)),
    )  # fmt: skip
    alone = [
        try_changes(
            model_of(kind), cells_of()[i : i + 1], transcoders_of(kind), *TARGETS[kind], changes=changes, draws=5
        )
        for i in range(6)
    ]
    assert seen == [(i + 1, 6) for i in range(6)]
    assert found.change == pytest.approx(np.mean([one.change for one in alone]), abs=1e-6)
    assert found.sd == pytest.approx(np.std([one.change for one in alone], ddof=1), abs=1e-6)
    np.testing.assert_allclose(found.control, np.mean([one.control - one.before for one in alone], axis=0), atol=1e-6)
    assert found.share == np.mean(np.abs(found.control) >= abs(found.change))
    assert (found.n, found.touched, found.left_out) == (6, sum(one.touched > 0 for one in alone), {})
    np.testing.assert_allclose(found.chances, np.mean([one.chances for one in alone], axis=0), atol=1e-6)


def test_a_cell_that_cannot_be_asked_is_left_out_and_a_generator_stops_when_nobody_asks() -> None:
    cells = cells_of()
    dense = cells.counts.toarray()
    dense[1, NAMES.index("CD79A")] = 0
    cells = dataclasses.replace(cells, counts=type(cells.counts)(dense))
    given = (model_of("scgpt"), cells, None, "CD79A")
    found = try_in_cells(*given, changes=[SetCount("LYZ", 0)], draws=2)
    assert found.n == 5
    assert "no token of 'CD79A'" in found.left_out["c1"]
    first = next(each_tried(*given, changes=[SetCount("LYZ", 0)], draws=2))
    assert summed([first]).n == 1
    assert np.isnan(summed([first]).sd)
    with pytest.raises(InputError, match=r"none of 6 cells can be asked; of the first: .*'CD79A' in cell 'c0'"):
        try_in_cells(*given, changes=[SetCount("CD79A", 0)], draws=2)
    both = [ScaleFeatures([(0, active("scgpt", 0)[0])], 2.0), SetCount("LYZ", 0)]
    mixed = try_changes(given[0], cells[:1], transcoders_of("scgpt"), "CD79A", changes=both, draws=2)
    assert mixed.touched >= 2
    assert np.isfinite(mixed.control).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([], "nothing is changed"),
        ([ScaleFeatures([(0, LATENTS)])], f"no feature L0/{LATENTS}"),
        ([ScaleFeatures([(2, 0)])], "layers 0 to 1"),
        ([ScaleFeatures([(0, 0)], 0, "NOPE")], "no gene 'NOPE'"),
        ([SetCount("NOPE", 1)], "no gene 'NOPE'"),
    ],
)
def test_what_is_not_there_is_refused(changes: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        try_changes(model_of("scgpt"), cells_of()[:1], transcoders_of("scgpt"), "CD79A", changes=changes)


def test_changes_that_are_none_are_refused() -> None:
    for make in (lambda: ScaleFeatures([]), lambda: ScaleFeatures([(0, 0)], float("nan"))):
        with pytest.raises(InputError, match="feature"):
            make()
    for count in (-1, 1.5, float("nan")):
        with pytest.raises(InputError, match="whole number"):
            SetCount("LYZ", count)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="none are given"):
        try_changes(model_of("scgpt"), cells_of()[:1], None, "CD79A", changes=[ScaleFeatures([(0, 0)])])
    with pytest.raises(InputError, match="use try_in_cells"):
        try_changes(model_of("scgpt"), cells_of(), None, "CD79A", changes=[SetCount("LYZ", 0)])
    with pytest.raises(InputError, match="draws is -1"):
        try_changes(model_of("scgpt"), cells_of()[:1], None, "CD79A", changes=[SetCount("LYZ", 0)], draws=-1)
