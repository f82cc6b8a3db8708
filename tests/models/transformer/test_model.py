"""The common part of transformers, on a small network, against plain loops: sites, batches, edits, swaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from torch import nn

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.base import TokenRows
from cellglass.models.transformer.hooks import Point
from cellglass.models.transformer.model import CellSite, TransformerModel, first_token, mean_of_genes
from cellglass.models.transformer.sites import sites_of
from cellglass.models.transformer.tokens import Padded, TokenLists

GENES, WIDTH = 12, 8


class Net(nn.Module):
    """One layer of attention with a mask, and a linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.attention = nn.Embedding(GENES + 2, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Linear(WIDTH, 5)

    def forward(self, batch: Padded) -> torch.Tensor:
        x = self.embedding(batch.ids) * batch.value[..., None]
        scores = (x @ x.transpose(1, 2)).masked_fill(~batch.mask[:, None], -torch.inf)
        x = x + self.attention(scores.softmax(-1) @ x)
        return self.mlp(x)


class Small(TransformerModel):
    """Counted genes behind a first token, with their counts as values."""

    kind = "small"
    pad_id = GENES + 1
    batch_tokens = 20

    def __init__(self) -> None:
        torch.manual_seed(3)
        self.net = Net().eval()
        self.genes = pd.Index([f"g{i}" for i in range(GENES)])
        self.points = {
            "embed": Point("embedding", "out"),
            "layers.0.attn.out": Point("attention", "out"),
            "layers.0.attn.head.1": Point("attention", "in", slice(4, 8)),
            "layers.0.resid": Point("mlp", "in"),
        }
        self.cell_sites = {"cell": CellSite("layers.0.resid", mean_of_genes), "cls": CellSite("embed", first_token)}
        self.sites = sites_of(self.points, WIDTH, self.cell_sites)

    def tokenise(self, cells: Cells) -> TokenLists:
        ids, genes, values, start = [], [], [], [0]
        for i in range(cells.n_cells):
            row = cells.counts[i]
            ids += [GENES, *row.indices]
            genes += [-1, *row.indices]
            values += [1.0, *np.log1p(row.data)]
            start.append(len(ids))
        return TokenLists(
            np.array(start), np.array(ids, np.int64), np.array(genes, np.int64), np.array(values, np.float32)
        )

    def forward(self, batch: Padded) -> Any:
        return self.net(batch)

    def save(self, folder: Path) -> None:
        raise NotImplementedError


@pytest.fixture
def model() -> Small:
    return Small()


@pytest.fixture
def cells() -> Cells:
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.7, (17, GENES)).astype(np.float32)
    counts[4] = 0
    genes = pd.DataFrame({"symbol": [f"g{i}" for i in range(GENES)]}, index=[f"g{i}" for i in range(GENES)])
    return Cells(sp.csr_matrix(counts), genes, pd.DataFrame(index=[f"c{i}" for i in range(17)]))


def alone(model: Small, cells: Cells, i: int) -> dict[str, torch.Tensor]:
    """One cell by hand: token after token, without padding."""
    net = model.net
    row = cells.counts[i]
    ids, values = [GENES, *row.indices], [1.0, *np.log1p(row.data)]
    x = [net.embedding.weight[t] * v for t, v in zip(ids, values, strict=True)]
    mixed = []
    for a in x:
        weights = torch.stack([a @ b for b in x]).softmax(0)
        mixed.append(sum(w * b for w, b in zip(weights, x, strict=True)))
    out = [net.attention(m) for m in mixed]
    hidden = torch.stack(x)
    return {
        "embed": net.embedding.weight[torch.tensor(ids)],
        "layers.0.attn.out": torch.stack(out),
        "layers.0.attn.head.1": torch.stack(mixed)[:, 4:],
        "layers.0.resid": hidden + torch.stack(out),
    }


@torch.no_grad()
def test_rows_and_cells_equal_one_cell_by_hand(model: Small, cells: Cells) -> None:
    rows = model.token_activations(cells, list(model.points))
    pooled = model.activations(cells, ["cell", "cls"])
    for i in range(cells.n_cells):
        wanted = alone(model, cells, i)
        for name, found in rows.items():
            here = found.cell == i
            assert found.gene[here].tolist() == cells.counts[i].indices.tolist()
            torch.testing.assert_close(found.values[torch.from_numpy(here)], wanted[name][1:], atol=1e-6, rtol=1e-5)
        if cells.counts[i].nnz:
            torch.testing.assert_close(pooled["cell"][i], wanted["layers.0.resid"][1:].mean(0), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(pooled["cls"][i], wanted["embed"][0])
    assert (pooled["cell"][4] == 0).all()
    assert all((np.diff(found.cell) >= 0).all() for found in rows.values())


def test_a_swap_is_the_edited_cell_alone(model: Small, cells: Cells) -> None:
    cell, gene = np.array([0, 3, 3]), np.array([5, 0, 11])
    count = np.array([0, 4, 1], np.float32)
    found = model.perturbed_activations(cells, "cell", cell, gene, count)
    for row, (c, g, n) in enumerate(zip(cell, gene, count, strict=True)):
        counts = cells[[int(c)]].counts.toarray()
        counts[0, g] = n
        one = cells[[int(c)]].with_counts(sp.csr_matrix(counts))
        torch.testing.assert_close(found[row], model.activations(one, ["cell"])["cell"][0], atol=1e-6, rtol=1e-5)


def test_changed_cells_are_read_at_sites_with_one_row_for_each(model: Small, cells: Cells) -> None:
    assert [site for site in model.sites if model.lacks("counterfactual", site) is None] == list(model.cell_sites)
    assert "no gradient with respect to counts" in str(model.lacks("path", "cell"))
    one = np.array([0])
    with pytest.raises(InputError) as caught:
        model.perturbed_activations(cells, "layers.0.resid", one, one, one.astype(np.float32))
    assert str(caught.value) == model.lacks("counterfactual", "layers.0.resid")


def test_changes_that_make_the_same_tokens_share_a_run(model: Small, cells: Cells, monkeypatch) -> None:
    seen: list[int] = []
    forward = Small.forward

    def counting(self: Small, batch: Padded) -> Any:
        seen.append(len(batch.cells))
        return forward(self, batch)

    monkeypatch.setattr(Small, "forward", counting)
    cell, gene = np.array([2, 0, 2, 2]), np.array([5, 1, 5, 6])
    count = np.array([3, 2, 3, 1], np.float32)
    found = model.perturbed_activations(cells, "cell", cell, gene, count)
    assert sum(seen) == 3
    assert torch.equal(found[0], found[2])
    torch.testing.assert_close(found, model.perturbed_activations_plain(cells, "cell", cell, gene, count))


def test_edits_see_rows_and_what_they_return_flows_on(model: Small, cells: Cells) -> None:
    plain = model.activations(cells, ["cell"])["cell"]
    same, outputs = model.with_edits(cells, {"layers.0.attn.out": lambda rows: rows.values}, ["cell"])
    assert torch.equal(same["cell"], plain)
    assert sum(len(batch.cells) for batch, _ in outputs) == cells.n_cells
    batch, output = outputs[0]
    assert output.shape == (*batch.ids.shape, 5)

    def without_gene_2(rows: TokenRows) -> torch.Tensor:
        return rows.values * torch.from_numpy(rows.gene != 2)[:, None]

    changed, _ = model.with_edits(cells, {"layers.0.attn.out": without_gene_2}, ["cell"])
    rows = model.token_activations(cells, ["layers.0.attn.out"])["layers.0.attn.out"]
    for i in range(cells.n_cells):
        here = (rows.cell == i) & (rows.gene == 2)
        moved = rows.values[torch.from_numpy(here)].sum(0) / max(1, cells.counts[i].nnz)
        torch.testing.assert_close(changed["cell"][i], plain[i] - moved, atol=1e-6, rtol=1e-5)


def test_sites_of_the_other_granularity_are_refused(model: Small, cells: Cells) -> None:
    assert [site.granularity for site in model.sites.values()] == ["cell"] * 2 + ["token"] * 4
    with pytest.raises(InputError, match="one row for each gene of a cell; read it with token_activations"):
        model.activations(cells, ["embed"])
    with pytest.raises(InputError, match="'cell' has one row for each cell; read it with activations"):
        model.token_activations(cells, ["cell"])
    with pytest.raises(InputError, match="write to a token site"):
        model.with_edits(cells, {"cell": lambda rows: rows.values})
    with pytest.raises(InputError, match=r"no site .layers\.9\.resid.; its sites are: cell, cls, embed"):
        model.token_activations(cells, ["layers.9.resid"])


def test_the_genes_of_aligned_cells_are_all_found_and_of_others_those_that_they_have(model: Small, cells: Cells):
    assert model.cover(cells) == (GENES, 0, 0)
    few = cells.select_genes([3, 1])
    assert model.cover(few) == (2, GENES - 2, 0)
    assert model.for_cells(few) is model


def test_both_kinds_of_sites_are_read_in_one_pass(model: Small, cells: Cells, monkeypatch):
    runs = []
    forward = Small.forward
    monkeypatch.setattr(Small, "forward", lambda self, batch: runs.append(1) or forward(self, batch))
    apart = model.token_activations(cells, ["layers.0.resid"])["layers.0.resid"]
    whole = len(runs)
    both = model.read(model.prepare(cells), ["layers.0.resid", "cell"])
    assert len(runs) == 2 * whole
    assert list(both) == ["layers.0.resid", "cell"]
    assert torch.equal(both["layers.0.resid"].values, apart.values)
    assert torch.equal(both["cell"], model.activations(cells, ["cell"])["cell"])
