"""What a token is, what is hidden, and each loss against the network's own or a plain loop."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from cellglass.circuits.objectives import ANSWER, GENE, HIDDEN, PROMPT, SPECIAL, as_transformer, objective_of
from cellglass.errors import InputError
from cellglass.models.embedding import EmbeddingModel
from cellglass.models.scgpt.loss import unit_of
from cellglass.models.transformer.hooks import run


def measured(objective, cells):
    """The sums and counts of all cells in one batch."""
    model = objective.model
    shown = objective.shown(model.align(cells))
    batch = shown.tokens.padded(np.arange(len(cells)), model.pad_id, model.pad_value)
    with torch.no_grad():
        _, output = run(model.net, partial(model.forward, batch), model.points, (), {}, whole=True)
        return shown, objective.measure(shown, batch, output)


@pytest.mark.parametrize("architecture", ["gpt_neox", "gemma2"])
def test_the_parts_of_a_text_spell_prompt_sentence_question_and_answer(architecture, cells, make_model) -> None:
    model = make_model(architecture, cells)
    shown = objective_of(model, "type").shown(model.align(cells))
    for i in (0, 3, 5):
        own = slice(shown.tokens.start[i], shown.tokens.start[i + 1])
        ids, part = shown.tokens.ids[own], shown.part[own]
        assert (np.diff(part) != 0).sum() == 3
        text = {p: model.writer.tokenizer.decode(ids[part == p].tolist()) for p in (PROMPT, GENE, SPECIAL, ANSWER)}
        assert text[PROMPT].endswith("Cell sentence:")
        assert text[GENE].split() == [s for s in text[GENE].split() if s.startswith("GENE")] != []
        assert text[SPECIAL] == ".\nThe cell type corresponding to these genes is:"
        assert text[ANSWER] == f" {cells.obs['type'].iloc[i]}."
        assert (shown.tokens.gene[own] >= 0).tolist() == (part == GENE).tolist()


def test_a_cell_without_a_label_has_no_answer(cells, make_model, make_cells) -> None:
    model, some = make_model("gpt_neox", cells), make_cells(6)
    some.obs["type"] = ["B cell", None, "T cell", None, "B cell", "T cell"]
    shown, found = measured(objective_of(model, "type"), some)
    answered = [bool((shown.part[shown.tokens.start[i] : shown.tokens.start[i + 1]] == ANSWER).any()) for i in range(6)]
    assert answered == [True, False, True, False, True, True]
    assert found["label"][1] == 4
    assert "label" not in measured(objective_of(model), some)[1]


def test_an_answer_that_does_not_fit_into_the_context_is_left_out(cells, make_model) -> None:
    model = make_model("gpt_neox", cells)
    whole = objective_of(model, "type").shown(model.align(cells))
    before, longest = model.writer.context, int(whole.tokens.lengths.max())
    try:
        model.writer.context = longest - 1
        shorter = objective_of(model, "type").shown(model.align(cells))
    finally:
        model.writer.context = before
    lost = np.flatnonzero(whole.tokens.lengths == longest)
    edges = shorter.tokens.start
    answers = np.array([(shorter.part[edges[i] : edges[i + 1]] == ANSWER).any() for i in range(len(cells))])
    assert not answers[lost].any()
    assert answers.sum() == len(cells) - len(lost)


@pytest.mark.parametrize("architecture", ["gpt_neox", "gemma2"])
def test_next_token_losses_are_those_of_transformers(architecture, cells, make_model) -> None:
    model, some = make_model(architecture, cells), cells[:7]
    shown, found = measured(objective_of(model, "type"), some)
    genes, labels = [], []
    for i in range(7):
        own = slice(shown.tokens.start[i], shown.tokens.start[i + 1])
        ids, part = torch.from_numpy(shown.tokens.ids[own])[None], shown.part[own]
        with torch.no_grad():
            logs = model.net(input_ids=ids).logits[0].double().log_softmax(-1)
        taken = [-float(logs[t - 1, ids[0, t]]) for t in range(1, len(part))]
        genes += [loss for loss, p in zip(taken, part[1:], strict=True) if p == GENE]
        labels.append(sum(loss for loss, p in zip(taken, part[1:], strict=True) if p == ANSWER))
    assert found["genes"] == (pytest.approx(sum(genes), rel=1e-5), len(genes))
    assert found["label"] == (pytest.approx(sum(labels), rel=1e-5), 7)


def test_the_label_loss_is_the_models_own_probability(cells, make_model) -> None:
    model, some = make_model("gpt_neox", cells), cells[:1]
    said = model.writer.answer(f" {some.obs['type'].iloc[0]}.")
    logs = model._log_probabilities(model.writer.tokens(model.align(some), "cell_type"), [tuple(said)])
    assert measured(objective_of(model, "type"), some)[1]["label"][0] == pytest.approx(-float(logs[0, 0]), rel=1e-5)


@pytest.mark.parametrize("name", ["scgpt", "geneformer"])
def test_hidden_tokens_depend_on_seed_and_cell_alone_and_the_rest_is_left(name, cells, make_model) -> None:
    model = make_model(name, cells)
    objective, aligned = objective_of(model), model.align(cells)
    shown = objective.shown(aligned)
    alone = objective.shown(aligned[5:6])
    own = slice(shown.tokens.start[5], shown.tokens.start[6])
    assert np.array_equal(shown.part[own], alone.part)
    assert np.array_equal(shown.tokens.ids[own], alone.tokens.ids)
    other = objective_of(model, seed=1).shown(aligned)
    assert not np.array_equal(shown.part, other.part)
    rest = shown.part != HIDDEN
    assert np.array_equal(shown.tokens.ids[rest], shown.truth.ids[rest])
    assert (shown.truth.gene[shown.part == HIDDEN] >= 0).all()
    share = (shown.part == HIDDEN).sum() / (shown.truth.gene >= 0).sum()
    assert abs(share - {"scgpt": 0.4, "geneformer": 0.15}[name]) < 0.06
    half = objective.shown(aligned, 0.5)
    hidden = [(half.part[a:b] == HIDDEN).any() for a, b in zip(half.tokens.start, half.tokens.start[1:], strict=False)]
    assert 0.2 < np.mean(hidden) < 0.7
    assert not (objective.shown(aligned, 0.0).part == HIDDEN).any()


def test_scgpts_losses_are_a_plain_loop(cells, make_model) -> None:
    model = make_model("scgpt", cells)
    shown, found = measured(objective_of(model), cells[:6])
    unit, own, cell, n = unit_of(model.cfg), 0.0, 0.0, 0
    assert (shown.tokens.value[shown.part == HIDDEN] == model.cfg.mask_value).all()
    for i in range(6):
        at = slice(shown.tokens.start[i], shown.tokens.start[i + 1])
        ids, value = torch.from_numpy(shown.tokens.ids[at])[None], torch.from_numpy(shown.tokens.value[at])[None]
        with torch.no_grad():
            hidden, expression = model.net(ids, value, torch.ones_like(ids, dtype=torch.bool))
            read = model.net.from_cell(hidden[:, 0], ids)
        for j in np.flatnonzero(shown.part[at] == HIDDEN):
            truth = float(shown.truth.value[at][j])
            own += ((float(expression[0, j]) - truth) / unit) ** 2
            cell += ((float(read[0, j]) - truth) / unit) ** 2
            n += 1
    assert n > 10
    assert found["expression"] == (pytest.approx(own, rel=1e-4), n)
    assert found["cell"] == (pytest.approx(cell, rel=1e-4), n)


def test_geneformers_loss_is_a_plain_loop(cells, make_model) -> None:
    model = make_model("geneformer", cells)
    shown, found = measured(objective_of(model), cells)
    total, n = 0.0, 0
    for i in range(len(cells)):
        at = slice(shown.tokens.start[i], shown.tokens.start[i + 1])
        places = np.flatnonzero(shown.part[at] == HIDDEN)
        with torch.no_grad():
            logits = model.net(input_ids=torch.from_numpy(shown.tokens.ids[at])[None]).logits[0]
        for j in places:
            total += float(functional.cross_entropy(logits[j], torch.tensor(shown.truth.ids[at][j])))
            n += 1
    assert n > 20
    assert found["masked"] == (pytest.approx(total, rel=1e-4), n)
    changed = shown.tokens.ids[shown.part == HIDDEN] != shown.truth.ids[shown.part == HIDDEN]
    assert 0.7 < changed.mean() < 1
    assert math.isfinite(total)


def test_what_a_model_cannot_be_asked_is_refused(cells, make_model) -> None:
    with pytest.raises(InputError, match="writes no answers; leave labels out"):
        objective_of(make_model("scgpt", cells), "type")
    with pytest.raises(InputError, match="embedding model has no MLPs"):
        as_transformer(EmbeddingModel(cells.genes, {"X": 4}))
