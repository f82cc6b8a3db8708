"""Changes that are tried: features by a loop over tokens, counts by a cell made anew, the control as long elsewhere."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from cellglass.circuits.answers import Question, question, real_values, run_copies
from cellglass.circuits.scaling import ScaleFeatures, Scaling
from cellglass.circuits.trying import (
    SetCount,
    each_tried,
    summed,
    try_changes,
    try_in_cells,
)
from cellglass.dictionaries import CrossLayerConfig, CrossLayerTranscoder
from cellglass.errors import InputError
from circuits.models import LATENTS, NAMES, TARGETS, WIDTH, K, cells_of, model_of, transcoders_of

KINDS = sorted(TARGETS)


@cache
def active(kind: str, layer: int, gene: str | None = None) -> list[int]:
    """Features of a layer that are active in the first cell, or at a gene, strongest first; by a product and a sort."""
    asked = asked_of(kind)
    place = [gene is None or gene == own for own in asked.genes]
    x = run_copies(model_of(kind), asked, 1, f"layers.{layer}.mlp.in")[0]
    total = torch.stack([by_hand(transcoders_of(kind)[layer], row) for row in x[place]]).sum(0)
    return [int(i) for i in torch.argsort(-total) if total[i] > 0]


@cache
def asked_of(kind: str) -> Question:
    model = model_of(kind)
    return question(model, model.align(cells_of()[:1]), *TARGETS[kind])


def by_hand(one: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the activations of all features at one token, (m,): the K largest, where they are positive."""
    p = one.encoder @ ((x - one.centre) / one.scale) + one.encoder_bias
    values = torch.zeros(len(p))
    for i in p.topk(K).indices.tolist():
        values[i] = max(0.0, float(p[i]))
    return values


def with_hooks(kind: str, members: list[tuple[int, int]], factor: float, places: list[bool]) -> float:
    """Return the answer with features scaled by loops, in the network as the model runs it."""
    model, asked = model_of(kind), asked_of(kind)
    inputs: dict[int, torch.Tensor] = {}
    edits: dict[str, Any] = {}
    for layer in range(2):

        def keep(x: torch.Tensor, layer: int = layer) -> torch.Tensor:
            inputs[layer] = x[0].clone()
            return x

        def put(y: torch.Tensor, layer: int = layer) -> torch.Tensor:
            one, out = transcoders_of(kind)[layer], y.clone()
            for t in range(y.shape[1]):
                values = by_hand(one, inputs[layer][t])
                for of, i in members:
                    if of == layer and places[t]:
                        out[0, t] += (factor - 1) * values[i] * one.decoder[i] * one.scale_out
            return out

        edits |= {f"layers.{layer}.mlp.in": keep, f"layers.{layer}.mlp.out": put}
    with torch.no_grad():
        return float(asked.reader(run_copies(model, asked, 1, asked.point, edits))[0])


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_scaled_as_a_loop_over_tokens_does_it(kind: str) -> None:
    model, cell, asked = model_of(kind), cells_of()[:1], asked_of(kind)
    members = [(0, active(kind, 0)[0]), (0, active(kind, 0)[1]), (1, active(kind, 1)[0])]
    (own,) = real_values(model, [asked])
    for factor in (0.0, 2.5):
        found = try_changes(
            model, cell, transcoders_of(kind), *TARGETS[kind], changes=[ScaleFeatures(members, factor)], draws=2
        )
        assert found.before == pytest.approx(own, abs=1e-5)
        wanted = with_hooks(kind, members, factor, [True] * len(asked.texts))
        assert found.after == pytest.approx(wanted, rel=1e-4, abs=1e-5)
        assert abs(found.change) > 1e-4
        assert found.touched > 0
        assert found.norm > 0
    some = [gene == "CD3D" for gene in asked.genes]
    there = [(0, active(kind, 0, "CD3D")[0])]
    found = try_changes(
        model, cell, transcoders_of(kind), *TARGETS[kind], changes=[ScaleFeatures(there, 0, "CD3D")], draws=0
    )
    assert found.after == pytest.approx(with_hooks(kind, there, 0, some), rel=1e-4, abs=1e-5)
    assert 0 < found.touched <= sum(some)
    assert np.isnan(found.share)


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


def test_the_control_is_as_long_at_every_token_and_the_same_in_all_cells() -> None:
    one = ScaleFeatures([(0, 1), (0, 5), (1, 2)], 0)
    scaling = Scaling.of(model_of("scgpt"), transcoders_of("scgpt"), [one])
    rows = transcoders_of("scgpt")[0].directions[[1, 5]]
    added = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)) @ rows
    turned = scaling.turned(0, added, range(3), 0)
    for draw in turned:
        torch.testing.assert_close(draw @ draw.T, (added @ added.T).double(), rtol=1e-4, atol=1e-4)
    assert float((turned[0] - turned[1]).norm()) > 1
    torch.testing.assert_close(scaling.turned(0, added[3:], [2], 0)[0], turned[2, 3:])


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


def test_features_that_write_to_later_layers_are_scaled_in_all_of_them() -> None:
    kind = "scgpt"
    config = CrossLayerConfig(2 * WIDTH, 2 * LATENTS, K, d_out=2 * WIDTH, n_layers=2)
    torch.manual_seed(0)
    one = CrossLayerTranscoder(config)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.normal_(std=0.3)
    one = one.freeze()
    model, asked = model_of(kind), asked_of(kind)
    x = run_copies(model, asked, 1, "layers.0.mlp.in")[0]
    codes = one.encode_layer(x, 0)
    latent = int(codes.indices[0, 0])
    value = torch.where(codes.indices == latent, codes.values, 0).sum(1)
    rows = one.written(0)[latent].detach().view(2, WIDTH)
    edits = {f"layers.{i}.mlp.out": lambda y, row=rows[i]: y - value[:, None] * row for i in range(2)}
    with torch.no_grad():
        wanted = float(asked.reader(run_copies(model, asked, 1, asked.point, edits))[0])
    found = try_changes(model, cells_of()[:1], one, *TARGETS[kind], changes=[ScaleFeatures([(0, latent)])], draws=2)
    assert found.after == pytest.approx(wanted, rel=1e-4, abs=1e-5)


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
