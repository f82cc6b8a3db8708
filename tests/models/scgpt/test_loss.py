import numpy as np
import pytest
import torch

from cellglass.models.scgpt.binning import bin_values
from cellglass.models.scgpt.config import ScgptConfig
from cellglass.models.scgpt.loss import Training, draw, in_bins, losses, start_small, unit_of
from cellglass.models.scgpt.model import ScgptModel
from cellglass.models.scgpt.net import ScgptNet
from cellglass.models.scgpt.training import vocabulary


@pytest.fixture
def cells(make_cells):
    return make_cells(n_cells=50, n_genes=40)


@pytest.fixture
def model(cells):
    vocab = vocabulary(cells)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ScgptNet(ScgptConfig(len(vocab), 16, 1, 2, 16, pad_id=vocab["<pad>"], dropout=0.0))
    return ScgptModel(net.eval().requires_grad_(False), vocab)


@pytest.mark.parametrize("cell_genes", [7, 1024])
def test_a_step_asks_for_the_bins_of_hidden_tokens_and_of_genes(cells, model, cell_genes):
    aligned = model.align(cells)
    tokens = model.tokenise(aligned)
    bins = aligned.counts.copy()
    bins.data = bin_values(bins.data, bins.indptr, 51).astype(np.float32)
    rows, how = np.array([4, 0, 31]), Training(tokens=9, cell_genes=cell_genes)
    step = draw(model.cfg, model.gene_ids, tokens, bins, rows, how, np.random.default_rng(0))
    dense = bins.toarray()
    assert step.ids.shape == (3, 10)
    assert step.genes.shape == (min(cell_genes, 40),)
    for i, row in enumerate(rows):
        ids = step.ids[i][step.mask[i]].tolist()
        assert ids[0] == model.vocab["<cls>"]
        assert len(set(ids)) == len(ids) == 1 + min(9, (dense[row] > 0).sum())
        assert step.given[i][step.mask[i]].tolist() == [-2, *(dense[row, g] for g in ids[1:])]
        assert step.wanted[i].tolist() == dense[row, step.genes].tolist()
    assert not step.hide[:, 0].any()
    assert not (step.hide & ~step.mask).any()
    with torch.no_grad():
        own, cell = losses(model.net, step, 2.0)
        output = model.net(step.ids, torch.where(step.hide, -1.0, step.given), step.mask)
    errors = [
        (float(output.expression[i, j]) - float(step.given[i, j]) / 2) ** 2
        for i in range(3)
        for j in range(10)
        if step.hide[i, j]
    ]
    assert float(own) == pytest.approx(np.mean(errors), rel=1e-4)
    pred = model.decode("cell.raw", output.hidden[:, 0], cells, genes=step.genes.numpy())
    assert float(cell) == pytest.approx(float(((pred - step.wanted / 2) ** 2).mean()), rel=1e-4)


def test_heads_trained_in_units_give_bins(cells, model):
    """A loss in units before the change is the loss in bins after it."""
    aligned, rng = model.align(cells), np.random.default_rng(0)
    step = draw(
        model.cfg, model.gene_ids, model.tokenise(aligned), aligned.counts, np.arange(9), Training(tokens=9), rng
    )
    unit = unit_of(model.cfg)
    assert unit == pytest.approx(np.std(np.linspace(0, 50, 100_001)), rel=1e-4)
    before = losses(model.net, step, unit)
    in_bins(model.net)
    after = losses(model.net, step, 1.0)
    for a, b in zip(before, after, strict=True):
        assert float(b) == pytest.approx(float(a) * unit**2, rel=1e-4)


def test_drawn_tokens_differ_from_step_to_step_and_cover_the_cell(cells, model):
    aligned = model.align(cells)
    tokens, rng, how = model.tokenise(aligned), np.random.default_rng(0), Training(tokens=5)
    row = np.array([int(np.argmax(np.diff(aligned.counts.indptr)))])
    seen = [
        set(draw(model.cfg, model.gene_ids, tokens, aligned.counts, row, how, rng).ids[0].tolist()) for _ in range(60)
    ]
    assert len({frozenset(ids) for ids in seen}) > 30
    assert set.union(*seen) == {model.vocab["<cls>"], *aligned.counts[row].indices.tolist()}


def test_a_fresh_cell_head_says_little(cells, model):
    tokens, rng = model.tokenise(model.align(cells)), np.random.default_rng(0)
    step = draw(model.cfg, model.gene_ids, tokens, cells.counts, np.arange(50), Training(), rng)
    before = losses(model.net, step, 14.4)[1]
    start_small(model.net)
    after = losses(model.net, step, 14.4)[1]
    assert after < before
    assert after < 1.5 * (step.wanted / 14.4).square().mean()
