from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.read import Atlas
from cellglass.explorer import Tree, lookup


def test_genes_are_numbered_as_they_are_counted(read: Any, atlas: Atlas) -> None:
    table, var = read("data/genes.json"), atlas.expression.var
    assert table["id"] == table["ensembl"] == var.index.tolist()
    assert table["symbol"] == var["symbol"].tolist()


def test_without_counts_genes_come_from_the_tables(full_folder: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    shutil.rmtree(folder / "expression.zarr")
    atlas = open_atlas(folder, unfinished=True)
    found, table = Tree(atlas).lookup.genes, atlas.genes().drop_duplicates("gene").sort_values("gene")
    assert found.ids == table["gene"].tolist()
    assert found.symbols == table["symbol"].tolist()


def test_from_a_gene_to_its_concepts(read: Any, atlas: Atlas, genes: pd.DataFrame) -> None:
    methods, shard, table = read("data/manifest.json")["methods"], read("data/gene-concepts/0.json"), atlas.genes()
    table = table[table["score"] > 0]
    for gene in (0, 8, 123):
        rows = pd.DataFrame(shard[str(gene)], columns=["latent", "method", "score", "q"])
        for number, (method, on) in enumerate(methods):
            part = table[(table["gene"] == genes["id"][gene]) & (table["method"] == method) & (table["on"] == on)]
            part = part.sort_values("score", ascending=False)
            mine = rows[rows["method"] == number]
            np.testing.assert_allclose(mine["score"], part["score"], rtol=6e-4)
            assert set(mine["latent"]) == set(part["concept"])
            q = part.set_index("concept")["q"].loc[mine["latent"]]
            np.testing.assert_allclose(mine["q"].astype(float), q, rtol=6e-4)


def test_only_the_first_concepts_of_a_gene_are_kept(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "KEPT", 3)
    found = Tree(atlas).lookup.by_gene
    _, counts = np.unique(found["group"], return_counts=True)
    assert counts.max() == 3
    table = atlas.genes(method="de")
    first = table[table["gene"] == "ENSG00000000000"].head(3)
    mine = (found["key"] == 0) & (found["method"] == 3)
    assert found["latent"][mine].tolist() == first["concept"].tolist()


def test_from_a_gene_set_to_its_concepts(read: Any, atlas: Atlas) -> None:
    manifest, terms, shard = read("data/manifest.json"), read("data/terms.json"), read("data/term-concepts/0.json")
    table = atlas.pathways()
    table = table[table["statistic"] > 0]
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
        assert rows.groupby(["test", "ranking"])["q"].is_monotonic_increasing.all()


def test_positions_of_latents(tree: Tree) -> None:
    assert tree.lookup.positions(np.array([23, 0, 24, -1, 99])).tolist() == [23, 0, -1, -1, -1]
