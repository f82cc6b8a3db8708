from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas import open_atlas, tables
from cellglass.atlas.read import Atlas
from cellglass.atlas.write import zarr_settings
from cellglass.explorer import Tree
from cellglass.explorer.data import search_index


def test_genes_are_numbered_as_they_are_counted(read: Any, atlas: Atlas) -> None:
    table, var = read("data/genes.json"), atlas.expression.var
    assert table["id"] == table["ensembl"] == var.index.tolist()
    assert table["symbol"] == var["symbol"].tolist()


def test_without_counts_genes_come_from_the_tables(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    shutil.rmtree(folder / "expression.zarr")
    atlas = open_atlas(folder, unfinished=True)
    found, table = Tree(atlas).search_index.genes, atlas.genes().drop_duplicates("gene").sort_values("gene")
    assert found.ids == table["gene"].tolist()
    assert found.symbols == table["symbol"].tolist()


def test_from_a_gene_to_its_concepts(read: Any, atlas: Atlas, genes: pd.DataFrame) -> None:
    methods, table = read("data/manifest.json")["methods"], atlas.genes()
    assert (table["score"] < 0).any()
    for gene in (0, 8, 123):
        shard = read(f"data/gene-concepts/{gene // search_index.GENE_SHARD}.json")
        rows = pd.DataFrame(shard[str(gene)], columns=["latent", "method", "score", "q"])
        for number, (method, on) in enumerate(methods):
            part = table[(table["gene"] == genes["id"][gene]) & (table["method"] == method) & (table["on"] == on)]
            part = part.assign(lost=part["score"] < 0, weak=-part["score"].abs()).sort_values(["lost", "weak"])
            mine = rows[rows["method"] == number]
            np.testing.assert_allclose(mine["score"], part["score"], rtol=6e-4)
            assert set(mine["latent"]) == set(part["concept"])
            q = part.set_index("concept")["q"].loc[mine["latent"]]
            np.testing.assert_allclose(mine["q"].astype(float), q, rtol=6e-4)


def test_only_the_first_concepts_of_a_gene_are_kept(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_index, "KEPT", 3)
    found = Tree(atlas).search_index.by_gene
    _, counts = np.unique(found["group"], return_counts=True)
    assert counts.max() == 3
    table = atlas.genes(method="de")
    rows = table[table["gene"] == "ENSG00000000000"]
    first = [*rows.head(3)["concept"], *rows[rows["score"] < 0].tail(3).iloc[::-1]["concept"]]
    mine = (found["key"] == 0) & (found["method"] == 3)
    assert found["latent"][mine].tolist() == first


def test_from_a_gene_set_to_its_concepts(read: Any, atlas: Atlas) -> None:
    manifest, terms, shard = read("data/manifest.json"), read("data/terms.json"), read("data/term-concepts/0.json")
    table = atlas.pathways()
    assert (table["statistic"] < 0).any()
    assert [(one["source"], one["term"]) for one in terms] == sorted(
        set(zip(table["source"], table["term"], strict=True))
    )
    for number, term in enumerate(terms):
        part = table[(table["source"] == term["source"]) & (table["term"] == term["term"])]
        rows = pd.DataFrame(shard[str(number)], columns=["concept", "test", "ranking", "statistic", "q", "null_q"])
        rows["test"] = [manifest["tests"][code] for code in rows["test"]]
        rows["ranking"] = [manifest["rankings"][code] for code in rows["ranking"]]
        keys = ["concept", "test", "ranking"]
        both = rows.merge(part, on=keys, suffixes=("", "_table"), validate="one_to_one")
        assert len(both) == len(rows) == len(part)
        for name in ("statistic", "q", "null_q"):
            np.testing.assert_allclose(both[name], both[f"{name}_table"], rtol=6e-4)
        rows["worse"], rows["lost"] = rows[["q", "null_q"]].max(axis=1), rows["statistic"] < 0
        assert rows.groupby(["test", "ranking"])["lost"].is_monotonic_increasing.all(), "enriched first, then depleted"
        assert rows.groupby(["test", "ranking", "lost"])["worse"].is_monotonic_increasing.all()


def test_positions_of_latents(tree: Tree) -> None:
    assert tree.search_index.positions(np.array([23, 0, 24, -1, 99])).tolist() == [23, 0, -1, -1, -1]


def test_genes_of_a_set_are_those_of_its_leading_edges(
    read: Any, atlas: Atlas, genes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:

    table = atlas.pathways()
    for batch in (1 << 18, 101):
        monkeypatch.setattr(tables, "BATCH", batch)
        for term in json.loads(Tree(atlas).get("data/terms.json")):
            part = table[(table["source"] == term["source"]) & (table["term"] == term["term"])]
            counts = Counter(symbol for edge in part["leading_edge"] for symbol in edge.split(";"))
            found = genes["symbol"][term["genes"]].tolist()
            assert set(found) == set(counts)
            assert [counts[symbol] for symbol in found] == sorted(counts.values(), reverse=True)
            assert term["genes_from"] == "leading edges"
    assert all(gene < read("data/manifest.json")["n_expression"] for term in read("data/terms.json") for gene in term["genes"])  # fmt: skip  # noqa: E501


def test_without_counts_no_genes_of_a_set_are_told(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    shutil.rmtree(folder / "expression.zarr")
    terms = json.loads(Tree(open_atlas(folder, unfinished=True)).get("data/terms.json"))
    assert [term["genes"] for term in terms] == [[]] * len(terms) != []


def test_other_names_of_genes_come_from_the_file(full_folder: Path, tmp_path: Path, read: Any) -> None:
    import zarr
    from anndata.io import write_elem

    assert "my-own" not in read("data/genes.json")["alias"][0]
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    group = zarr.open_group(str(folder / "expression.zarr"), mode="r+")
    var = open_atlas(folder).expression.var.copy()
    with zarr_settings():
        write_elem(group, "var", var.assign(synonyms=["my-own; CAGA,  P14", *[""] * 123]))
    table = json.loads(Tree(open_atlas(folder)).get("data/genes.json"))
    assert table["alias"][0][:3] == ["my-own", "CAGA", "P14"]
    assert "JCHAIN" in table["alias"][table["symbol"].index("IGJ")], "and from the bundled table"
    assert len(table["alias"]) == len(table["id"])
