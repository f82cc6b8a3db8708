"""Capture at every token: rows are the network's own, thinned by part; a killed capture gives the same bytes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from cellglass.circuits import tokens
from cellglass.circuits.mlps import mlp_sites
from cellglass.circuits.objectives import ANSWER, GENE, HIDDEN, PROMPT, SPECIAL, objective_of
from cellglass.circuits.tokens import SHOWN_HIDDEN, capture_tokens, kept_tokens, rows_per_cell
from cellglass.errors import InputError
from cellglass.files import sha256
from cellglass.models.transformer.hooks import run


def labels_of(model):
    return "type" if model.kind == "cell2sentence" else None


def test_rows_are_those_of_the_network_cell_after_cell(model, cells, tmp_path) -> None:
    objective = objective_of(model, labels_of(model))
    model.batch_tokens, before = 200, model.batch_tokens
    try:
        rows = np.array([0, 1, 3, 4, 8, 9])
        store = capture_tokens(objective, cells, tmp_path / "s", rows=rows, seed=5)
    finally:
        model.batch_tokens = before
    block = model.align(cells[rows])
    shown = objective.shown(block, SHOWN_HIDDEN)
    keep = kept_tokens(shown, block, 5)
    assert list(store.sites) == mlp_sites(model)
    at = 0
    for i in range(len(rows)):
        own = slice(shown.tokens.start[i], shown.tokens.start[i + 1])
        batch = shown.tokens.padded(np.array([i]), model.pad_id, model.pad_value)
        with torch.no_grad():
            seen, _ = run(model.net, partial(model.forward, batch), model.points, store.sites)
        n = int(keep[own].sum())
        for site in store.sites:
            found = store.read(site, range(at, at + n))
            torch.testing.assert_close(found, seen[site][0][torch.from_numpy(keep[own])], atol=1e-5, rtol=1e-4)
            assert (store.rows(site).cells(range(at, at + n)) == i).all()
            assert np.array_equal(store.rows(site).genes(range(at, at + n)), shown.tokens.gene[own][keep[own]])
        at += n
    assert at == store.n_rows("layers.0.mlp.in") == store.n_rows("layers.1.mlp.out")


def test_each_part_is_thinned_by_its_share(cells, make_model, make_cells) -> None:
    model, many = make_model("gpt_neox", cells), make_cells(200)
    shown = objective_of(model, "type").shown(model.align(many))
    keep = kept_tokens(shown, many, 0)
    shares = {part: keep[shown.part == part].mean() for part in (PROMPT, GENE, SPECIAL, ANSWER)}
    assert shares[SPECIAL] == shares[ANSWER] == 1
    assert abs(shares[PROMPT] - 0.03) < 0.005
    assert abs(shares[GENE] - 0.4) < 0.02
    encoder = objective_of(make_model("geneformer", cells))
    shown = encoder.shown(encoder.model.align(many), SHOWN_HIDDEN)
    keep = kept_tokens(shown, many, 0)
    assert keep[shown.part == HIDDEN].all()
    assert keep[shown.part == SPECIAL].sum() == 2 * len(many)
    assert abs(keep[shown.part == GENE].mean() - 0.4) < 0.02


def test_what_is_kept_depends_on_the_cells_name_and_the_seed(cells, make_model) -> None:
    model = make_model("scgpt", cells)
    objective, aligned = objective_of(model), model.align(cells)
    keep, shown = kept_tokens(objective.shown(aligned), aligned, 0), objective.shown(aligned)
    alone = kept_tokens(objective.shown(aligned[6:7]), aligned[6:7], 0)
    assert np.array_equal(keep[shown.tokens.start[6] : shown.tokens.start[7]], alone)
    assert not np.array_equal(keep, kept_tokens(shown, aligned, 1))
    assert rows_per_cell(objective, cells, 0) == pytest.approx(
        kept_tokens(objective.shown(aligned, SHOWN_HIDDEN), aligned, 0).sum() / len(cells)
    )


class KilledError(Exception):
    pass


def test_a_killed_capture_gives_the_same_bytes(cells, make_model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tokens, "CELLS_AT_ONCE", 16)
    monkeypatch.setattr(tokens, "_FLOATS", 4000)
    objective = objective_of(make_model("gpt_neox", cells), "type")
    options = {"seed": 2, "dtype": "float16", "shard_bytes": 9000, "source": "a"}
    whole = capture_tokens(objective, cells, tmp_path / "whole", **options)
    assert len(whole.manifest.shards) > 4
    told = []

    def kill(_what: str, done: int, total: int) -> None:
        told.append(done)
        if done > 20:
            raise KilledError

    with pytest.raises(KilledError):
        capture_tokens(objective, cells, tmp_path / "killed", **options, progress=kill)
    again = []
    capture_tokens(objective, cells, tmp_path / "killed", **options, progress=lambda _w, done, _t: again.append(done))
    assert 0 < again[0] <= told[-1] + 4
    assert again[0] > told[1]
    assert again[-1] == len(cells)
    assert sha256(tmp_path / "killed") == sha256(tmp_path / "whole")
    with pytest.raises(InputError, match="another capture"):
        capture_tokens(objective, cells, tmp_path / "killed", **(options | {"seed": 3}))


def test_no_cells_and_values_too_large_are_refused(cells, make_model, tmp_path) -> None:
    model = make_model("scgpt", cells)
    with pytest.raises(InputError, match="there are no cells to read MLPs at"):
        capture_tokens(objective_of(model), cells[:0], tmp_path / "a")
    with torch.no_grad():
        model.net.transformer_encoder.layers[0].linear2.bias[0] = 1e6
    with pytest.raises(InputError, match="too large for float16"):
        capture_tokens(objective_of(model), cells, tmp_path / "b", dtype="float16")
