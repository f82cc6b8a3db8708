"""What is asked of each model: the frozen answer is the model's own; what it cannot say is refused in one line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellglass.circuits.answers import at_token, frozen_cell, question, real_values
from cellglass.circuits.features import replace_mlps
from cellglass.circuits.propagation import effects
from cellglass.errors import InputError
from cellglass.models.transformer.tokens import TokenLists
from circuits.models import TARGETS, cells_of, model_of, transcoders_of


def ask(kind: str, target: str, against: str | None = None, cell: int = 0):
    model = model_of(kind)
    return model, question(model, model.align(cells_of()[cell : cell + 1]), target, against)


@pytest.mark.parametrize("kind", sorted(TARGETS))
@pytest.mark.parametrize("alone", [True, False])
def test_the_answer_is_the_models_own(kind: str, alone: bool) -> None:
    target, against = TARGETS[kind]
    model, made = ask(kind, target, None if alone else against)
    answers = made.ask(frozen_cell(model, made.tokens))
    assert answers.found[0] == pytest.approx(real_values(model, [made])[0], rel=1e-4, abs=1e-4)
    assert answers.weights.tolist() == [1]
    assert len(made.texts) == len(made.genes) == len(made.tokens.ids)


def test_a_label_is_told_by_the_first_token_in_which_answers_part() -> None:
    model, made = ask("gpt_neox", "B cell", "B cells of another sort")
    prompt = model.writer.tokens(model.align(cells_of()[:1]), "cell_type")
    a, b = (model.writer.answer(f" {name}.") for name in ("B cell", "B cells of another sort"))
    shared = next(i for i in range(len(a)) if a[i] != b[i])
    assert shared > 0
    np.testing.assert_array_equal(made.tokens.ids, [*prompt.ids, *a[:shared]])
    with torch.no_grad():
        logits = model.net(torch.from_numpy(made.tokens.ids)[None]).logits[0, -1]
    found = made.ask(frozen_cell(model, made.tokens)).found[0]
    assert found == pytest.approx(float(logits[a[shared]] - logits[b[shared]]), rel=1e-4, abs=1e-4)


def test_a_label_alone_is_held_against_the_mean_of_all_tokens() -> None:
    model, made = ask("gpt_neox", "label:T cell")
    with torch.no_grad():
        logits = model.net(torch.from_numpy(made.tokens.ids)[None]).logits[0, -1]
    first = model.writer.answer(" T cell.")[0]
    found = made.ask(frozen_cell(model, made.tokens)).found[0]
    assert found == pytest.approx(float(logits[first] - logits.mean()), rel=1e-4, abs=1e-4)


def test_expression_is_what_the_head_gives_at_the_genes_token() -> None:
    model, made = ask("scgpt", "expression:LYZ")
    batch = made.tokens.padded(np.arange(1), model.pad_id, model.pad_value)
    with torch.no_grad():
        expression = model.forward(batch).expression[0]
    place = made.genes.index("LYZ")
    assert made.ask(frozen_cell(model, made.tokens)).found[0] == pytest.approx(float(expression[place]), abs=1e-4)


def test_a_masked_gene_is_not_shown() -> None:
    model, made = ask("geneformer", "CD79A", "LYZ")
    assert isinstance(made.tokens, TokenLists)
    masked = np.flatnonzero(made.tokens.ids == model.dictionaries.tokens["<mask>"])
    assert len(masked) == 1
    assert "CD79A" not in made.genes
    logits = model.head(frozen_cell(model, made.tokens).final[masked])[0]
    names = [str(gene) for gene in model.genes]
    found = made.ask(frozen_cell(model, made.tokens)).found[0]
    expected = float(logits[names.index("CD79A")] - logits[names.index("LYZ")])
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "target", "against", "message"),
    [
        ("gpt_neox", "gene:NOSUCH", None, "has no gene 'NOSUCH'"),
        ("gpt_neox", "B cell", "B cell", "held against itself"),
        ("gpt_neox", "expression:LYZ", None, "has no answer of the sort 'expression'; it has: label, gene"),
        ("scgpt", "expression:NOSUCH", None, "has no gene 'NOSUCH'"),
        ("geneformer", "label:B cell", None, "has no answer of the sort 'label'; it has: masked"),
    ],
)
def test_what_cannot_be_said_is_refused(kind: str, target: str, against: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ask(kind, target, against)


def test_one_cell_is_asked_about() -> None:
    model = model_of("gpt_neox")
    with pytest.raises(InputError, match="a circuit is of one cell; 6 were given"):
        question(model, model.align(cells_of()), "B cell")


@pytest.mark.parametrize("kind", ["gpt_neox", "scgpt"])
def test_a_direction_can_be_asked_about_at_any_state(kind: str) -> None:
    model, made = ask(kind, TARGETS[kind][0])
    frozen = frozen_cell(model, made.tokens)
    states = list(frozen.states(frozen.first, frozen.mlp_out))
    direction = torch.linspace(-1, 1, frozen.final.shape[1])
    for state in (0, frozen.ends[1], len(frozen.steps)):
        found = at_token(frozen, 3, direction, torch.tensor(0.5), "a direction", state)
        assert found.targets.state == state
        assert found.found[0] == pytest.approx(float(states[state][3] @ direction) + 0.5, rel=1e-4, abs=1e-5)
        replacement = replace_mlps(frozen, transcoders_of(kind))
        assert float(effects(frozen, replacement, found.targets).sums()) == pytest.approx(found.found[0], abs=1e-4)


def test_a_question_about_a_state_between_layers_has_no_reader() -> None:
    _, made = ask("gpt_neox", "B cell")
    with pytest.raises(InputError, match="about a state between layers"):
        _ = replace(made, read=None).reader
