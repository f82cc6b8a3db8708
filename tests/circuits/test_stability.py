"""Stability: agreement of pairs by hand, and that ties and dropout change what they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from cellglass.circuits.asked import ask
from cellglass.circuits.stability import jaccard, spearman, stability_of, strengths_of
from cellglass.errors import InputError
from circuits.models import TARGETS, cells_of, model_of, transcoders_of


def test_agreement_is_over_what_both_have() -> None:
    a = pd.Series({"A": 3.0, "B": -5.0, "C": 1.0, "D": 0.5})
    b = pd.Series({"B": 2.0, "A": -1.0, "C": 0.1, "E": 9.0})
    assert spearman(a, b) == pytest.approx(scipy.stats.spearmanr([3, -5, 1], [-1, 2, 0.1])[0])
    assert np.isnan(spearman(a[:2], b))
    assert jaccard(a, b, 2) == pytest.approx(1 / 3)  # A, B and E, B
    assert jaccard(a, a, 4) == 1
    assert np.isnan(jaccard(a, b, 5))


@pytest.mark.parametrize("kind", ["gpt_neox", "scgpt"])
def test_the_table_is_over_all_pairs(kind: str) -> None:
    model, made, cells = model_of(kind), transcoders_of(kind), cells_of()[:3]
    table = stability_of(model, cells, made, *TARGETS[kind], draws=2, top=(3, 9))
    own = [strengths_of(ask(model, cells[[i]], made, *TARGETS[kind])) for i in range(3)]
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = [spearman(own[a].genes, own[b].genes) for a, b in pairs]
    assert table.loc[("cells", "genes spearman"), "mean"] == pytest.approx(np.mean(expected))
    assert table.loc[("cells", "genes spearman"), "sd"] == pytest.approx(np.std(expected, ddof=1))
    features = [jaccard(own[a].features, own[b].features, 9) for a, b in pairs]
    assert table.loc[("cells", "features top 9"), "mean"] == pytest.approx(np.mean(features))
    assert table.loc[("cells", "features top 9"), "pairs"] == 3
    overs = table.index.get_level_values("over").unique().tolist()
    assert overs == (["cells", "dropout", "ties"] if kind == "gpt_neox" else ["cells", "dropout"])
    assert 0 < table.loc[("dropout", "genes spearman"), "pairs"] <= 6
    assert (table["low"] <= table["mean"]).all()
    assert (table["mean"] <= table["high"]).all()
    pd.testing.assert_frame_equal(table, stability_of(model, cells, made, *TARGETS[kind], draws=2, top=(3, 9)))
    if kind == "gpt_neox":
        assert table.loc[("ties", "genes spearman"), "pairs"] == 6
        assert table.loc[("ties", "genes spearman"), "mean"] < 1


def test_whole_features_have_the_sum_of_their_effects_over_tokens() -> None:
    from cellglass.circuits.propagation import effects

    one = ask(model_of("scgpt"), cells_of()[:1], transcoders_of("scgpt"), *TARGETS["scgpt"])
    found = strengths_of(one).features
    total = effects(one.frozen, one.replacement, one.answers.targets, total=True).features
    for (layer, feature), value in list(found.items())[:20]:
        f = one.replacement.features[layer]
        own = (f.latent == feature) & (f.value > 0)
        assert value == pytest.approx(float(total[layer][own].sum()), rel=1e-4, abs=1e-6)


def test_one_cell_has_no_pairs_of_cells_and_wrong_numbers_are_refused() -> None:
    model, made = model_of("scgpt"), transcoders_of("scgpt")
    table = stability_of(model, cells_of()[:1], made, *TARGETS["scgpt"], draws=1)
    assert "cells" not in table.index.get_level_values("over")
    with pytest.raises(InputError, match=r"kept is 1\.5"):
        stability_of(model, cells_of()[:1], made, *TARGETS["scgpt"], kept=1.5)
    with pytest.raises(InputError, match="draws is 0"):
        stability_of(model, cells_of()[:1], made, *TARGETS["scgpt"], draws=0)
    with pytest.raises(InputError, match="no cells"):
        stability_of(model, cells_of()[:0], made, *TARGETS["scgpt"])
