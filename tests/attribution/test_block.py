import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cellglass.attribution.block import Work
from cellglass.attribution.neighbours import Pool
from cellglass.attribution.pairs import PairSettings, choose_pairs, match_groups


def chosen(toy, concepts=(0, 3, 4), n_prototypes=5, n_partners=3):
    pool = Pool.read(toy.z, "z", toy.cells.n_cells, at_most=1000, seed=0)
    how = PairSettings(n_prototypes, n_partners)
    return choose_pairs(toy.codes, toy.z, "z", pool, match_groups(toy.cells, ()), concepts, how, 0)


def work(toy, methods=("swap", "knockout", "path"), on=("activation", "preactivation"), path_on=("activation",)):
    return Work(toy.model, toy.cells, "z", toy.dictionary, on, path_on, 32, True, methods)


def read(toy, counts, like, concept, on):
    x = toy.model.activations(toy.cells[[like]].with_counts(counts), ["z"])["z"]
    if on == "preactivation":
        return float(toy.dictionary.preactivations(x)[0, concept])
    return float(toy.dictionary.encode(x).to_csr().toarray()[0, concept])


@pytest.mark.parametrize("on", ["activation", "preactivation"])
def test_rows_equal_a_plain_double_loop_over_pairs_and_genes(toy, on):
    pairs = chosen(toy, (0, 3), n_prototypes=3, n_partners=2)
    part = work(toy).block(pairs.table, pairs.concepts)
    genes = pd.concat(part.genes)
    counts = toy.cells.counts.toarray()
    for method in ("swap", "knockout"):
        rows = genes[(genes["method"] == method) & (genes["on"] == on)]
        for concept in (0, 3):
            table = pairs.table[(pairs.table["concept"] == concept) & (pairs.table["kind"] == "real")]
            table = table if method == "swap" else table.drop_duplicates("prototype")
            effects, n = np.zeros((len(table), toy.cells.n_genes)), np.zeros(toy.cells.n_genes)
            for i, (p, q) in enumerate(zip(table["prototype"], table["partner"], strict=True)):
                before = read(toy, toy.cells.counts[[p]], p, concept, on)
                for g in range(toy.cells.n_genes):
                    new = counts[q, g] if method == "swap" else 0
                    if counts[p, g] != new:
                        edited = toy.cells.counts[[p]].tolil()
                        edited[0, g] = new
                        effects[i, g] = (before - read(toy, edited.tocsr(), p, concept, on)) / before
                        n[g] += 1
            mine = rows[rows["concept"] == concept].set_index("gene")
            assert mine.index.tolist() == toy.cells.genes.index[n > 0].tolist()
            np.testing.assert_allclose(mine["effect"], effects.mean(axis=0)[n > 0], rtol=1e-3, atol=2e-6)
            se = effects.std(axis=0, ddof=1) / np.sqrt(len(table))
            np.testing.assert_allclose(mine["se"], se[n > 0], rtol=1e-3, atol=2e-6)
            assert mine["n"].tolist() == n[n > 0].tolist()
            more = np.log1p(counts[table["prototype"]]) - np.log1p(counts[table["partner"]])
            sign = np.where(more.mean(axis=0) < 0, -1, 1) if method == "swap" else np.ones(toy.cells.n_genes)
            np.testing.assert_allclose(mine["score"], mine["effect"] * sign[n > 0])


def test_of_few_genes_the_most_changed_are_tried_and_their_effects_are_the_same(toy):
    pairs = chosen(toy, (0, 3))
    everything = pd.concat(work(toy, ("swap", "knockout")).block(pairs.table, pairs.concepts).genes)
    limited = replace(work(toy, ("swap", "knockout")), most_genes=4)
    few = pd.concat(limited.block(pairs.table, pairs.concepts).genes)
    counts = np.log1p(toy.cells.counts.toarray())
    keys = ["method", "on", "concept", "gene"]
    for concept in (0, 3):
        real = pairs.table[(pairs.table["concept"] == concept) & (pairs.table["kind"] == "real")]
        change = np.abs((counts[real["prototype"]] - counts[real["partner"]]).mean(axis=0))
        largest = set(toy.cells.genes.index[np.argsort(-change, kind="stable")[:4]])
        mine = few[(few["concept"] == concept)]
        assert set(mine.loc[mine["method"] == "swap", "gene"]) == largest
        assert set(mine.loc[mine["method"] == "knockout", "gene"]) <= largest
    both = few.merge(everything, on=keys, suffixes=("", "_all"))
    assert len(both) == len(few)
    for name in ("effect", "se", "score", "n"):
        np.testing.assert_allclose(both[name], both[f"{name}_all"], rtol=1e-4, atol=1e-6)
    # Fewer tests, smaller q; the null of a knock-out is made of the genes that were tried.
    swaps = both[both["method"] == "swap"]
    assert (swaps["q"] <= swaps["q_all"] + 1e-6).all()


def test_path_rows_add_up_to_the_mean_difference(toy):
    pairs = chosen(toy)
    part = work(toy, path_on=("preactivation", "activation")).block(pairs.table, pairs.concepts)
    genes = pd.concat(part.genes)
    real = part.pairs[part.pairs["kind"] == "real"]
    for concept in (0, 3, 4):
        mine = (genes["concept"] == concept) & (genes["method"] == "path") & (genes["on"] == "preactivation")
        share = real.loc[real["concept"] == concept, "difference"].mean()
        assert genes.loc[mine, "effect"].sum() == pytest.approx(share, rel=0.02)
    assert not part.pairs["gap"].isna().any()
    gaps = pd.concat(part.gaps)
    assert len(gaps) == 3 * 2 * 2
    row = gaps[(gaps["concept"] == 3) & (gaps["on"] == "preactivation") & (gaps["kind"] == "real")].iloc[0]
    gap = real.loc[real["concept"] == 3, "gap"]
    assert (row["n"], row["median"], row["max"]) == (15, pytest.approx(gap.median()), pytest.approx(gap.max()))


def test_methods_may_be_left_out(toy):
    pairs = chosen(toy)
    alone = work(toy, ("knockout",), ("activation",)).block(pairs.table, pairs.concepts)
    genes = pd.concat(alone.genes)
    assert set(genes["method"]) == {"knockout"}
    assert alone.pairs["gap"].isna().all()
    whole = pd.concat(work(toy).block(pairs.table, pairs.concepts).genes)
    same = whole[(whole["method"] == "knockout") & (whole["on"] == "activation")]
    np.testing.assert_allclose(genes["effect"], same["effect"], rtol=1e-4, atol=1e-6)
    assert work(toy, ()).block(pairs.table, pairs.concepts).genes == []


def test_prototypes_that_the_model_reads_at_zero_are_left_out_and_reported(toy, caplog):
    pairs = chosen(toy, (3,))
    silent = np.flatnonzero(toy.codes[:, 3].toarray().ravel() == 0)[0]
    table = pairs.table.copy()
    first = table["prototype"].iloc[0]
    table.loc[table["prototype"] == first, "prototype"] = silent
    with caplog.at_level(logging.INFO):
        part = work(toy).block(table, pairs.concepts)
    assert silent not in part.pairs["prototype"].tolist()
    assert len(part.pairs) == len(table) - 6
    assert "1 prototypes left out" in part.concepts["note"].iloc[0]
    assert "concept 3" in caplog.text
    assert not pd.concat(part.genes)["effect"].isna().any()


def test_no_pairs_give_no_rows(toy):
    pairs = chosen(toy, (0,))
    part = work(toy).block(pairs.table.iloc[:0], pairs.concepts)
    assert part.genes == []
    assert len(part.pairs) == 0
