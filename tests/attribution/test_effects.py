import logging

import numpy as np
import pandas as pd
import pytest
import torch

from cellglass.attribution import METHODS, effects
from cellglass.attribution.edits import Edits
from cellglass.attribution.methods.knockout import knockout_edits
from cellglass.attribution.methods.swap import swap_edits
from cellglass.attribution.pairs import Pairs, choose_pairs


def slow(toy, cell, concept, gene, count, on):
    """Encode one edited cell alone and read one latent."""
    one = toy.cells.counts[[cell]]
    counts = one.tolil()
    counts[0, gene] = count
    before = toy.read(one, cell, concept, on)
    return (before - toy.read(counts.tocsr(), cell, concept, on)) / before


def some_pairs(toy):
    """Pairs of four concepts, with one prototype in two of them and one partner twice."""
    concept, prototype, partner = [], [], []
    for c in range(3):
        active = np.flatnonzero(toy.codes[:, c].toarray().ravel() > 0)
        for p in active[:2]:
            concept += [c] * 2
            prototype += [p] * 2
            partner += [150, (p * 7 + 3) % 160]
    return np.array(prototype), np.array(partner), np.array(concept)


@pytest.mark.parametrize("fast", [True, False])
def test_swaps_equal_cells_encoded_alone(toy, fast):
    toy.model.fast = fast
    prototype, partner, concept = some_pairs(toy)
    edits = swap_edits(toy.cells.counts, prototype, partner, concept)
    found = effects.effects(toy.work(), edits, ("activation", "preactivation"))
    dense = {on: np.zeros((len(prototype), toy.cells.n_genes)) for on in found}
    for on, values in found.items():
        dense[on][edits.row, edits.gene] = values
    counts = toy.cells.counts.toarray()
    for on, values in dense.items():
        for i in range(len(prototype)):
            for g in range(toy.cells.n_genes):
                if counts[prototype[i], g] == counts[partner[i], g]:
                    assert values[i, g] == 0
                    continue
                expected = slow(toy, prototype[i], concept[i], g, counts[partner[i], g], on)
                assert values[i, g] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert (dense["activation"] == 1.0).any(), "no swap drove a concept out of the selection: the test is too tame"


def test_knockouts_equal_cells_encoded_alone(toy):
    prototype, _, concept = (x[::2] for x in some_pairs(toy))
    edits = knockout_edits(toy.cells.counts, prototype, concept)
    counts = toy.cells.counts.toarray()
    assert len(edits.row) == (counts[prototype] > 0).sum()
    (found,) = effects.effects(toy.work(), edits).values()
    for i in range(len(edits.row)):
        expected = slow(toy, edits.cell[i], edits.concept[i], edits.gene[i], 0.0, "activation")
        assert found[i] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_repeated_edits_are_run_once_and_every_asker_is_served(toy, monkeypatch):
    edits = knockout_edits(toy.cells.counts, np.array([3, 8, 3]), np.array([0, 1, 2]))
    twice = Edits(*(np.concatenate([x, x[::-1]]) for x in edits))
    rows = []
    plain = toy.model.perturbed_activations

    def counted(cells, site, cell, gene, count):
        rows.append(len(cell))
        return plain(cells, site, cell, gene, count)

    monkeypatch.setattr(toy.model, "perturbed_activations", counted)
    values = effects.effects(toy.work(), twice, ("preactivation",))["preactivation"]
    assert sum(rows) == np.diff(toy.cells.counts.indptr)[[3, 8]].sum()
    np.testing.assert_array_equal(values[: len(edits.row)], values[len(edits.row) :][::-1])


def test_chunks_do_not_change_results(toy, monkeypatch):
    edits = swap_edits(toy.cells.counts, *some_pairs(toy))
    whole = effects.effects(toy.work(), edits, ("activation", "preactivation"))
    seen = []
    monkeypatch.setattr(effects, "chunk_size", lambda dictionary: 5)
    small = effects.effects(
        toy.work(), edits, ("activation", "preactivation"),
        progress=lambda what, done, total: seen.append((done, total)),
    )  # fmt: skip
    for on in whole:
        np.testing.assert_allclose(small[on], whole[on], rtol=1e-4, atol=2e-6)
    assert seen[-1][0] == seen[-1][1]
    assert len(seen) > 10


def test_cells_without_the_concept_have_no_effect_to_share(toy):
    inactive = np.flatnonzero(toy.codes[:, 0].toarray().ravel() == 0)[:1]
    edits = knockout_edits(toy.cells.counts, inactive, np.array([0]))
    assert np.isnan(effects.effects(toy.work(), edits)["activation"]).all()
    nobody = Edits(*(x[:0] for x in edits))
    assert effects.effects(toy.work(), nobody)["activation"].shape == (0,)


def test_unchanged_readouts_are_the_codes(toy):
    coo = toy.codes.tocoo()
    found = effects.readouts(
        toy.work(), coo.row.astype(np.int64), coo.col.astype(np.int64),
        ("activation", "preactivation"),
    )  # fmt: skip
    np.testing.assert_allclose(found["activation"], coo.data, rtol=1e-5)
    np.testing.assert_allclose(found["preactivation"], coo.data, rtol=1e-5)
    assert torch.is_grad_enabled()


def test_methods_share_their_runs_and_each_gets_its_own(toy, monkeypatch):
    ran = []
    plain = toy.model.perturbed_activations

    def counted(cells, site, cell, gene, count):
        ran.append(len(cell))
        return plain(cells, site, cell, gene, count)

    monkeypatch.setattr(toy.model, "perturbed_activations", counted)
    together = toy.block().changed
    runs = {"both": sum(ran)}
    for name in ("swap", "knockout"):
        block = toy.block(methods=(name,))
        rows, edits = METHODS[name].edits(block)
        pd.testing.assert_frame_equal(together[name].pairs, rows)
        for column, mine in zip(together[name].edits, edits, strict=True):
            np.testing.assert_array_equal(column, mine)
        ran.clear()
        for on, values in block.changed[name].effects.items():
            np.testing.assert_allclose(together[name].effects[on], values, rtol=1e-4, atol=1e-6)
        runs[name] = sum(ran)
    assert runs["both"] < runs["swap"] + 0.3 * runs["knockout"]  # most knock-outs are a swap too
    assert toy.block(methods=("path", "de")).changed == {}


@pytest.mark.parametrize("methods", [("swap",), ("knockout", "de"), ("path",), ("path", "swap")])
def test_prototypes_that_the_model_reads_at_zero_are_left_out_and_reported(toy, caplog, methods):
    work = toy.work(prototypes=5, partners=3, methods=methods)
    pairs = choose_pairs(work, (3,))
    # Not selected there, and negative before the selection.
    z = torch.from_numpy(toy.z)
    silent = int(torch.argmin(toy.dictionary.preactivations(z)[:, 3]))
    table = pairs.table.copy()
    first = table["prototype"].iloc[0]
    table.loc[table["prototype"] == first, "prototype"] = silent
    with caplog.at_level(logging.INFO):
        found = effects.readable(work, Pairs(table, pairs.concepts))
    assert silent not in found.table["prototype"].tolist()
    assert len(found.table) == len(table) - 6
    assert found.table.index.tolist() == list(range(len(found.table)))
    assert "1 prototypes left out" in found.concepts["note"].iloc[0]
    assert (pairs.concepts["note"] == "").all()
    assert "concept 3" in caplog.text


def test_a_prototype_that_is_not_selected_has_a_gradient_and_no_share_to_lose(toy):
    dense = toy.codes.toarray()[:, 3]
    pre = toy.dictionary.preactivations(torch.from_numpy(toy.z))[:, 3].numpy()
    only = int(np.flatnonzero((dense == 0) & (pre > 0.1))[0])
    pairs = choose_pairs(toy.work(), (3,))
    changed = Pairs(pairs.table.assign(prototype=only), pairs.concepts)
    for methods, kept in ((("path",), True), (("swap",), False), (("path", "swap"), False), (("de",), True)):
        assert (len(effects.readable(toy.work(methods=methods), changed).table) > 0) == kept
    before = toy.work(methods=("swap",), on=("preactivation",))
    assert len(effects.readable(before, changed).table) == len(pairs.table)
