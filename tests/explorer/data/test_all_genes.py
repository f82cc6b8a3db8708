"""Every gene of a concept, against the table itself."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas.read import Atlas
from cellglass.explorer import Tree
from cellglass.explorer.data import all_genes
from cellglass.explorer.data.all_genes import AllGenes


def test_no_row_is_missing(atlas: Atlas, tree: Tree, genes: pd.DataFrame) -> None:
    table = atlas.genes()
    for latent in (0, 3):
        found = json.loads(tree.get(f"data/all-genes/{latent}.json"))
        own = table[table["concept"] == latent]
        assert sum(map(len, found.values())) == len(own) > 0
        for (method, on), rows in own.groupby(["method", "on"]):
            told = pd.DataFrame(found[f"{method}/{on}"], columns=["gene", "effect", "se", "score", "q", "n"])
            assert (told["score"].diff().dropna() <= 0).all()
            rows = rows.set_index("gene").loc[genes["id"].iloc[told["gene"]]]
            for name in ("effect", "se", "score", "q", "n"):
                np.testing.assert_allclose(told[name].astype(float), rows[name].astype(float), rtol=1e-3)


def test_an_export_holds_them_unless_they_are_too_many(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(tree.all_genes.shown) == set(tree.source.atlas.genes()["concept"])
    monkeypatch.setattr(all_genes, "MOST_ROWS", 10)
    assert AllGenes(tree.source, tree.search_index).shown == []
