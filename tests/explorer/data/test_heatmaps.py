"""The numbers of heat maps against plain loops over cells, their order, and that they are bounded."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.evidence import leading_order
from cellglass.atlas.read import Atlas
from cellglass.explorer import Tree
from cellglass.explorer.data import heatmaps
from explorer.conftest import FINDINGS


@pytest.mark.parametrize("place", [0, 1])
def test_each_place_is_what_a_loop_over_cells_counts(read: Any, atlas: Atlas, place: int) -> None:
    assert read("data/manifest.json")["heatmaps"] == [0, 1]
    found, label = read(f"data/heatmaps/{place}.json"), read("data/manifest.json")["labels"][place]
    of = atlas.concepts.obs[label["name"]].astype(str).to_numpy()
    var, dense = atlas.concepts.var.set_index("latent"), atlas.concepts.X.toarray()
    assert sorted(label["values"][code - 1] for code in found["codes"]) == sorted(set(of))
    assert sorted(found["latents"][: found["concepts"]]) == list(range(FINDINGS))
    assert sorted(found["latents"][found["concepts"] :]) == list(range(FINDINGS, 23)), "residual ones last, silent none"
    assert (found["cells"], found["hidden"], found["n_concepts"]) == (len(of), 0, FINDINGS)
    for r, latent in enumerate(found["latents"]):
        a = dense[:, list(var.index).index(latent)]
        on = a >= var.loc[latent, "threshold"]
        assert found["on"][r] == on.sum()
        for c, code in enumerate(found["codes"]):
            inside = of == label["values"][code - 1]
            both, chance = (on & inside).sum(), on.sum() * inside.sum() / len(of)
            assert (found["sizes"][c], found["counts"][r][c]) == (inside.sum(), both)
            assert found["mean"][r][c] == pytest.approx(a[inside].mean(), rel=1e-3)
            assert found["f1"][r][c] == pytest.approx(2 * both / (on.sum() + inside.sum()), rel=1e-3)
            assert found["null"][r][c] == pytest.approx(2 * chance / (on.sum() + inside.sum()), rel=1e-3)


def test_the_null_is_the_mean_f1_of_shuffled_labels() -> None:
    rng = np.random.default_rng(0)
    on, inside = np.arange(60) < 21, np.arange(60) < 15
    counts, sizes = np.array([[7, 14]]), np.array([15, 45])
    found = heatmaps.page(counts, counts * 1.0, sizes, np.array([4]), 1, 9)
    f1 = [2 * (on & rng.permutation(inside)).sum() / 36 for _ in range(4000)]
    assert found["null"][0][found["codes"].index(1)] == pytest.approx(np.mean(f1), abs=4 * np.std(f1) / 60)


def test_concepts_of_one_value_stand_together_and_values_keep_their_order(read: Any) -> None:
    found = read("data/heatmaps/0.json")
    strongest = [int(np.argmax(row)) for row in found["mean"][: found["concepts"]]]
    assert sum(one != other for one, other in pairwise(strongest)) == 7, "one run for each type"
    assert np.corrcoef(strongest, np.arange(len(strongest)))[0, 1] > 0.95, "along the diagonal"


def test_a_map_is_bounded_and_two_trees_give_the_same(full_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heatmaps, "MOST_CONCEPTS", 5)
    monkeypatch.setattr(heatmaps, "MOST_VALUES", 3)
    one, other = (Tree(open_atlas(full_folder)) for _ in range(2))
    assert one.get("data/heatmaps/0.json") == other.get("data/heatmaps/0.json")
    found = one.heatmaps
    var = one.source.var
    order = var["latent"].iloc[leading_order(var)].tolist()
    assert one.source.latents[found.kinds[0]].tolist() == order[:5]
    assert one.source.latents[found.kinds[1]].tolist() == [latent for latent in order if latent >= FINDINGS][:5]
    counts, sums = found._counts["cell type"]
    sizes = one.source.totals["cell type"][1:]
    page = heatmaps.page(counts[:, 1:], sums[:, 1:], sizes, one.source.latents[:10], 5, 3)
    assert page["hidden"] == 5
    assert sorted(page["sizes"]) == sorted(np.sort(sizes)[-3:].tolist())
    assert page["cells"] == 700, "F1 is among all cells, not those of the values that are shown"
