from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.read import Atlas
from cellglass.explorer import Tree
from cellglass.explorer.data import cards
from cellglass.explorer.data.facts import CARD_SHARD


@pytest.fixture(scope="session")
def card(read: Any) -> Any:
    return lambda latent: read(f"data/cards/{latent // CARD_SHARD}.json")[str(latent)]


@pytest.mark.parametrize("latent", [0, 9, 17])
def test_genes_are_the_first_of_each_method_and_those_whose_absence_drives_it(
    card: Any, atlas: Atlas, genes: pd.DataFrame, latent: int
) -> None:
    found = card(latent)["genes"]
    assert list(found) == ["path/preactivation", "swap/activation", "knockout/activation", "de/expression"]
    for key, rows in found.items():
        method, on = key.split("/")
        table = atlas.genes(latent, method=method, on=on)
        lost = table[table["score"] < 0].iloc[::-1].head(cards.TOP_LOST)
        assert len(lost) == 3, "genes whose absence drives it stand on the card"
        table = pd.concat([table[table["score"] >= 0].head(cards.TOP_GENES), lost])
        assert genes["id"].iloc[[row[0] for row in rows]].tolist() == table["gene"].tolist()
        numbers = pd.DataFrame([row[1:] for row in rows], columns=["effect", "se", "score", "q", "n"]).astype(float)
        np.testing.assert_allclose(numbers, table[list(numbers)], rtol=6e-4)


@pytest.mark.parametrize("latent", [0, 9, 17])
def test_ranks_are_those_of_each_method(card: Any, atlas: Atlas, genes: pd.DataFrame, latent: int) -> None:
    compared = card(latent)["compare"]
    orders = {method: atlas.genes(latent, method=method)["gene"].tolist() for method in compared["methods"]}
    shown = {genes["id"].iloc[gene]: ranks for gene, *ranks in compared["rows"]}
    union = {gene for order in orders.values() for gene in order[: cards.COMPARED]}
    assert set(shown) == union
    for gene, ranks in shown.items():
        assert ranks == [order.index(gene) + 1 for order in orders.values()]
    worth = [np.log(ranks).mean() for ranks in shown.values()]
    assert worth == sorted(worth)


@pytest.mark.parametrize("latent", [0, 9, 17])
def test_pathways_by_source_test_and_ranking(
    card: Any, read: Any, atlas: Atlas, genes: pd.DataFrame, latent: int
) -> None:
    terms, table = read("data/terms.json"), atlas.pathways(latent)
    blocks = card(latent)["pathways"]
    assert len(blocks) == 6
    for block in blocks:
        part = table[
            (table["source"] == block["source"])
            & (table["test"] == block["test"])
            & (table["ranking"] == block["ranking"])
        ]
        signs = (part["statistic"] > 0).sum(), (part["statistic"] < 0).sum()
        assert (block["kept"], block["enriched"], block["depleted"]) == (len(part), *signs)
        worse = part[["q", "null_q"]].max(axis=1)
        order = part.assign(worse=part["q"].sub(1).where(worse < 0.05, worse), strength=-part["statistic"].abs())
        part = order.sort_values(["worse", "strength", "term"])
        assert [terms[row[0]]["term"] for row in block["terms"]] == part["term"].tolist()
        assert {terms[row[0]]["source"] for row in block["terms"]} == {block["source"]}
        numbers = pd.DataFrame([row[1:5] for row in block["terms"]], columns=["statistic", "q", "null_q", "n_genes"])
        np.testing.assert_allclose(numbers, part[list(numbers)], rtol=6e-4)
        edges = [";".join(genes["symbol"].iloc[row[5]]) for row in block["terms"]]
        assert edges == part["leading_edge"].tolist()
    assert any(row[1] < 0 and row[2] < 0.05 and row[3] < 0.05 for block in blocks for row in block["terms"])
    opens = table[(table["test"] == "gsea") & (table["ranking"] == "path")]
    worse = opens[["q", "null_q"]].max(axis=1)
    first = opens.loc[opens["q"].sub(1).where(worse < 0.05, worse).idxmin(), "term"]
    assert terms[blocks[0]["terms"][0][0]]["term"] == first, "what a name is taken from stands first"


def test_a_leading_edge_keeps_a_symbol_that_is_no_gene(tree: Tree, genes: pd.DataFrame) -> None:
    assert cards.edge("LYZ;NOT-A-GENE;", tree.search_index) == [int((genes["symbol"] == "LYZ").idxmax()), "NOT-A-GENE"]


def test_pairs_are_those_of_the_file_real_ones_first(card: Any, full_folder: Path) -> None:
    table = pd.read_parquet(full_folder / "pairs.parquet")
    rows = table[table["concept"] == 5].sort_values("kind", ascending=False, kind="stable")
    found = card(5)["pairs"]
    assert [row[:3] for row in found] == rows[["prototype", "partner", "kind"]].to_numpy().tolist()
    np.testing.assert_allclose([row[3] for row in found], rows["difference"], rtol=6e-4)


def test_a_silent_concept_has_an_empty_card(card: Any) -> None:
    silent = card(23)
    assert silent["genes"] == {}
    assert silent["compare"] is None
    assert silent["pathways"] == silent["coactive"] == silent["pairs"] == []
    assert silent["histogram"]["all"] == []


def test_tokens_where_the_atlas_has_them(card: Any, token_folder: Path) -> None:
    assert "tokens" not in card(3)
    atlas = open_atlas(token_folder)
    tree = Tree(atlas)
    rows = json.loads(tree.get(f"data/cards/{3 // CARD_SHARD}.json"))["3"]["tokens"]
    ids = json.loads(tree.get("data/genes.json"))["id"]
    table = atlas.tokens(3).head(cards.TOP_TOKENS)
    assert [ids[row[0]] for row in rows] == table["gene"].tolist()
    np.testing.assert_allclose([row[1:] for row in rows], table[["part", "active", "mean", "n"]], rtol=6e-4)
