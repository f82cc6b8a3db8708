"""The rule, on sums whose truth is known: few genes, a gene set, and what only seems to have a meaning on one half."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.circuits.meanings import MACHINE
from cellglass.circuits.objectives import GENE, PROMPT
from cellglass.enrichment.genesets import GeneSets
from cellglass.errors import InputError
from cellglass.evaluation.feature_meaning import COLUMNS, Meanings, Rule, held_out_identity, meanings_of
from cellglass.evaluation.feature_sums import UnitSums, halves
from cellglass.evaluation.tokens import GeneSums

CELLS, GENES = 40, 100
SYMBOLS = [f"G{i}" for i in range(GENES)]
SET = tuple(SYMBOLS[20:32])
SETS = GeneSets("mine", {"TWELVE": SET, "OTHERS": tuple(SYMBOLS[40:55]), "EVEN": tuple(SYMBOLS[0:60:2])})
LABELS = pd.DataFrame({"type": np.where(np.arange(CELLS) % 2, "B", "T")})


@pytest.fixture(scope="module")
def found() -> Meanings:
    """Units: 0 one gene, 1 a set, 2 other genes on either half, 3 all genes, 4 prompt, 5 silent.

    6 one gene of B cells, 7 a piece of text that three genes share.
    """
    rng = np.random.default_rng(0)
    half = halves(CELLS, 0)
    cell = np.repeat(np.arange(CELLS), GENES + 20)
    gene = np.tile(np.concatenate([np.full(20, -1), np.arange(GENES)]), CELLS)
    part = np.where(gene < 0, PROMPT, GENE)
    piece = np.where((gene >= 70) & (gene < 73), 1000, gene + 1)
    codes = np.zeros((len(cell), 8))
    codes[:, 0] = (gene == 3) * 2.0
    codes[:, 1] = ((gene >= 20) & (gene < 32)) * rng.random(len(cell))
    codes[:, 2] = gene == np.where(half[cell] == 0, 8, 9)
    codes[:, 3] = (gene >= 0) * rng.random(len(cell))
    codes[:, 4] = (gene < 0) + 0.1 * (gene == 5)
    codes[:, 6] = (gene == 11) & (cell % 2 == 1)
    codes[:, 7] = piece == 1000
    one = UnitSums(8, GENES)
    one.add(sp.csr_matrix(codes), cell, gene, piece, part, half)
    one.pooled.append(sp.csr_matrix(np.stack([codes[cell == c].max(0) for c in range(CELLS)])))
    return meanings_of([one], SYMBOLS, [SETS], LABELS, rule=Rule(fewest=5), seed=0)


def test_the_rule_finds_what_was_planted(found: Meanings) -> None:
    table = found.features
    assert tuple(table.columns) == COLUMNS
    assert table["why"].tolist() == ["genes", "gene set", "", "", "", "", "genes", "spelling"]
    assert table["interpretable"].tolist() == [True, True, False, False, False, False, True, False]
    assert table["name"].tolist() == [
        "fires on G3", "genes of TWELVE", "many genes, most G8", "many genes", "prompt tokens", "", "fires on G11 in B",
        "spelling of G70, G71, G72",
    ]  # fmt: skip
    assert set(table["named_by"]) == {MACHINE}
    assert table.loc[1, ["source", "term"]].tolist() == ["mine", "TWELVE"]
    assert table.loc[1, "held_out_null_q"] < 0.05
    assert table.loc[2, "top_mass"] == 0
    assert table.loc[7, ["top_mass", "first_mass", "piece_mass"]].tolist() == pytest.approx([1, 1 / 3, 1])
    assert table.loc[0, ["top_mass", "top_lift"]].tolist() == pytest.approx([1, GENES])


def test_facts_are_those_of_the_tokens(found: Meanings) -> None:
    table, genes = found.features, found.genes
    assert table["frequency"][0] == pytest.approx(1 / 120)
    assert table.loc[4, ["on_prompt", "on_gene"]].tolist() == pytest.approx([20 / 20.1, 0.1 / 20.1])
    assert table["cells"].tolist() == [40, 40, 40, 40, 40, 0, 20, 40]
    assert table["gene_identity"][0] == pytest.approx(1)
    assert table["gene_identity"][3] < 0.01
    assert np.isnan(table["gene_identity"][5])
    assert (table["label"].tolist(), table["f1"][6]) == ([""] * 6 + ["B", ""], pytest.approx(1))
    assert table["f1_null"][6] == pytest.approx(0.5)
    row = genes[genes["feature"] == 6]
    assert row[["gene", "mean", "cells", "read", "part"]].values.tolist() == [["G11", 0.5, 20, 40, 1.0]]
    assert genes.groupby("feature").size().max() == 20


def test_identity_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    halves_of = []
    for n in (50, 70):
        gene = rng.integers(0, 6 if n == 50 else 8, n)  # two genes are never chosen on
        codes = np.maximum(rng.normal(size=(n, 3)) + np.array([0, 1, 0]) * (gene == 2)[:, None] * 3, 0)
        codes[:, 2] = 0
        sums = GeneSums(3, 8)
        sums.add(sp.csr_matrix(codes), gene)
        halves_of.append((sums, gene, codes))
    (choose, gene_a, a), (score, gene_b, b) = halves_of
    for unit in range(2):
        mean = a[:, unit].mean()
        said = np.array([a[gene_a == g, unit].mean() if (gene_a == g).any() else mean for g in gene_b])
        share = 1 - ((b[:, unit] - said) ** 2).sum() / ((b[:, unit] - mean) ** 2).sum()
        assert held_out_identity(choose, score)[unit] == pytest.approx(max(share, 0))
    assert held_out_identity(choose, score)[1] > 0.3
    assert np.isnan(held_out_identity(choose, score)[2])
    assert np.isnan(held_out_identity(GeneSums(3, 8), score)).all()


def test_a_rule_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"the rule's mass is 1.5; it lies between 0 and 1"):
        Rule(mass=1.5)
    with pytest.raises(InputError, match="most_genes is 0; it lies between 1"):
        Rule(most_genes=0)
