"""The table of losses: exact transcoders keep all, removal is a changed network's, a share without cost is blank."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from cellglass.circuits.objectives import objective_of
from cellglass.circuits.replacement import COLUMNS, layer_sets, loss_table, share_kept
from cellglass.circuits.transcoders import Transcoders, fingerprint_of
from cellglass.dictionaries import TopK, TopKConfig
from cellglass.errors import InputError
from cellglass.models.transformer.tokens import batches_by_length


def losses_of(model, cells, labels=None, seed=0):
    """The losses of a network as it is, batch by batch."""
    objective = objective_of(model, labels, seed)
    shown = objective.shown(model.align(cells))
    found = dict.fromkeys(objective.losses, (0.0, 0))
    for chosen in batches_by_length(shown.tokens.lengths, 300):
        batch = shown.tokens.padded(chosen, model.pad_id, model.pad_value)
        with torch.no_grad():
            for name, (total, n) in objective.measure(shown, batch, model.forward(batch)).items():
                found[name] = (found[name][0] + total, found[name][1] + n)
    return {name: total / n for name, (total, n) in found.items()}


def test_the_share_kept() -> None:
    assert share_kept(1.0, 1.5, 3.0) == 0.75
    assert share_kept(1.0, 1.0, 3.0) == 1
    assert share_kept(1.0, 4.0, 3.0) == -0.5
    assert share_kept(1.0, 1.0, 1.06) == pytest.approx(1)
    assert math.isnan(share_kept(1.0, 1.0, 1.04))
    assert math.isnan(share_kept(1.0, 0.5, 0.2))


def test_the_sets_of_layers() -> None:
    assert {name: list(layers) for name, layers in layer_sets(3).items()} == {
        "0": [0], "1": [1], "2": [2], "1+": [1, 2], "all": [0, 1, 2],
    }  # fmt: skip
    assert list(layer_sets(1)) == ["0", "all"]


@pytest.mark.parametrize("crosslayer", [False, True])
@pytest.mark.parametrize("name", ["scgpt", "geneformer"])
def test_transcoders_that_are_the_mlps_keep_everything(
    name, crosslayer, cells, make_model, make_exact, maps_of
) -> None:
    model = make_model(name, cells)
    means = torch.randn(2, 16, generator=torch.Generator().manual_seed(4))
    told = []
    table = loss_table(
        model, make_exact(model, means, crosslayer=crosslayer), cells, progress=lambda *said: told.append(said)
    )
    assert tuple(table.columns) == COLUMNS
    assert told[-1][1:] == (13 * len(cells), 13 * len(cells))
    plain = losses_of(model, cells)
    assert list(table["loss"].unique()) == list(plain)
    np.testing.assert_allclose(table["replaced"], table["original"], rtol=1e-4)
    np.testing.assert_allclose(table["error"], 0, atol=1e-8)
    for way, written in (("zeroed", torch.zeros(2, 16)), ("mean", means)):
        for which, layers in layer_sets(2).items():
            other = copy.copy(model)
            other.net = copy.deepcopy(model.net)
            with torch.no_grad():
                for i in layers:
                    maps_of(other)[i][1].weight.zero_()
                    maps_of(other)[i][1].bias.copy_(written[i])
            removed = losses_of(other, cells)
            for loss, value in plain.items():
                row = table[(table["layers"] == which) & (table["loss"] == loss)].iloc[0]
                assert row["original"] == pytest.approx(value, rel=1e-5)
                assert row[way] == pytest.approx(removed[loss], rel=1e-4)
                kept = row["kept" if way == "zeroed" else "kept_mean"]
                assert math.isnan(kept) == (removed[loss] - value < 0.05)
                assert math.isnan(kept) or kept == pytest.approx(1, abs=1e-3)
    assert table["kept"].notna().any() | table["kept_mean"].notna().any()


@pytest.mark.parametrize("architecture", ["gpt_neox", "gemma2"])
def test_latents_that_write_nothing_are_the_mean(architecture, cells, make_model) -> None:
    """All kinds of token count, of the prompt too; a label's loss stands apart."""
    model = make_model(architecture, cells)
    made = []
    for i in range(2):
        one = TopK(TopKConfig(16, 8, 2, d_out=16))
        one.centre_out.copy_(torch.linspace(-1, 1 + i, 16))
        one.encoder_bias.data.fill_(1.0)
        made.append(one.freeze())
    empty = Transcoders(model.kind, fingerprint_of(model), 2, tuple(made))
    table = loss_table(model, empty, cells[:10], labels="type")
    np.testing.assert_allclose(table["replaced"], table["mean"], rtol=1e-6)
    assert (table["original"] != table["mean"]).all()
    assert (table["zeroed"] != table["mean"]).all()
    assert table.groupby("loss", sort=False)["n"].first().to_dict()["label"] == 10
    plain = losses_of(model, cells[:10], "type")
    for loss, value in plain.items():
        np.testing.assert_allclose(table.loc[table["loss"] == loss, "original"], value, rtol=1e-5)
    np.testing.assert_allclose(table["l0"], 2)
    np.testing.assert_allclose(table["dead"], 0.75)
    assert (table["error"] >= 1 - 1e-6).all()


def test_what_cannot_be_measured_is_refused(cells, make_model, make_exact) -> None:
    model = make_model("scgpt", cells)
    exact = make_exact(model)
    with pytest.raises(InputError, match="there are no cells"):
        loss_table(model, exact, cells[:0])
    with pytest.raises(InputError, match="belong to another model"):
        loss_table(make_model("geneformer", cells), exact, cells)
    with pytest.raises(InputError, match="writes no answers"):
        loss_table(model, exact, cells, labels="type")
