"""Tokens that are computed when they are read: the same as those on disk, in any order, whatever is read together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass.circuits import live
from cellglass.circuits.live import LiveTokens
from cellglass.circuits.objectives import objective_of
from cellglass.circuits.tokens import capture_tokens
from cellglass.errors import InputError

CELLS = np.array([1, 2, 3, 5, 8, 13, 21, 34])


def test_rows_are_those_of_a_capture(model, cells, tmp_path, monkeypatch) -> None:
    objective = objective_of(model, "type" if model.kind == "cell2sentence" else None, 4)
    store = capture_tokens(objective, cells, tmp_path / "store", rows=CELLS, seed=4)
    monkeypatch.setattr(live, "CELLS_AT_ONCE", 3)
    rows = LiveTokens(objective, cells, rows=CELLS, seed=4)
    assert rows.sites == list(store.sites)
    kept = [store.rows(site) for site in rows.sites]
    assert rows.n_rows == kept[0].n_rows
    np.testing.assert_array_equal(rows.cells(), kept[0].cells())
    whole = torch.cat([one.read(np.arange(one.n_rows)) for one in kept], 1)
    some = np.random.default_rng(0).permutation(rows.n_rows)
    torch.testing.assert_close(rows.read(some), whole[torch.from_numpy(some)], rtol=1e-4, atol=1e-5)
    few = np.array([rows.n_rows - 1, 0, 5, 5])
    torch.testing.assert_close(rows.read(few), whole[torch.from_numpy(few)], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(
        rows.columns([0, 1]), np.concatenate([np.arange(first, first + 16) for first in (0, 32, 16, 48)])
    )


def test_batches_are_the_same_bytes_from_any_place_on(cells, make_model) -> None:
    rows = LiveTokens(objective_of(make_model("gpt_neox", cells), "type", 0), cells, rows=CELLS)
    options = {"batch_size": 16, "seed": 1, "epoch": 2, "buffer_rows": 64, "drop_last": True}
    whole = list(rows.batches(**options))
    assert len(whole) > 5
    for skip in (1, 5):
        for a, b in zip(rows.batches(**options, skip=skip), whole[skip:], strict=True):
            assert torch.equal(a, b)


def test_no_cells_and_no_posterior_are_refused(cells, make_model) -> None:
    objective = objective_of(make_model("scgpt", cells), None, 0)
    with pytest.raises(InputError, match="there are no cells to read MLPs at"):
        LiveTokens(objective, cells, rows=CELLS[:0])
    with pytest.raises(InputError, match="no posterior"):
        LiveTokens(objective, cells, rows=CELLS[:1]).read_sd(CELLS)
