"""Graphs: rows add up to their targets and are the effects of one walk each, whatever the batch, budget or file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellglass.circuits import build as module
from cellglass.circuits.build import Answers, build_graph, cost
from cellglass.circuits.features import replace_mlps
from cellglass.circuits.linear_map import Attend, Frozen, Rescale, through
from cellglass.circuits.propagation import Targets, effects, feature_targets
from circuits.networks import LAYERS, TOKENS, WIDTH, frozen, transcoders

TEXTS = [f"t{i}" for i in range(TOKENS)]
GENES = ["", *(f"G{i // 2}" for i in range(TOKENS - 1))]


def asked(name: str, answers: int = 2, dtype: torch.dtype = torch.float64):
    made = frozen(name, dtype)
    torch.manual_seed(0)
    gradient = torch.zeros(TOKENS, answers, WIDTH, dtype=dtype)
    gradient[-1] = torch.randn(answers, WIDTH, dtype=dtype)
    targets = Targets(len(made.steps), gradient, torch.randn(answers, dtype=dtype))
    weights = np.arange(1, answers + 1) / (answers * (answers + 1) / 2)
    found = Answers(targets, [f"a{i}" for i in range(answers)], targets.values(made.final).numpy(), weights)
    return made, replace_mlps(made, transcoders(made)), found


@pytest.mark.parametrize("name", ["gpt_neox", "bert", "scgpt"])
@pytest.mark.parametrize("most", [0, 12, 10_000])
def test_every_row_adds_up_to_its_target(name: str, most: int) -> None:
    made, replacement, answers = asked(name)
    graph = build_graph(made, replacement, answers, TEXTS, GENES, most=most)
    active = sum(f.n_active for f in replacement.features)
    assert len(graph.of_kind("feature")) == min(most, active)
    sums = np.asarray(graph.weights.sum(axis=1)).ravel()[graph.targets]
    np.testing.assert_allclose(sums, graph.nodes["value"].to_numpy()[graph.targets], rtol=1e-4, atol=1e-4)
    rest = abs(graph.weights[:, graph.of_kind("rest")]).sum()
    assert (rest == 0) == (most > active)


@pytest.mark.parametrize("name", ["gpt_neox", "bert"])
def test_rows_are_the_effects_on_each_target(name: str) -> None:
    made, replacement, answers = asked(name)
    graph = build_graph(made, replacement, answers, TEXTS, GENES, most=20)
    nodes = graph.nodes
    of_answers = effects(made, replacement, answers.targets)
    answer_nodes = graph.of_kind("answer")
    for source in graph.of_kind("feature"):
        layer, position, latent = (int(nodes.at[source, name]) for name in ("layer", "position", "feature"))
        slot = int((replacement.features[layer].latent[position] == latent).nonzero()[0, 0])
        found = graph.weights[answer_nodes, source].toarray().ravel()
        np.testing.assert_allclose(found, of_answers.features[layer][position, slot].numpy(), rtol=1e-5, atol=1e-6)
    for target in graph.of_kind("feature")[:5]:
        layer, position, latent = (int(nodes.at[target, name]) for name in ("layer", "position", "feature"))
        one = feature_targets(made, replacement, layer, torch.tensor([position]), torch.tensor([latent]))
        row = effects(made, replacement, one)
        tokens = graph.weights[target, graph.of_kind("token")].toarray().ravel()
        whole = sum(part for part_name, part in row.parts.items() if part_name not in made.constant)
        np.testing.assert_allclose(tokens, whole[:, 0].numpy(), rtol=1e-5, atol=1e-6)
        errors = graph.weights[target, graph.of_kind("error")].toarray().reshape(LAYERS, TOKENS)
        np.testing.assert_allclose(errors, row.errors[..., 0].numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["gpt_neox", "scgpt"])
def test_neither_batches_nor_a_file_of_rows_change_a_graph(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, replacement, answers = asked(name)
    whole = build_graph(made, replacement, answers, TEXTS, GENES, most=30)
    files: list[str] = []
    real = np.memmap
    monkeypatch.setattr(module.np, "memmap", lambda path, **options: files.append(path) or real(path, **options))
    each = made.final.numel() * made.final.element_size() * module.COPIES
    small = build_graph(made, replacement, answers, TEXTS, GENES, most=30, memory=each)
    assert files
    assert cost(made, replacement, 2, 30, each).batch == 1
    assert small.nodes.equals(whole.nodes)
    np.testing.assert_allclose(small.weights.toarray(), whole.weights.toarray(), rtol=1e-5, atol=1e-7)


def test_features_of_a_budget_are_those_of_highest_influence() -> None:
    made, replacement, answers = asked("gpt_neox", answers=1)
    whole = build_graph(made, replacement, answers, TEXTS, GENES, most=10_000)
    few = build_graph(made, replacement, answers, TEXTS, GENES, most=40)
    names = ["layer", "position", "feature"]
    strength = whole.influence()[whole.of_kind("feature")]
    top = whole.nodes.iloc[whole.of_kind("feature")[np.argsort(-strength)[:40]]][names]
    chosen = few.nodes.iloc[few.of_kind("feature")][names]
    both = set(map(tuple, top.to_numpy())) & set(map(tuple, chosen.to_numpy()))
    assert len(both) >= 32  # chosen in rounds, from what is known by then


def test_progress_and_cost_are_told() -> None:
    made, replacement, answers = asked("gpt_neox")
    told: list[tuple[int, int]] = []
    build_graph(
        made, replacement, answers, TEXTS, GENES, most=9, progress=lambda _what, done, total: told.append((done, total))
    )
    assert told[-1] == (9, 9)
    found = cost(made, replacement, 2, 9)
    assert found.targets == 11
    assert found.active == sum(f.n_active for f in replacement.features)
    assert found.bytes > 0


@pytest.mark.parametrize("name", ["gpt_neox", "gemma2", "bert"])
def test_with_linear_patterns_rows_add_up_and_edges_are_derivatives_of_a_model_whose_patterns_answer(name: str) -> None:
    """Each source is moved a little up and down in float64; patterns are softmaxes of what they read, norms stay."""
    made = frozen(name, scores=True)
    replacement = replace_mlps(made, transcoders(made))
    torch.manual_seed(0)
    gradient = torch.randn(TOKENS, 1, WIDTH, dtype=torch.float64)
    targets = Targets(len(made.steps), gradient, torch.zeros(1, dtype=torch.float64))
    answers = Answers(targets, ["answer"], targets.values(made.final).numpy(), np.ones(1))
    graph, plain = (
        build_graph(made, replacement, answers, [""] * TOKENS, [""] * TOKENS, patterns=patterns)
        for patterns in ("linear", "frozen")
    )
    nodes = graph.nodes
    weights = graph.weights.toarray()
    size = np.abs(weights).sum(1)
    for node in [*graph.of_kind("feature"), *graph.of_kind("answer")]:
        assert abs(weights[node].sum() - nodes["value"][node]) < 1e-5 * size[node]  # rows are kept in float32
    constant = np.flatnonzero(nodes["label"].str.endswith(".pattern"))
    (answer,) = graph.of_kind("answer")
    assert nodes["kind"].iloc[constant].eq("bias").all()
    assert np.abs(weights[answer, constant]).max() > 1e-3 * size[answer]
    assert not plain.nodes["label"].str.endswith(".pattern").any()
    assert np.abs(weights[answer].sum() - plain.weights.toarray()[-1].sum()) < 1e-5 * size[answer]

    written, step = replacement.written(made), 1e-4
    features = [n for n in graph.of_kind("feature") if nodes["layer"][n] == 0]
    for node in sorted(features, key=lambda n: -abs(weights[answer, n]))[:4]:
        t, latent, value = nodes["position"][node], nodes["feature"][node], nodes["value"][node]
        ends = []
        for sign in (1, -1):
            more = [w.clone() for w in written]
            more[0][t] += sign * step * value * replacement.features[0].write[0][latent]
            ends.append(float(answers.targets.values(_answering(made, more))[0]))
        change = (ends[0] - ends[1]) / (2 * step)
        assert abs(change - weights[answer, node]) < 1e-4 * size[answer]


def _answering(made: Frozen, written: list[torch.Tensor]) -> torch.Tensor:
    """Return the last state of a model whose patterns answer to what they read; norms' scales stay."""
    x = made.first
    for step in made.steps:
        if isinstance(step, Attend):
            y = through(step.before, x)
            heads = replace(step.heads, pattern=step.heads.looking().pattern(y).to(x))
            x = x + through(step.after, heads(y))
        else:
            x = step.norm(x) if isinstance(step, Rescale) else x + written[step.layer]
    return x
