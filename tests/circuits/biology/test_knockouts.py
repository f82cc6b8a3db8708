"""Knock-outs: effects and deletions as of single cells, means of perturbed cells by hand, controls by name."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from cellglass.cells.cells import Cells
from cellglass.circuits.answers import question, real_values
from cellglass.circuits.asked import ask
from cellglass.circuits.biology.knockouts import against_knockouts
from cellglass.circuits.genes import rank_genes
from cellglass.errors import InputError
from circuits.models import TARGETS, cells_of, model_of, transcoders_of

KIND = "gpt_neox"


def perturbed() -> Cells:
    """Six control cells, and two of each of four perturbations, one of which is of no gene."""
    cells = cells_of(14)
    guides = ["NT"] * 6 + [word for word in ("lyz", "CD3D", "FTL", "CD3D+FTL") for _ in range(2)]
    return Cells(cells.counts, cells.genes, cells.obs.assign(guide=guides), source="screen")


def run(cells: Cells, **more):
    return against_knockouts(model_of(KIND), cells, transcoders_of(KIND), *TARGETS[KIND], draws=99, **more)


def test_effects_and_deletions_are_means_over_cells() -> None:
    cells = cells_of()[:2]
    found = run(cells)
    tables = [
        rank_genes(ask(model_of(KIND), cells[[i]], transcoders_of(KIND), *TARGETS[KIND]), columns=("total", "deletion"))
        for i in range(2)
    ]
    both = pd.concat([one.effects for one in tables]).groupby(level=0).mean()
    own = found.genes.loc[both.index]
    np.testing.assert_allclose(own["effect"], both["total"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(own["deletion"], both["deletion"], rtol=1e-3, atol=1e-5)
    assert (np.diff(found.genes["effect"].abs()) <= 0).all()
    assert found.scores.index.tolist() == ["effect and deletion"]
    row = found.scores.iloc[0]
    assert row["spearman"] == pytest.approx(both.corr("spearman").iloc[0, 1], abs=0.02)
    assert 0 < row["p"] <= 1
    assert found.left_out == []


def test_real_knock_outs_are_differences_of_means_from_other_control_cells() -> None:
    cells, model = perturbed(), model_of(KIND)
    found = run(cells, perturbation="guide", n_cells=3, n_perturbed=9)
    assert found.left_out == ["CD3D+FTL"]
    assert found.scores.index.tolist() == ["effect and deletion", "effect and observed", "deletion and observed"]
    assert found.scores["genes"].tolist()[1:] == [3, 3]
    answers = real_values(model, [question(model, model.align(cells[[i]]), *TARGETS[KIND]) for i in range(14)])
    lost = {}
    for gene, rows in {"LYZ": [6, 7], "CD3D": [8, 9], "FTL": [10, 11]}.items():
        assert found.genes.loc[gene, "perturbed"] == 2
        lost[gene] = found.genes.loc[gene, "observed"] + answers[rows].mean()
    base = set(np.round(list(lost.values()), 4))
    assert len(base) == 1  # one mean of control cells, three that effects are not of
    means = [answers[list(some)].mean() for some in combinations(range(6), 3)]
    assert min(abs(base.pop() - np.array(means))) < 1e-3


def test_controls_are_named_or_known_by_name() -> None:
    cells = perturbed()
    with pytest.raises(InputError, match=r"screen: column 'guide': no cell has 'nobody'; say what .* CD3D, CD3D\+FTL"):
        run(cells, perturbation="guide", control="nobody")
    with pytest.raises(InputError, match="0 of its values are names of controls"):
        run(cells, perturbation="type")
    with pytest.raises(InputError, match="there is 1 control cell"):
        run(cells[np.arange(5, 14)], perturbation="guide")
    with pytest.raises(InputError, match="no obs column 'drug'"):
        run(cells, perturbation="drug")


def test_wrong_use_is_one_line() -> None:
    with pytest.raises(InputError, match="n_cells is 0"):
        run(cells_of(), n_cells=0)
    with pytest.raises(InputError, match="none of 5 cells can be asked; of the first: "):
        against_knockouts(model_of(KIND), cells_of(), transcoders_of(KIND), "gene:NONE", draws=9)
