"""Counterfactuals: parts add up to what the real model loses, features are those of the two inputs, wrong genes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from cellglass.circuits.answers import frozen_cell
from cellglass.circuits.asked import Asked, ask
from cellglass.circuits.deletion import COLUMNS, Counterfactual, counterfactual, counterfactuals
from cellglass.circuits.features import Replacement, explained, replace_mlps
from cellglass.circuits.genes import deletions
from cellglass.circuits.linear_map import Frozen
from cellglass.circuits.propagation import direct_gradients, effects
from cellglass.circuits.removal import deleted, places
from cellglass.errors import InputError
from circuits.models import TARGETS, cells_of, model_of, transcoders_of

NAMES = ("gpt_neox", "gemma2", "scgpt", "geneformer")


@pytest.fixture(scope="module", params=NAMES)
def made(request):
    """A model's name, a cell with what is asked of it, and transcoders."""
    name = request.param
    model, some = model_of(name), transcoders_of(name)
    return name, ask(model, model.align(cells_of())[:1], some, *TARGETS[name]), some


def another(asked: Asked) -> str:
    """Return the last gene without which the question can still be asked."""
    symbols, questions = deleted(asked)
    return [symbol for symbol, one in zip(symbols, questions, strict=True) if one is not None][-1]


def written(frozen: Frozen, replacement: Replacement) -> list[torch.Tensor]:
    """Return by layer what features and errors write, and last the first state."""
    layers = range(frozen.n_layers)
    parts = [
        sum((explained(one, layer) for one in replacement.features[: layer + 1] if layer in one.write), error)
        for layer, error in zip(layers, replacement.error, strict=True)
    ]
    return [*parts, frozen.first]


def test_parts_are_the_loss_and_the_rest_is_of_patterns_and_norms(made) -> None:
    _, asked, some = made
    gene = another(asked)
    found = counterfactual(asked, some, gene)
    symbols, questions = deleted(asked)
    other = questions[symbols.index(gene)]
    frozen = frozen_cell(asked.model, other.tokens)
    pairs = [(asked.frozen, asked.replacement, asked.answers.targets)]
    pairs.append((frozen, replace_mlps(frozen, some), other.ask(frozen).targets))
    to = places(asked.question.tokens.gene, other.tokens.gene)
    rest, sides = 0.0, []
    for sign, (one, replacement, targets) in zip((1, -1), pairs, strict=True):
        direct = effects(one, replacement, targets)
        rest += sign * float(sum(direct.biases.values())[0] + direct.constant[0])
        on_mlps, on_first = direct_gradients(one, replacement, targets)
        sides.append((written(one, replacement), [*on_mlps, on_first]))
    (w, g), (v, h) = sides
    for a, b, c, d in zip(w, g, v, h, strict=True):
        rest += float(((a[to >= 0] + c[to[to >= 0]]) * (b[to >= 0] - d[to[to >= 0]])[:, 0]).sum() / 2)
    largest = max(abs(part) for part in found.sums().values())
    assert found.rest == pytest.approx(rest, abs=2e-4 * max(1.0, largest))
    assert found.deletion == pytest.approx(float(deletions(asked)[gene]), abs=2e-4 * max(1.0, largest))


def test_a_feature_carries_its_change_times_the_mean_gradient(made) -> None:
    _, asked, some = made
    found = counterfactual(asked, some, another(asked))
    assert (found.features["before"] != found.features["after"]).any()
    symbols, questions = deleted(asked)
    other = questions[symbols.index(found.gene)]
    frozen = frozen_cell(asked.model, other.tokens)
    after = replace_mlps(frozen, some)
    to = places(asked.question.tokens.gene, other.tokens.gene)
    on, _ = direct_gradients(asked.frozen, asked.replacement, asked.answers.targets)
    on_after, _ = direct_gradients(frozen, after, other.ask(frozen).targets)
    checked = 0
    for row in found.features[found.features["position"] >= 0].head(40).itertuples():
        values = []
        for replacement, token in ((asked.replacement, row.position), (after, int(to[row.position]))):
            one = replacement.features[row.layer]
            value = 0.0 if token < 0 else float(one.value[token][one.latent[token] == row.feature].sum())
            values.append(value)
        assert (row.before, row.after) == pytest.approx(values)
        place = int(to[row.position])
        gradient = on[row.layer][row.position, 0]
        gradient = gradient if place < 0 else (gradient + on_after[row.layer][place, 0]) / 2
        direction = asked.replacement.features[row.layer].write[row.layer][row.feature]
        assert row.effect == pytest.approx((values[0] - values[1]) * float(direction @ gradient), rel=1e-3, abs=1e-5)
        checked += 1
    assert checked


def test_the_table_of_all_genes_has_what_each_gene_alone_has(made) -> None:
    _, asked, some = made
    told: list[int] = []
    table = counterfactuals(asked, some, progress=lambda _what, done, _of: told.append(done))
    assert list(table.columns) == list(COLUMNS)
    assert told == list(range(1, len(told) + 1))
    gene = another(asked)
    alone = counterfactual(asked, some, gene).sums()
    np.testing.assert_allclose(table.loc[gene], list(alone.values()), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(table["features"].abs(), table["features"].abs().sort_values(ascending=False))
    np.testing.assert_allclose(
        table[["features", "errors", "tokens", "rest"]].sum(1), table["deletion"], rtol=1e-4, atol=1e-4
    )
    assert list(counterfactuals(asked, some, [gene]).index) == [gene]


def test_features_that_go_out_and_come_on_are_told_apart() -> None:
    rows = pd.DataFrame({"before": [1.0, 0.0, 2.0], "after": [0.0, 3.0, 1.0], "effect": [1.0, -4.0, 0.5]})
    sums = Counterfactual("A", rows, 0.25, 0.5, -0.5, -2.25).sums()
    assert (sums["features"], sums["out"], sums["on"]) == (-2.5, 1.0, -4.0)
    assert sums["deletion"] == pytest.approx(sum(sums[name] for name in ("features", "errors", "tokens", "rest")))


def test_wrong_genes_are_told(made) -> None:
    name, asked, some = made
    with pytest.raises(InputError, match="does not read NOBODY of this cell"):
        counterfactual(asked, some, "NOBODY")
    with pytest.raises(InputError, match="does not read NOBODY"):
        counterfactuals(asked, some, ["NOBODY"])
    if name == "scgpt":
        with pytest.raises(InputError, match="question cannot be asked"):
            counterfactual(asked, some, TARGETS[name][0].split(":")[1])
