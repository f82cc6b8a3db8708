import numpy as np
import pytest
import torch

from cellglass.attribution import swaps


def slow(toy, cell, concept, gene, count, on):
    """Encode one edited cell alone and read one latent."""

    def read(cells):
        x = toy.model.activations(cells, ["z"])["z"]
        if on == "preactivation":
            return float(toy.dictionary.preactivations(x)[0, concept])
        return float(toy.dictionary.encode(x).to_csr().toarray()[0, concept])

    one = toy.cells[int(cell) : int(cell) + 1]
    counts = one.counts.tolil()
    counts[0, gene] = count
    before = read(one)
    return (before - read(one.with_counts(counts.tocsr()))) / before


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
    edits = swaps.swap_edits(toy.cells.counts, prototype, partner, concept)
    found = swaps.effects(toy.model, toy.cells, "z", toy.dictionary, edits, ("activation", "preactivation"))
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
    edits = swaps.knockout_edits(toy.cells.counts, prototype, concept)
    counts = toy.cells.counts.toarray()
    assert len(edits.row) == (counts[prototype] > 0).sum()
    (found,) = swaps.effects(toy.model, toy.cells, "z", toy.dictionary, edits).values()
    for i in range(len(edits.row)):
        expected = slow(toy, edits.cell[i], edits.concept[i], edits.gene[i], 0.0, "activation")
        assert found[i] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_repeated_edits_are_run_once_and_every_asker_is_served(toy, monkeypatch):
    edits = swaps.knockout_edits(toy.cells.counts, np.array([3, 8, 3]), np.array([0, 1, 2]))
    twice = swaps.Edits(*(np.concatenate([x, x[::-1]]) for x in edits))
    rows = []
    plain = toy.model.perturbed_activations

    def counted(cells, site, cell, gene, count):
        rows.append(len(cell))
        return plain(cells, site, cell, gene, count)

    monkeypatch.setattr(toy.model, "perturbed_activations", counted)
    values = swaps.effects(toy.model, toy.cells, "z", toy.dictionary, twice, ("preactivation",))["preactivation"]
    assert sum(rows) == np.diff(toy.cells.counts.indptr)[[3, 8]].sum()
    np.testing.assert_array_equal(values[: len(edits.row)], values[len(edits.row) :][::-1])


def test_chunks_do_not_change_results(toy, monkeypatch):
    edits = swaps.swap_edits(toy.cells.counts, *some_pairs(toy))
    whole = swaps.effects(toy.model, toy.cells, "z", toy.dictionary, edits, ("activation", "preactivation"))
    seen = []
    monkeypatch.setattr(swaps, "chunk_size", lambda dictionary: 5)
    monkeypatch.setattr(swaps, "_CHUNK", 50)
    small_edits = swaps.swap_edits(toy.cells.counts, *some_pairs(toy))
    for a, b in zip(edits, small_edits, strict=True):
        np.testing.assert_array_equal(a, b)
    small = swaps.effects(
        toy.model, toy.cells, "z", toy.dictionary, small_edits, ("activation", "preactivation"),
        progress=lambda what, done, total: seen.append((done, total)),
    )  # fmt: skip
    for on in whole:
        np.testing.assert_allclose(small[on], whole[on], rtol=1e-4, atol=2e-6)
    assert seen[-1][0] == seen[-1][1]
    assert len(seen) > 10


def test_cells_without_the_concept_have_no_effect_to_share(toy):
    inactive = np.flatnonzero(toy.codes[:, 0].toarray().ravel() == 0)[:1]
    edits = swaps.knockout_edits(toy.cells.counts, inactive, np.array([0]))
    assert np.isnan(swaps.effects(toy.model, toy.cells, "z", toy.dictionary, edits)["activation"]).all()
    nobody = swaps.Edits(*(x[:0] for x in edits))
    assert swaps.effects(toy.model, toy.cells, "z", toy.dictionary, nobody)["activation"].shape == (0,)


def test_unchanged_readouts_are_the_codes(toy):
    coo = toy.codes.tocoo()
    found = swaps.readouts(
        toy.model, toy.cells, "z", toy.dictionary, coo.row.astype(np.int64), coo.col.astype(np.int64),
        ("activation", "preactivation"),
    )  # fmt: skip
    np.testing.assert_allclose(found["activation"], coo.data, rtol=1e-5)
    np.testing.assert_allclose(found["preactivation"], coo.data, rtol=1e-5)
    assert torch.is_grad_enabled()
