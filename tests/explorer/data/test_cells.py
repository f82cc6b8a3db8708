from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cellglass.atlas.read import Atlas
from cellglass.explorer.data import cells
from cellglass.explorer.data.facts import CARD_SHARD


@pytest.mark.parametrize("latent", [0, 12, 23])
def test_composition_and_histogram_by_label(read: Any, atlas: Atlas, latent: int) -> None:
    card = read(f"data/cards/{latent // CARD_SHARD}.json")[str(latent)]
    labels = {one["name"]: one["values"] for one in read("data/manifest.json")["labels"] if one["kind"] == "category"}
    a = atlas.concepts.X[:, [latent]].toarray()[:, 0]
    edges = np.array(card["histogram"]["edges"])
    if a.any():
        np.testing.assert_allclose(edges, np.linspace(0, a.max(), cells.BINS + 1), rtol=1e-5)
    assert sum(card["histogram"]["all"]) == (a > 0).sum()
    assert set(card["labels"]) == set(card["histogram"]["by"]) == set(labels)
    for name, values in labels.items():
        of = atlas.concepts.obs[name].astype(object).to_numpy()
        rows = {code: rest for code, *rest in card["labels"][name]}
        assert list(rows) == list(range(1, len(values) + 1))
        for code, value in enumerate(values, 1):
            inside = a[(of == value) & (a > 0)]
            assert rows[code][:2] == [len(inside), (of == value).sum()]
            assert rows[code][2] == (pytest.approx(inside.mean(), rel=6e-4) if len(inside) else None)
            counts = card["histogram"]["by"][name].get(str(code), [0] * cells.BINS)
            if a.any():
                assert counts == np.histogram(inside, np.linspace(0, a.max(), cells.BINS + 1))[0].tolist()
    if a.any():
        by = np.sum([list(part.values()) for part in [card["histogram"]["by"]["phase"]]], axis=1)[0]
        assert by.tolist() == card["histogram"]["all"]


def test_the_strongest_cells_are_named_with_their_labels(read: Any, atlas: Atlas) -> None:
    top = read("data/cards/3.json")["12"]["strongest"]
    a, obs = atlas.concepts.X[:, [12]].toarray()[:, 0], atlas.concepts.obs
    assert top["values"] == pytest.approx(sorted(a, reverse=True)[: cells.TOP_CELLS], rel=1e-4)
    assert top["names"] == obs.index[top["cells"]].tolist()
    assert (a[top["cells"]][:-1] >= a[top["cells"]][1:]).all()
    assert [obs["phase"].cat.categories[code - 1] for code in top["labels"]["phase"]] == obs["phase"].iloc[
        top["cells"]
    ].tolist()
    assert top["labels"]["n_counts"] == obs["n_counts"].iloc[top["cells"]].tolist()
    assert read("data/cards/5.json")["23"]["strongest"]["names"] == [], "a silent one has none"


def test_of_many_values_those_of_most_cells_are_shown() -> None:
    size = np.r_[np.full(70, 2), -1, np.full(30, 5)]
    shown = cells._most(size)
    assert len(shown) == cells.MOST_VALUES
    assert shown == sorted(shown)
    assert set(range(71, 101)) <= set(shown)
    assert cells._most(np.array([-1, 0, -1])) == [1]
