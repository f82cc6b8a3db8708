"""Units of layers: every architecture's hidden layer is the right one, thresholds give the density asked for."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from cellglass.circuits.objectives import ANSWER, GENE, objective_of
from cellglass.circuits.transcoders import Transcoders, fingerprint_of
from cellglass.dictionaries import BatchTopK, BatchTopKConfig
from cellglass.evaluation.feature_units import directions_of, features_of, hidden_points, neurons_of, read_tokens_at
from cellglass.models.transformer.hooks import Point
from circuits.models import WIDTH, cells_of, model_of
from evaluation.features import planted


@pytest.mark.parametrize("kind", ["gpt_neox", "gemma2", "scgpt", "geneformer"])
def test_the_hidden_layer_is_what_the_last_map_of_the_mlp_reads(kind: str) -> None:
    model = model_of(kind)
    points = hidden_points(model)
    assert len(points) == 2
    writes = [Point(point.module, "out") for point in points]
    (tokens,) = read_tokens_at(objective_of(model), cells_of(4), [*points, *writes])
    for layer, point in enumerate(points):
        hidden, written = tokens.states[layer], tokens.states[2 + layer]
        torch.testing.assert_close(model.net.get_submodule(point.module)(hidden), written, rtol=1e-4, atol=1e-4)
        assert hidden.shape[1] > 0


def test_all_tokens_are_read_and_each_is_told_apart() -> None:
    model, _, _ = planted()
    objective = objective_of(model, "type")
    cells = cells_of(4)
    shown = objective.shown(model.align(cells))
    read = list(read_tokens_at(objective, cells, [model.points["layers.0.mlp.in"]]))
    assert sum(len(tokens.cell) for tokens in read) == len(shown.part)
    for tokens in read:
        assert ((tokens.gene >= 0) == (tokens.part == GENE)).all()
        assert set(tokens.part) >= {GENE, ANSWER}
        for cell in np.unique(tokens.cell):
            own = slice(shown.tokens.start[cell], shown.tokens.start[cell + 1])
            np.testing.assert_array_equal(tokens.gene[tokens.cell == cell], shown.tokens.gene[own])
            np.testing.assert_array_equal(tokens.piece[tokens.cell == cell], shown.tokens.ids[own])


def test_neurons_are_active_as_often_as_asked() -> None:
    x = torch.randn(1000, 5, generator=torch.Generator().manual_seed(0))
    x[:, 4] -= 100  # never above 0
    units = neurons_of([Point("a", "in")], [x], [0.1])
    codes = units.encode(0, x)
    np.testing.assert_allclose(codes.getnnz(axis=0)[:4], 100, atol=2)
    assert codes[:, 4].nnz == 0
    assert (codes.data > 0).all()
    assert units.numbers == [5]


def test_random_directions_are_as_long_and_as_many() -> None:
    model, transcoders, _ = planted()
    points = features_of(model, transcoders).points
    (tokens,) = read_tokens_at(objective_of(model, "type"), cells_of(4), points)
    drawn = directions_of(model, transcoders, tokens.states, 1)
    again = directions_of(model, transcoders, tokens.states, 1)
    for layer, x in enumerate(tokens.states):
        own, other = features_of(model, transcoders).encode(layer, x), drawn.encode(layer, x)
        assert (own != other).nnz
        assert (other != again.encode(layer, x)).nnz == 0
        assert other.getnnz(axis=1).max() <= transcoders.k
    one = BatchTopK(BatchTopKConfig(WIDTH, 32, k=4, d_out=WIDTH))
    torch.manual_seed(0)
    one.encoder.data.normal_()
    one.threshold.fill_(2.0)
    many = Transcoders(model.kind, fingerprint_of(model), 2, (one.freeze(), one))
    drawn = directions_of(model, many, tokens.states, 1)
    for layer, x in enumerate(tokens.states):
        wanted = features_of(model, many).encode(layer, x).nnz
        assert abs(drawn.encode(layer, x).nnz - wanted) <= 0.02 * wanted + 2


def test_networks_with_maps_of_other_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from cellglass.errors import InputError
    from cellglass.evaluation import feature_units

    monkeypatch.setattr(feature_units, "LAST_MAPS", ("other",))
    with pytest.raises(InputError, match="so its neurons cannot be read; leave the controls out"):
        partial(hidden_points, model_of("gpt_neox"))()
