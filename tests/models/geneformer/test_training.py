"""Small Geneformers: masks and batches as described, the same bits again, killed or not, and something learned."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.geneformer.files import weights_of
from cellglass.models.geneformer.model import GeneformerModel
from cellglass.models.geneformer.training import BUDGET, MOST_EPOCHS, _batches, _schedule, drawn, epochs_for, masked
from cellglass.models.transformer.tokens import TokenLists

SMALL: dict[str, Any] = {"layers": 2, "width": 8, "heads": 2}


def cells_of(n_cells: int = 40, n_genes: int = 25, seed: int = 0) -> Cells:
    rng = np.random.default_rng(seed)
    counts = rng.negative_binomial(1, 0.4, (n_cells, n_genes)).astype(np.float32)
    counts[:, 4] = 0
    ids = [f"ENSG{i:011d}" for i in range(n_genes)]
    genes = pd.DataFrame({"symbol": [f"NAME{i}" for i in range(n_genes)]}, index=pd.Index(ids, dtype=object))
    return Cells(sp.csr_matrix(counts), genes, pd.DataFrame(index=[f"c{i}" for i in range(n_cells)]), {}, "test cells")


@pytest.fixture
def cells() -> Cells:
    return cells_of()


def same(a: GeneformerModel, b: GeneformerModel) -> bool:
    left, right = weights_of(a.net), weights_of(b.net)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


class KilledError(Exception):
    pass


def stop_after(epoch: int) -> Callable[[str, int, int], None]:
    def progress(_what: str, done: int, _total: int) -> None:
        if done == epoch:
            raise KilledError

    return progress


# -- the pieces --------------------------------------------------------------------------------------------------------


def test_masks_are_15_percent_of_the_genes_of_which_80_10_and_10_percent() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(4, 1004, (400, 500))
    may = rng.random(ids.shape) < 0.7
    before = ids.copy()
    changed, places, wanted = masked(ids, may, 1, (4, 1004), np.random.default_rng(1))
    assert np.array_equal(ids, before)
    assert not (places & ~may).any()
    assert np.array_equal(changed[~places], ids[~places])
    assert np.array_equal(wanted, ids[places])
    n = places.sum()
    assert n / may.sum() == pytest.approx(0.15, abs=0.005)
    hidden, kept = changed[places] == 1, changed[places] == wanted
    assert hidden.sum() / n == pytest.approx(0.8, abs=0.01)
    assert kept.sum() / n == pytest.approx(0.1, abs=0.01)
    others = changed[places][~hidden & ~kept]
    assert others.min() >= 4
    assert others.max() < 1004
    assert len(np.unique(others)) > 800  # of 1,000, by 2,100 draws: 878 are expected


@pytest.mark.parametrize("n", [1, 7, 8, 9, 200])
def test_batches_hold_each_cell_once_in_a_new_order_and_of_like_length(n: int) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 500, n)
    first, second = _batches(lengths, rng), _batches(lengths, rng)
    assert sorted(np.concatenate(first).tolist()) == list(range(n))
    assert {len(batch) for batch in first[:-1]} <= {8, n % 8}
    if n == 200:
        assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]
        padded = sum(lengths[batch].max() * len(batch) for batch in first)
        assert padded < 1.25 * lengths.sum()


@pytest.mark.parametrize("special", [False, True])
def test_tokens_are_drawn_anew_in_their_order_with_their_ranks(special: bool) -> None:
    """One cell of 50 genes beside a short one: each gene is drawn as often as any other, special tokens always."""
    genes = [list(range(100, 150)), list(range(200, 205))]
    cells = [[(2, -1), *((g, g) for g in one), (3, -1)] if special else [(g, g) for g in one] for one in genes]
    start = np.cumsum([0, *map(len, cells)])
    ids, gene = (np.array([pair[k] for one in cells for pair in one]) for k in (0, 1))
    batch = TokenLists(start, ids, gene).padded(np.array([0, 1]), 0)
    rng, seen = np.random.default_rng(0), np.zeros(50)
    for _ in range(400):
        found, mask, may, ranks = drawn(batch, 20, rng)
        assert found.shape == (2, 20)
        for i, one in enumerate(cells):
            kept = [(int(t), int(r)) for t, r, real in zip(found[i], ranks[i], mask[i], strict=True) if real]
            assert len(kept) == min(20, len(one))
            assert [r for _, r in kept] == sorted({r for _, r in kept})
            assert all(one[r][0] == t for t, r in kept)
            assert may[i].tolist() == [bool(real) and t >= 100 for t, real in zip(found[i], mask[i], strict=True)]
            assert not special or {0, len(one) - 1} <= {r for _, r in kept}
        seen[found[0][may[0]] - 100] += 1
    drawn_genes = 20 - 2 * special
    assert seen.sum() == 400 * drawn_genes
    share = drawn_genes / 50
    assert np.abs(seen / 400 - share).max() < 5 * np.sqrt(share * (1 - share) / 400)


def test_cells_of_few_tokens_are_read_whole() -> None:
    lists = TokenLists(np.array([0, 3, 5]), np.arange(7, 12), np.arange(5))
    batch = lists.padded(np.array([1, 0]), 0)
    ids, mask, may, ranks = drawn(batch, 4, np.random.default_rng(0))
    assert ids.tolist() == [[10, 11, 0], [7, 8, 9]]
    assert mask.tolist() == may.tolist() == [[True, True, False], [True, True, True]]
    assert ranks.tolist() == [[0, 1, 2]] * 2


def test_by_default_the_cells_are_read_as_often_as_the_budget_allows() -> None:
    assert epochs_for(np.full(10, 50), 128) == MOST_EPOCHS
    for n in (2_000, 5_000, 9_000):
        assert abs(epochs_for(np.full(n, 700), 128) * n * 128 - BUDGET) <= n * 128 / 2
    assert epochs_for(np.full(10**6, 700), 128) == 1


def test_the_learning_rate_rises_and_falls_in_straight_lines() -> None:
    found = [_schedule(step, 100) for step in range(100)]
    assert found[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert found[10:] == pytest.approx([(100 - i) / 90 for i in range(10, 100)])
    assert 0 < _schedule(0, 1) <= 1


# -- the whole ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("special", [False, True])
def test_vocabulary_medians_and_sizes_come_from_the_cells(cells: Cells, tmp_path: Path, special: bool) -> None:
    model = GeneformerModel.fit(cells, epochs=1, special=special, **SMALL)
    ids = [gene for i, gene in enumerate(cells.genes.index) if i != 4]
    extra = ["<pad>", "<mask>", "<cls>", "<eos>"] if special else ["<pad>", "<mask>"]
    held = model.dictionaries
    assert list(held.tokens.items()) == [(token, i) for i, token in enumerate([*extra, *ids])]
    dense = cells.counts.toarray().astype(float)
    for i, gene in enumerate(cells.genes.index):
        values = [row[i] / row.sum() * 10_000 for row in dense if row[i] > 0]
        assert held.medians.get(gene) == (pytest.approx(np.median(values)) if values else None)
    assert held.names == {f"NAME{i}": gene for i, gene in enumerate(cells.genes.index) if i != 4}
    cfg = model.cfg
    assert (cfg.hidden_size, cfg.num_hidden_layers, cfg.num_attention_heads, cfg.intermediate_size) == (8, 2, 2, 16)
    assert cfg.max_position_embeddings == len(ids) + 2 * special  # no cell can hold more
    model.save(tmp_path / "model")
    again = GeneformerModel.load(tmp_path / "model")
    assert again.fingerprint() == model.fingerprint()
    found = again.activations(cells, list(model.sites)[:2])
    for name, values in found.items():
        assert torch.equal(values, model.activations(cells, [name])[name])


def test_same_seed_same_weights_and_nothing_else_touched(
    cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    state, count = torch.random.get_rng_state(), torch.get_num_threads()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002 (the global state is what must not change)
    first = GeneformerModel.fit(cells, epochs=2, **SMALL)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    assert torch.get_num_threads() == count
    torch.rand(3)
    assert same(first, GeneformerModel.fit(cells, epochs=2, **SMALL))
    assert not same(first, GeneformerModel.fit(cells, epochs=2, seed=1, **SMALL))
    assert not any(parameter.requires_grad for parameter in first.net.parameters())
    assert not first.net.training
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("killed_after", [1, 2, 4])
def test_a_killed_fit_goes_on_to_the_same_weights(cells: Cells, tmp_path: Path, killed_after: int) -> None:
    settings = {**SMALL, "epochs": 5, "tokens": 8}  # fewer than the cells have, so that they are drawn
    whole = GeneformerModel.fit(cells, **settings)
    checkpoint = tmp_path / "deep" / "geneformer.safetensors"
    with pytest.raises(KilledError):
        GeneformerModel.fit(cells, checkpoint=checkpoint, progress=stop_after(killed_after), **settings)
    heard: list[tuple[str, int, int]] = []
    resumed = GeneformerModel.fit(cells, checkpoint=checkpoint, progress=lambda *step: heard.append(step), **settings)
    assert same(whole, resumed)
    assert resumed.fingerprint() == whole.fingerprint()
    assert heard[0] == ("Geneformer epochs", killed_after // 2 * 2, 5)
    assert heard[-1] == ("Geneformer epochs", 5, 5)


def test_a_checkpoint_of_another_run_or_a_broken_one_is_not_used(
    cells: Cells, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = tmp_path / "c"
    wanted = GeneformerModel.fit(cells, epochs=1, checkpoint=checkpoint, **SMALL)
    heard: list[tuple[str, int, int]] = []
    again = GeneformerModel.fit(cells, epochs=1, checkpoint=checkpoint, progress=lambda *s: heard.append(s), **SMALL)
    assert same(again, wanted)
    assert heard == [("Geneformer epochs", 1, 1)]
    GeneformerModel.fit(cells_of(seed=5), epochs=1, checkpoint=checkpoint, **SMALL)
    assert same(wanted, GeneformerModel.fit(cells, epochs=1, checkpoint=checkpoint, **SMALL))
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    assert same(wanted, GeneformerModel.fit(cells, epochs=1, checkpoint=checkpoint, **SMALL))
    assert "cannot be read" in caplog.text


@pytest.mark.slow
def test_a_fit_that_was_killed_by_the_system_goes_on_to_the_same_weights(cells: Cells, tmp_path: Path) -> None:
    whole = GeneformerModel.fit(cells, epochs=400, **SMALL)
    checkpoint = tmp_path / "geneformer.safetensors"
    code = (
        "import sys, runpy; test = runpy.run_path(sys.argv[1]); from pathlib import Path; "
        "test['GeneformerModel'].fit(test['cells_of'](), epochs=400, checkpoint=Path(sys.argv[2]), **test['SMALL'])"
    )
    child = subprocess.Popen([sys.executable, "-c", code, __file__, str(checkpoint)])
    while not checkpoint.exists():
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    heard: list[int] = []
    resumed = GeneformerModel.fit(
        cells, epochs=400, checkpoint=checkpoint, progress=lambda _what, done, _of: heard.append(done), **SMALL
    )
    assert 0 < heard[0] < 400
    assert same(whole, resumed)


def test_impossible_sizes_and_cells_without_counts_are_refused(cells: Cells) -> None:
    with pytest.raises(InputError, match="width of 8 cannot be shared by 3 heads"):
        GeneformerModel.fit(cells, layers=1, width=8, heads=3, epochs=1)
    with pytest.raises(InputError, match="epochs=-1 must be at least 0"):
        GeneformerModel.fit(cells, epochs=-1, **SMALL)
    with pytest.raises(InputError, match="tokens=3 must be at least 4"):
        GeneformerModel.fit(cells, tokens=3, **SMALL)
    with pytest.raises(InputError, match="no cell has any counts"):
        GeneformerModel.fit(cells.with_counts(cells.counts * 0), epochs=1, **SMALL)


def test_a_cell_without_counts_takes_part_without_harm(cells: Cells) -> None:
    counts = cells.counts.toarray()
    counts[3] = 0
    for special in (False, True):
        model = GeneformerModel.fit(cells.with_counts(sp.csr_matrix(counts)), epochs=1, special=special, **SMALL)
        assert (model.activations(cells.with_counts(sp.csr_matrix(counts)), ["cell"])["cell"][3] == 0).all()


def two_types(n: int, seed: int) -> tuple[Cells, np.ndarray[Any, Any]]:
    """Genes 0-19 are the first type's, 20-39 the second's; a cell holds about half of its own and few others."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, n)
    rate = np.where((np.arange(40) < 20) == (kind[:, None] == 0), 0.7, 0.05)
    ids = [f"g{i}" for i in range(40)]
    genes = pd.DataFrame({"symbol": ids}, index=pd.Index(ids, dtype=object))
    counts = sp.csr_matrix(rng.poisson(rate).astype(np.float32))
    return Cells(counts, genes, pd.DataFrame(index=[f"c{i}" for i in range(n)])), kind


@pytest.mark.slow
def test_a_masked_gene_is_named_by_the_type_of_its_cell() -> None:
    """In held-out cells the gene at a masked place is given to the cell's own genes."""
    cells, _ = two_types(400, 0)
    model = GeneformerModel.fit(cells, layers=2, width=16, heads=2, epochs=40)
    held_out, kind = two_types(60, 1)
    tokens = model.tokenise(model.align(held_out))
    shares = []
    for i in range(60):
        own = np.flatnonzero((np.arange(40) < 20) == (kind[i] == 0))
        batch = tokens.padded(np.array([i]), 0)
        place = next(place for place in range(batch.ids.shape[1]) if int(batch.gene[0, place]) in own)
        batch.ids[0, place] = 1
        with torch.no_grad():
            chances = model.head(model.forward(batch)[0, place]).softmax(-1)
        shares.append(float(chances[own].sum()))
    assert np.mean(shares) > 0.85  # the truth is 0.92, an answer that knows no cell 0.5


@pytest.mark.slow
def test_on_the_demo_cells_it_separates_cell_types_as_well_as_pca() -> None:
    """5-fold logistic probe of ``bulk_labels``; each input takes its better strength of the penalty."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from cellglass.cells import demo_cells

    cells = demo_cells()
    labels = cells.obs["bulk_labels"].astype(str).to_numpy()
    dense = cells.counts.toarray()
    pca = PCA(30, random_state=0).fit_transform(np.log1p(dense / dense.sum(1, keepdims=True) * 1e4))

    def accuracy(values: np.ndarray[Any, Any]) -> float:
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        return max(
            float(cross_val_score(
                make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)), values, labels, cv=folds
            ).mean())
            for strength in (0.01, 0.1, 1.0)
        )  # fmt: skip

    model = GeneformerModel.fit(cells)
    assert accuracy(model.activations(cells, ["cell"])["cell"].numpy()) > accuracy(pca) - 0.05
