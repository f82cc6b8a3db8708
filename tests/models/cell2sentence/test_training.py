"""Fitted Cell2Sentence models: what they learn of planted cells, and the same bits whatever happens on the way."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as their_logging

import cellglass
from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.cell2sentence import training
from cellglass.models.cell2sentence.model import Cell2SentenceModel

GENES = 20
SMALL: dict[str, Any] = {"layers": 1, "width": 16, "heads": 2, "epochs": 3, "n_genes": 12}


def cells_of(n: int = 40, seed: int = 0) -> Cells:
    """Two types of cells: the first counts the first half of the genes, the second the other; one cell counts none."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 2
    rate = np.where((np.arange(GENES) < GENES // 2)[None] == (kind == 0)[:, None], 2.0, 0.02)
    counts = rng.poisson(rate).astype(np.float32)
    counts[n - 1] = 0
    names = [f"LEFT{i}" if i < GENES // 2 else f"RP{i}-RIGHT.{i}" for i in range(GENES)]
    genes = pd.DataFrame({"symbol": names}, index=pd.Index([f"id{i}" for i in range(GENES)], dtype=object))
    obs = pd.DataFrame({"side": np.where(kind == 0, "left cell", "right")}, index=[f"c{i}" for i in range(n)])
    obs.loc["c5", "side"] = None
    return Cells(sp.csr_matrix(counts), genes, obs)


@pytest.mark.parametrize("architecture", ["gpt_neox", "gemma2"])
def test_same_seed_same_bits_and_nothing_else_is_touched(architecture):
    torch.manual_seed(11)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first = Cell2SentenceModel.fit(cells_of(), architecture=architecture, **SMALL)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    torch.manual_seed(12)
    assert Cell2SentenceModel.fit(cells_of(), architecture=architecture, **SMALL).fingerprint() == first.fingerprint()
    other = Cell2SentenceModel.fit(cells_of(), architecture=architecture, seed=1, **SMALL)
    assert other.fingerprint() != first.fingerprint()


class KilledError(Exception):
    pass


@pytest.mark.parametrize("labels", [None, "side"])
def test_a_killed_fit_goes_on_to_the_same_bits(labels, tmp_path):
    whole = Cell2SentenceModel.fit(cells_of(), labels=labels, **SMALL)
    seen = []

    def kill(what: str, done: int, total: int) -> None:
        seen.append((what, done, total))
        if done == 2:
            raise KilledError

    path = tmp_path / "state"
    with pytest.raises(KilledError):
        Cell2SentenceModel.fit(cells_of(), labels=labels, checkpoint=path, progress=kill, **SMALL)
    assert seen == [("Cell2Sentence epochs", i, 3) for i in range(3)]
    seen.clear()
    again = Cell2SentenceModel.fit(
        cells_of(), labels=labels, checkpoint=path, progress=lambda *said: seen.append(said), **SMALL
    )
    assert [done for _, done, _ in seen] == [2, 3]
    assert again.fingerprint() == whole.fingerprint()


def test_a_state_of_another_run_or_a_damaged_one_is_not_used(tmp_path, caplog):
    path = tmp_path / "state"
    whole = Cell2SentenceModel.fit(cells_of(), seed=1, **SMALL)
    Cell2SentenceModel.fit(cells_of(), seed=0, checkpoint=path, **SMALL)
    with caplog.at_level(logging.INFO, logger="cellglass.models.checkpoint"):
        found = Cell2SentenceModel.fit(cells_of(), seed=1, checkpoint=path, **SMALL)
        assert "other cells or settings" in caplog.text
        assert found.fingerprint() == whole.fingerprint()
        path.write_bytes(b"broken")
        found = Cell2SentenceModel.fit(cells_of(), seed=1, checkpoint=path, **SMALL)
        assert "cannot be read" in caplog.text
    assert found.fingerprint() == whole.fingerprint()


@pytest.mark.parametrize("architecture", ["gpt_neox", "gemma2"])
def test_transformers_reads_what_was_fitted(architecture, tmp_path):
    cells = cells_of()
    model = Cell2SentenceModel.fit(cells, architecture=architecture, **SMALL)
    model.save(tmp_path / "model")
    their_logging.disable_progress_bar()
    net, notes = AutoModelForCausalLM.from_pretrained(
        tmp_path / "model", local_files_only=True, output_loading_info=True
    )
    their_logging.enable_progress_bar()
    assert not any(notes.values())
    tokens = model.tokenise(cells[:1])
    with torch.no_grad():
        hidden = net(input_ids=torch.from_numpy(tokens.ids)[None], output_hidden_states=True).hidden_states[-1]
    assert torch.allclose(model.activations(cells[:1], ["cell"])["cell"], hidden.mean(1), atol=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    assert tokenizer.decode(tokens.ids[1:]).split() == [model.words[g] for g in dict.fromkeys(tokens.gene[1:].tolist())]
    assert tokenizer("<|endoftext|>")["input_ids"] == [0]
    lengths = [len(tokenizer(f" {word}")["input_ids"]) for word in model.words]
    assert min(lengths) >= 2


def mean_loss(model: Cell2SentenceModel, cells: Cells) -> float:
    """transformers' own loss over each cell's text, run alone."""
    losses = []
    for i in range(cells.n_cells):
        ids = torch.from_numpy(model.tokenise(cells[[i]]).ids)[None]
        if ids.shape[1] > 1:
            with torch.no_grad():
                losses.append(float(model.net(input_ids=ids, labels=ids).loss))
    return float(np.mean(losses))


def test_it_learns_which_genes_go_together():
    cells, fresh = cells_of(100), cells_of(12, seed=9)
    some = {**SMALL, "width": 32, "heads": 4}
    start = Cell2SentenceModel.fit(cells, **{**some, "epochs": 1})
    model = Cell2SentenceModel.fit(cells, **{**some, "epochs": 30})
    assert mean_loss(model, fresh) < 0.6 * mean_loss(start, fresh)
    found = model.with_settings(n_genes=5).next_gene(fresh[:8]).numpy()
    left = found[:, : GENES // 2].sum(1)
    right = found[:, GENES // 2 :].sum(1)
    side = np.arange(8) % 2
    assert ((left > 2 * right) == (side == 0)).all()
    assert ((right > 2 * left) == (side == 1)).all()


@pytest.mark.slow
def test_it_learns_to_answer_where_labels_are_given():
    some = {**SMALL, "width": 32, "heads": 4, "epochs": 40, "n_genes": 6}
    model = Cell2SentenceModel.fit(cells_of(100), labels="side", **some)
    assert model.settings.prompt == "cell_type"
    fresh = cells_of(20, seed=9)
    found = model.label_probabilities(fresh[:19], ["left cell", "right"])
    right = torch.arange(19) % 2
    assert (found[torch.arange(19), right] > 0.8).float().mean() >= 0.9


def test_every_cell_that_says_something_is_read_once_an_epoch():
    lengths = np.array([5, 1, 7, 9, 3, 2, 1, *range(2, 40)])
    batches = training._batches(lengths, np.random.default_rng(0))
    assert sorted(np.concatenate(batches).tolist()) == np.flatnonzero(lengths > 1).tolist()
    assert max(map(len, batches)) == training.BATCH_CELLS
    other = training._batches(lengths, np.random.default_rng(1))
    assert [batch.tolist() for batch in batches] != [batch.tolist() for batch in other]


def test_the_learning_rate_rises_and_falls():
    rates = [training._schedule(step, 200) for step in range(200)]
    peak = int(np.argmax(rates))
    assert peak <= 11
    assert rates[peak] == pytest.approx(1, abs=0.02)
    steps = np.diff(rates)
    assert (steps[:peak] > 0).all()
    assert (steps[peak:] <= 0).all()
    assert rates[-1] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("n_cells", "epochs", "wanted"),
    [(700, None, (8, 700)), (3874, None, (2, 3874)), (50_000, None, (1, 8000)), (50_000, 3, (3, 50_000))],
)
def test_small_data_are_read_often_and_large_ones_in_part(n_cells, epochs, wanted):
    assert training.plan(n_cells, epochs, training.READ_CELLS) == wanted


def test_with_labels_more_is_read():
    assert training.plan(3874, None, training.READ_ANSWERED) == (5, 3874)


def test_of_many_cells_some_are_drawn_anew_with_their_answers():
    """By hand: every text drawn is one cell's, with that cell's answer and the end behind it."""
    cells = cells_of()
    answers = [str(i) for i in range(cells.n_cells)]
    model = Cell2SentenceModel.fit(cells, labels="side", **{**SMALL, "epochs": 1})
    single = {
        tuple(sorted(model.tokenise(cells[[i]]).ids.tolist() + model.writer.answer(f" {i}.") + [0])): i
        for i in range(cells.n_cells - 1)
    }
    drawn = []
    for seed in range(2):
        texts = training._texts(model.writer, cells, answers, 9, (1.0, 0.0), np.random.default_rng(seed))
        assert len(texts) == 9
        found = [single.get(tuple(sorted(text.ids.tolist()))) for text in texts]
        drawn.append([i for i in found if i is not None])
        assert len(set(drawn[-1])) == len(drawn[-1]) >= 6
    assert drawn[0] != drawn[1]


def test_thinned_texts_lose_genes_and_keep_their_answers():
    cells = cells_of()
    model = Cell2SentenceModel.fit(cells, labels="side", **{**SMALL, "epochs": 0})
    answers = ["left cell"] * cells.n_cells

    def lengths(keep: float, dropped: float = 0.0) -> tuple[int, int]:
        rng = np.random.default_rng(0)
        texts = training._texts(model.writer, cells, answers, cells.n_cells, (keep, dropped), rng)
        assert {tuple(text.ids[-text.answer :].tolist()) for text in texts} == {
            (*model.writer.answer(" left cell."), 0)
        }
        return sum(len(text.ids) for text in texts), len(texts)

    whole, thin, few = lengths(1.0), lengths(0.2), lengths(1.0, 0.9)
    assert few[1] == thin[1] == whole[1] == cells.n_cells
    assert max(thin[0], few[0]) < whole[0]


def test_the_loss_is_what_it_says(monkeypatch):
    """By hand from transformers' logits: one share for a mean over text, the other for a mean over cells' answers."""
    model = Cell2SentenceModel.fit(cells_of(), labels="side", **{**SMALL, "epochs": 0})
    rng = np.random.default_rng(0)
    texts = [
        training._Text(torch.from_numpy(rng.integers(0, 200, n)), answer) for n, answer in ((9, 3), (12, 0), (6, 2))
    ]
    of_text, of_answers = [], []
    for text in texts:
        with torch.no_grad():
            logs = model.net(input_ids=text.ids[None]).logits[0].log_softmax(1)
        losses = [-float(logs[i - 1, text.ids[i]]) for i in range(1, len(text.ids))]
        of_text += losses[: len(losses) - text.answer]
        of_answers += [sum(losses[len(losses) - text.answer :])] if text.answer else []
    monkeypatch.setattr(training, "TEXT_TOKENS", 1.0)
    found = training._loss(model.net, texts, 0.3, rng)
    assert float(found) == pytest.approx(0.7 * np.mean(of_text) + 0.3 * np.mean(of_answers), rel=1e-5)
    unanswered = training._loss(model.net, texts[1:2], 0.3, rng)
    assert float(unanswered) == pytest.approx(np.mean(of_text[5:16]), rel=1e-5)
    monkeypatch.setattr(training, "TEXT_TOKENS", 0.5)
    draws = [float(training._loss(model.net, texts, 0.3, rng)) for _ in range(300)]
    assert np.std(draws) > 0
    assert np.mean(draws) == pytest.approx(float(found), rel=0.02)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"answer_share": 0}, "answer_share is 0"),
        ({"answer_share": 1}, "between 0 and 1"),
        ({"thinning": 1.5}, "thinning is 1.5"),
        ({"dropped": 1}, "dropped is 1"),
        ({"rate": 0}, "learning rate is 0"),
        ({"weight_decay": -1}, "weight_decay is -1"),
    ],
)
def test_ways_to_learn_that_make_no_sense_are_named(wrong, message):
    with pytest.raises(InputError, match=message):
        training.Learning(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"architecture": "llama"}, "no architecture 'llama'; choose: gpt_neox, gemma2"),
        ({"epochs": -1}, "-1 epochs"),
        ({"width": 20, "heads": 2}, "multiple of 16"),
        ({"labels": "sort"}, "no obs column 'sort'"),
        ({"n_genes": 0}, "n_genes of 1 or more"),
    ],
)
def test_wrong_input_is_named(wrong, message):
    with pytest.raises(InputError, match=message):
        Cell2SentenceModel.fit(cells_of(), **{**SMALL, **wrong})


def test_cells_without_counts_and_small_vocabularies_are_refused():
    cells = cells_of()
    with pytest.raises(InputError, match="no cell has any counts"):
        Cell2SentenceModel.fit(cells.with_counts(sp.csr_matrix(cells.counts.shape, dtype=np.float32)), **SMALL)
    with pytest.raises(InputError, match="give 257 or more"):
        training.fit_checkpoint(cells, vocabulary=100, **SMALL)


@pytest.mark.slow
def test_the_demo_cells_types_are_read_from_a_short_fit(tmp_path: Path):
    """Within 0.05 of 30 principal components, without having seen a label."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    cells = cellglass.demo_cells()
    model = Cell2SentenceModel.fit(cells, epochs=3)
    counts = cells.counts.toarray()
    components = PCA(30, random_state=0).fit_transform(np.log1p(counts / counts.sum(1, keepdims=True) * 1e4))
    labels = cells.obs["bulk_labels"].astype(str).to_numpy()

    def accuracy(features: np.ndarray) -> float:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        return float(cross_val_score(classifier, features, labels, cv=folds).mean())

    found = accuracy(model.activations(cells, ["cell"])["cell"].numpy())
    assert found > accuracy(components) - 0.05
