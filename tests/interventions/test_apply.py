"""Decoded changes against a plain loop over cells; models and sites that do not decode are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellglass.activations.rows import MemoryRows
from cellglass.errors import InputError
from cellglass.interventions import Subject
from cellglass.interventions.apply import (
    change_of,
    check_decodes,
    decoded_changes,
    expression,
    mean_expression,
    real_change,
)
from cellglass.interventions.controls import Way
from cellglass.models.embedding import EmbeddingModel
from circuits.models import cells_of, model_of


def _shift(x: torch.Tensor, dose: float) -> torch.Tensor:
    return dose * torch.arange(x.shape[1], dtype=x.dtype).expand_as(x) / 10


WAYS = [Way("concepts", 0, _shift), Way("none", 0, lambda x, _dose: torch.zeros_like(x))]


def test_changes_are_those_of_cells_decoded_one_by_one(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, doses = np.array([3, 50, 7, 120, 121]), [0.0, 0.5, 2.0]
    parts = (subject.model, subject.site, subject.rows, subject.cells, chosen, WAYS, doses)
    found, moved = decoded_changes(*parts)
    means = np.zeros((3, subject.cells.n_genes))
    for cell in chosen:
        x = subject.rows.values[[cell]]
        for j, dose in enumerate(doses):
            counts = subject.model.decode("z", x + _shift(x, dose), subject.cells[[cell]])[0].double().numpy()
            means[j] += counts / counts.sum() / len(chosen)
    expected = [np.log1p(1e4 * after) - np.log1p(1e4 * means[0]) for after in means]
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    np.testing.assert_array_equal(found[0, 0], 0)
    np.testing.assert_array_equal(found[1], 0)
    np.testing.assert_allclose(moved[0], np.array(doses) * np.linalg.norm(np.arange(6) / 10), rtol=1e-5)
    monkeypatch.setattr("cellglass.interventions.apply._CELLS", 2)
    np.testing.assert_allclose(decoded_changes(*parts)[0], found, atol=1e-6)


def test_real_change_is_that_of_mean_shares(subject: Subject) -> None:
    counts, a, b = subject.cells.counts.toarray().astype(float), np.arange(0, 70), np.arange(60, 160)
    shares = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(mean_expression(subject.cells, a), shares[a].mean(axis=0), rtol=1e-6)
    expected = np.log1p(1e4 * shares[b].mean(axis=0)) - np.log1p(1e4 * shares[a].mean(axis=0))
    np.testing.assert_allclose(real_change(subject.cells, a, b), expected, atol=1e-6)
    empty = subject.cells.with_counts(subject.cells.counts * 0)
    np.testing.assert_array_equal(mean_expression(empty, a), 0)


def test_values_that_are_no_counts_stay_as_they_are(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.rand(4, 60)
    shares = expression(subject.model, values)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(4, dtype=torch.float64))
    monkeypatch.setattr(type(subject.model), "decoded_unit", "bins")
    assert torch.equal(expression(subject.model, values), values.double())
    np.testing.assert_array_equal(change_of(np.array([1.0, 2]), np.array([4.0, 1]), counts=False), [3, -1])


def test_a_transformer_is_decoded_from_its_cell_by_its_own_head() -> None:
    model, cells = model_of("scgpt"), cells_of(6)
    cells = model.align(cells)
    x = model.activations(cells, ["cell", "cell.raw"])
    parts = (MemoryRows(x["cell"]), cells, np.array([1, 4]), WAYS, [0.0, 1.0])
    found, _ = decoded_changes(model, "cell", *parts)
    length = x["cell.raw"].norm(dim=1, keepdim=True)
    moved = (x["cell"] + _shift(x["cell"], 1.0)) * length
    after, before = (model.decode("cell.raw", one, cells)[[1, 4]].mean(dim=0) for one in (moved, x["cell.raw"]))
    np.testing.assert_allclose(found[0, 1], (after - before).numpy(), atol=1e-4)
    assert np.abs(found[0, 1]).max() > 0.01
    np.testing.assert_array_equal(found[1], 0)
    for kind in ("gpt_neox", "geneformer"):
        with pytest.raises(InputError, match="decode"):
            check_decodes(model_of(kind), "cell")


def test_sites_that_cannot_be_decoded_are_refused(subject: Subject) -> None:
    held = replace(subject.cells, obsm={"X": np.ones((160, 3), dtype=np.float32)})
    check_decodes(subject.model, "z")
    with pytest.raises(InputError, match=r"tokens has one row for each gene of a cell; .* such as z"):
        check_decodes(subject.model, "tokens")
    with pytest.raises(InputError, match="there are no cells to move"):
        decoded_changes(subject.model, "z", subject.rows, subject.cells, np.arange(0), WAYS, [1.0])
    with pytest.raises(InputError, match="decoding is"):
        check_decodes(EmbeddingModel.of(held, ["X"]), "X")
