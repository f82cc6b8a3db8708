import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.report.collect import Index, collect, genes, sample_cells
from cellglass.progress import silent


def unpack(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["data"]), dtype=f"<u{packed['bytes']}").astype(int)


@pytest.mark.parametrize("max_cells", [700, 150])
def test_drawn_activations_are_those_of_the_atlas(atlas_folder: Path, max_cells: int) -> None:
    atlas = open_atlas(atlas_folder)
    data = collect(atlas, max_cells, silent)
    shown = sample_cells(atlas, max_cells)
    assert len(shown) == data["atlas"]["shown"] == max_cells
    dense = atlas.concepts.X.toarray()
    cells, values = unpack(data["activations"]["cells"]), unpack(data["activations"]["values"])
    starts = data["activations"]["starts"]
    for column in range(dense.shape[1]):
        drawn = np.zeros(max_cells)
        part = slice(starts[column], starts[column + 1])
        drawn[cells[part]] = values[part] / 255 * dense[:, column].max()
        expected = dense[shown, column]
        np.testing.assert_array_equal(drawn > 0, expected > 0)
        np.testing.assert_allclose(drawn, expected, atol=dense[:, column].max() / 250)


def test_the_sample_is_the_same_each_time_and_keeps_order(atlas_folder: Path) -> None:
    one, two = (sample_cells(open_atlas(atlas_folder), 100) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert (np.diff(one) > 0).all()


def test_labels_come_back_and_numbers_are_no_labels(atlas_folder: Path) -> None:
    atlas = open_atlas(atlas_folder)
    data = collect(atlas, 700, silent)
    assert [label["name"] for label in data["labels"]] == ["cell type", "phase"]
    for label in data["labels"]:
        read = [label["values"][code - 1] for code in unpack(label["codes"])]
        assert read == atlas.concepts.obs[label["name"]].astype(str).tolist()


def test_a_card_holds_the_first_rows_of_the_tables(atlas_folder: Path) -> None:
    atlas = open_atlas(atlas_folder)
    data = collect(atlas, 10, silent)
    json.dumps(data, allow_nan=False)
    card = data["concepts"][4]
    swap = next(block for block in card["genes"] if block["method"] == "swap")
    plain = atlas.genes(4, method="swap")
    assert [data["symbols"][row[0]] for row in swap["rows"]] == plain["symbol"].head(len(swap["rows"])).tolist()
    assert swap["total"] == len(plain)
    np.testing.assert_allclose([row[1] for row in swap["rows"]], plain["effect"].head(len(swap["rows"])), rtol=6e-3)
    gsea = next(block for block in card["pathways"] if block["test"] == "gsea")
    table = atlas.pathways(4)
    enriched = table[(table["test"] == "gsea") & (table["statistic"] > 0)]
    assert [data["terms"][row[0]] for row in gsea["rows"]] == enriched["term"].tolist()[:8]
    assert data["concepts"][-1]["genes"] == []


def test_a_card_says_how_many_other_seeds_found_the_concept(atlas_folder: Path, hostile_folder: Path) -> None:
    atlas = open_atlas(atlas_folder)
    data, var = collect(atlas, 10, silent), atlas.concepts.var
    told = {"concepts": int(var["consensus"].sum()), "others": 4, "needed": 3, "threshold": 0.7}
    assert data["atlas"]["consensus"] == told
    assert [c["found"] for c in data["concepts"]] == var["found_in"].tolist()
    assert [c["again"] for c in data["concepts"]] == (var["found_in"] >= 3).tolist()
    assert data["concepts"][-1]["agrees"] is None
    alone = collect(open_atlas(hostile_folder), 10, silent)
    assert alone["atlas"]["consensus"] is None
    assert "found" not in alone["concepts"][0]


def test_ranks_of_methods_are_places_in_their_own_order() -> None:
    names = [f"g{i}" for i in range(40)]
    table = pd.DataFrame(
        {
            "method": ["path"] * 40 + ["de"] * 40,
            "on": ["preactivation"] * 40 + ["expression"] * 40,
            "gene": names + names[::-1],
            "score": np.r_[np.arange(40, 0, -1), np.arange(40, 0, -1)],
        }
    ).assign(effect=0.1, se=0.01, q=np.nan, n=5)
    symbols = Index()
    blocks, compared = genes(table, symbols)
    assert [block["method"] for block in blocks] == ["path", "de"]
    assert compared is not None
    assert compared["methods"] == ["path", "de"]
    for symbol, path, de in compared["rows"]:
        number = int(symbols.texts[symbol][1:])
        assert (path, de) == (number + 1, 40 - number)
