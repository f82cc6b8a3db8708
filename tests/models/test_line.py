"""The ways of every transformer: ends, gradients, padding; what has none says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.cell2sentence.model import Cell2SentenceModel
from cellglass.models.geneformer.model import GeneformerModel
from cellglass.models.scgpt.model import ScgptModel

PROTOTYPE, PARTNER = np.array([8, 9, 10, 8]), np.array([20, 31, 9, 8])


def kinds(cells: Cells) -> dict[str, Callable[[], Any]]:
    """Small networks of fresh weights; in scGPT and Geneformer a cell may be longer than what is read of it."""
    sentence = {"layers": 2, "width": 16, "heads": 2, "epochs": 0, "n_genes": 12}
    return {
        "scgpt": lambda: ScgptModel.fit(cells, layers=2, width=16, heads=2, epochs=0),
        "geneformer": lambda: GeneformerModel.fit(cells, layers=2, width=16, heads=2, epochs=0),
        "geneformer-special": lambda: GeneformerModel.fit(cells, layers=2, width=16, heads=2, epochs=0, special=True),
        "gpt_neox": lambda: Cell2SentenceModel.fit(cells, **sentence),
        "gemma2": lambda: Cell2SentenceModel.fit(cells, **sentence, architecture="gemma2"),
        "prompted": lambda: Cell2SentenceModel.fit(cells, **sentence).with_settings(prompt="cell_type"),
    }


@pytest.fixture(params=["scgpt", "geneformer", "geneformer-special", "gpt_neox", "gemma2", "prompted"])
def named(request: pytest.FixtureRequest, make_cells: Callable[..., Cells]) -> tuple[str, Any, Cells]:
    cells = make_cells(n_cells=40, n_genes=25)
    torch.manual_seed(0)
    model = kinds(cells)[request.param]()
    with torch.no_grad():  # fresh weights are so small that every cell is the same to them
        for parameter in model.net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return request.param, model, model.align(cells)


def ends(model: Any, site: str, cells: Cells, p: Any, q: Any) -> list[torch.Tensor]:
    line = model.line(site, cells, p, q)
    with torch.no_grad():
        return [line.read(torch.full(line.gene.shape, u)) for u in (0.0, 1.0)]


def test_a_way_begins_at_the_partner_and_ends_at_the_prototype(named: tuple[str, Any, Cells]) -> None:
    name, model, cells = named
    for site in model.cell_sites:
        if model.lacks("path", site) is not None:
            assert site == "cell.last"
            assert name in ("gpt_neox", "gemma2")
            continue
        start, end = ends(model, site, cells, PROTOTYPE, PARTNER)
        scale = {"atol": 2e-5, "rtol": 1e-4}
        torch.testing.assert_close(end, model.activations(cells[PROTOTYPE], [site])[site], **scale)
        if name not in ("prompted", "geneformer-special"):  # where the frame stands is the prototype's
            torch.testing.assert_close(start, model.activations(cells[PARTNER], [site])[site], **scale)
        torch.testing.assert_close(start[3], end[3], **scale)  # a cell to itself


def test_what_stands_beside_a_pair_changes_nothing(named: tuple[str, Any, Cells]) -> None:
    _, model, cells = named
    for site in ("cell", "layers.0.resid"):
        whole = model.line(site, cells, PROTOTYPE, PARTNER)
        u = torch.rand(whole.gene.shape, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            together = whole.read(u)
        for i in range(len(PROTOTYPE)):
            one = model.line(site, cells, PROTOTYPE[[i]], PARTNER[[i]])
            mine = u[[i], : one.gene.shape[1]].clone().requires_grad_()
            alone = one.read(mine)
            wanted = together[[i]] if site == "cell" else together[[i], : one.gene.shape[1]]
            torch.testing.assert_close(alone.detach(), wanted, atol=2e-5, rtol=1e-4)
            assert torch.isfinite(torch.autograd.grad(alone.sum(), mine)[0]).all()
        assert torch.isfinite(together[..., 0]).sum() >= len(PROTOTYPE)


def test_gradients_are_differences(named: tuple[str, Any, Cells]) -> None:
    _, model, cells = named
    model.net.double()
    line = model.line("cell", cells, PROTOTYPE[:1], PARTNER[:1])
    direction = torch.randn(line.read(torch.zeros(line.gene.shape).double()).shape[1], dtype=torch.float64)

    def f(u: torch.Tensor) -> torch.Tensor:
        return (line.read(u) * direction).sum()

    u = torch.full(line.gene.shape, 0.6, dtype=torch.float64).requires_grad_()
    gradient = torch.autograd.grad(f(u), u)[0][0]
    step = 1e-4
    for j in torch.topk(gradient.abs(), 4).indices.tolist():
        moved = [u.detach().clone() for _ in range(2)]
        moved[0][0, j] -= step
        moved[1][0, j] += step
        with torch.no_grad():
            slope = (f(moved[1]) - f(moved[0])) / (2 * step)
        assert float(slope) == pytest.approx(float(gradient[j]), rel=5e-3, abs=1e-4)
    assert (gradient[line.gene[0] < 0] == 0).all()


def test_a_model_without_a_way_says_so(named: tuple[str, Any, Cells], monkeypatch: pytest.MonkeyPatch) -> None:
    from cellglass.models.transformer.model import TransformerModel

    _, model, cells = named
    assert "one row for each gene" in str(model.lacks("path", "layers.0.resid"))
    monkeypatch.setattr(type(model), "weighted", TransformerModel.weighted)
    assert "no gradient" in str(model.lacks("path", "cell"))
    with pytest.raises(InputError, match="no gradient"):
        model.line("cell", cells, PROTOTYPE, PARTNER)


def test_a_row_of_several_tokens_has_no_way(make_cells: Callable[..., Cells]) -> None:
    cells = make_cells(n_cells=20, n_genes=12)
    model = Cell2SentenceModel.fit(cells, layers=1, width=16, heads=2, epochs=0, n_genes=8).with_settings(rows="mean")
    with pytest.raises(InputError, match="mean over several tokens"):
        model.line("layers.0.resid", model.align(cells), PROTOTYPE[:1], PARTNER[:1] - 20)
