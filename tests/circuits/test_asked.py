"""One cell as it is asked about: its parts are of the same tokens, and equal counts can stand in another order."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.circuits.answers import real_values
from cellglass.circuits.asked import ask
from cellglass.errors import InputError
from circuits.models import TARGETS, cells_of, model_of, transcoders_of


@pytest.mark.parametrize("kind", sorted(TARGETS))
def test_parts_are_of_the_same_tokens_and_answer(kind: str) -> None:
    one = ask(model_of(kind), cells_of()[:1], transcoders_of(kind), *TARGETS[kind])
    n = len(one.question.tokens.ids)
    assert one.frozen.n_tokens == n == len(one.question.genes)
    assert all(len(features.latent) == n for features in one.replacement.features)
    np.testing.assert_allclose(one.answers.found, real_values(one.model, [one.question]), rtol=1e-3, atol=1e-4)


def test_ties_decide_between_equal_counts_alone() -> None:
    model, cells, made = model_of("gpt_neox"), cells_of()[:1], transcoders_of("gpt_neox")
    plain = ask(model, cells, made, *TARGETS["gpt_neox"])
    n = plain.cell.counts.nnz
    orders = set()
    for seed in range(5):
        ties = np.random.default_rng(seed).permutation(n)
        one = ask(model, cells, made, *TARGETS["gpt_neox"], ties=ties)
        genes = list(dict.fromkeys(gene for gene in one.question.genes if gene))
        counts = cells.counts.toarray()[0][[cells.symbols.tolist().index(gene) for gene in genes]]
        assert (np.diff(counts) <= 0).all()
        orders.add(tuple(genes))
    assert len(orders) > 1
    with pytest.raises(InputError, match="transcoders, but the model has 2 layers"):
        ask(model, cells, made[:1], *TARGETS["gpt_neox"])
