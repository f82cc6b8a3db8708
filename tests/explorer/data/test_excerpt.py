"""What a report holds: all of a small atlas as the tree has it, and of a large one a part that it names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.evidence import leading_order
from cellglass.explorer import Tree
from cellglass.explorer.data import excerpt, parts
from cellglass.explorer.data.columns import from_bytes
from cellglass.explorer.data.excerpt import Excerpt
from cellglass.explorer.data.facts import CARD_SHARD
from cellglass.explorer.data.parts import PARTS, pack, unpack


def held(tree: Tree, max_cells: int = 700) -> dict[str, bytes]:
    return {path: unpack(packed) for path, packed in Excerpt(tree, max_cells).files()}


def without_report(content: bytes) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(content)
    del manifest["report"]
    return manifest


def squeezed(monkeypatch: pytest.MonkeyPatch, name: str, room: int) -> None:
    monkeypatch.setitem(PARTS, name, PARTS[name]._replace(room=room))


@pytest.mark.slow
@pytest.mark.parametrize("which", ["full_folder", "token_folder", "bare_folder"])
def test_a_small_atlas_is_held_whole_as_the_tree_has_it(which: str, request: pytest.FixtureRequest) -> None:
    tree = Tree(open_atlas(request.getfixturevalue(which)))
    files = held(tree)
    assert set(files) == {*tree.paths(), "data/drawn.bin"}
    for path in tree.paths():
        if path == "data/manifest.json":
            assert without_report(files[path]) == json.loads(tree.get(path))
        elif path.startswith("data/neurons/"):  # worked out for all at once, so that the last bit may differ
            one, other = from_bytes(files[path]), from_bytes(tree.get(path))
            np.testing.assert_array_equal(one.rows, other.rows)
            np.testing.assert_allclose(one.values, other.values, rtol=1e-6)
        else:
            assert files[path] == tree.get(path), path
    report = json.loads(files["data/manifest.json"])["report"]
    assert report == {"cells": tree.source.n_cells, "left_out": []}


def test_of_a_sample_all_files_of_cells_have_the_same_cells(tree: Tree) -> None:
    files, concepts = held(tree, 150), tree.source.atlas.concepts
    cells = np.frombuffer(files["data/drawn.bin"], "<u4").astype(int)
    assert len(cells) == 150
    every = np.frombuffer(tree.get("data/xy.bin"), "<u2").reshape(-1, 2)
    np.testing.assert_array_equal(np.frombuffer(files["data/xy.bin"], "<u2").reshape(-1, 2), every[cells])
    manifest = json.loads(files["data/manifest.json"])
    assert files["data/gene-groups/0.json"] == tree.get("data/gene-groups/0.json"), "it counts all cells"
    assert len(manifest["bases"]) == 4
    for base in manifest["bases"]:
        every = np.frombuffer(tree.get(base["file"]), base["type"])
        np.testing.assert_array_equal(np.frombuffer(files[base["file"]], base["type"]), every[cells])
    for label in manifest["labels"]:
        codes = np.frombuffer(files[label["file"]], label["type"])
        column = concepts.obs[label["name"]].iloc[cells]
        if label["kind"] == "category":
            assert [label["values"][code - 1] for code in codes] == column.tolist()
        else:
            np.testing.assert_allclose(codes, column)
    dense = concepts.X.toarray()[cells]
    for place, latent in enumerate(concepts.var["latent"]):
        column = from_bytes(files[f"data/activations/{latent}.bin"])
        np.testing.assert_array_equal(column.rows, np.flatnonzero(dense[:, place]))
        np.testing.assert_array_equal(column.values, dense[column.rows, place])
    counts = tree.source.atlas.expression.to_memory().X[cells].toarray()
    column = from_bytes(files["data/expression/7.bin"])
    expected = np.log1p(1e4 * counts[:, 7] / counts.sum(axis=1))
    np.testing.assert_allclose(column.values, expected[column.rows], rtol=1e-5)
    assert files["data/heatmaps/0.json"] == tree.get("data/heatmaps/0.json"), "it counts all cells"
    assert manifest["n_cells"] == 700
    assert manifest["report"]["cells"] == 150
    (said,) = manifest["report"]["left_out"]
    assert said.startswith("550 of 700 cells: maps draw a random sample of 150")


def test_of_a_sample_cards_are_still_of_all_cells(tree: Tree) -> None:
    files = held(tree, 150)
    cards = [path for path in tree.paths() if path.startswith("data/cards/")]
    assert cards
    assert all(files[path] == tree.get(path) for path in cards)


def test_of_a_sample_the_names_are_those_of_drawn_cells_and_of_pairs(tree: Tree) -> None:
    files = held(tree, 150)
    names = json.loads(files["data/cells/0.json"])
    wanted = set(np.frombuffer(files["data/drawn.bin"], "<u4").tolist())
    for path, content in files.items():
        if path.startswith("data/pairs/"):
            for one in json.loads(content):
                wanted |= {one["prototype"], *(other["partner"] for other in one["partners"])}
    truth = tree.source.atlas.concepts.obs_names
    assert 150 < len(wanted) < 700
    assert names == [name if cell in wanted else "" for cell, name in enumerate(truth)]


def test_cards_without_room_hold_their_first_rows(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = held(tree)
    room = sum(len(pack(content)) for path, content in whole.items() if path.startswith("data/cards/"))
    squeezed(monkeypatch, "cards", room - 1)
    files = held(tree)
    assert json.loads(files["data/manifest.json"])["report"]["left_out"] == [PARTS["cards"].shorter[0].says]
    for path in (path for path in whole if path.startswith("data/cards/")):
        before, after = json.loads(whole[path]), json.loads(files[path])
        assert list(before) == list(after)
        for latent in before:
            card, short = before[latent], after[latent]
            lost = {key: [row for row in rows if row[3] < 0] for key, rows in card["genes"].items()}
            assert any(lost.values()) == bool(card["genes"])
            assert short["genes"] == {key: [*rows[:15], *lost[key]] for key, rows in card["genes"].items()}
            assert short["pathways"] == [block | {"terms": block["terms"][:12]} for block in card["pathways"]]
            shown = list(dict.fromkeys(row[0] for row in card["pairs"]))[:3]
            assert short["pairs"] == [row for row in card["pairs"] if row[2] == "real" and row[0] in shown]
            assert short["n_pairs"] == sum(row[2] == "real" for row in card["pairs"])
            same = set(card) - {"genes", "pathways", "pairs"}
            assert {name: card[name] for name in same} == {name: short[name] for name in same}


def test_where_short_cards_have_no_room_the_clearest_are_held(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    squeezed(monkeypatch, "cards", 20_000)
    files = held(tree)
    shards = {int(path.split("/")[2][:-5]) for path in files if path.startswith("data/cards/")}
    var = tree.source.var
    best = var.iloc[leading_order(var)]
    order = list(dict.fromkeys(int(latent) // CARD_SHARD for latent in best["latent"]))
    assert 0 < len(shards) < len(order)
    assert shards == set(order[: len(shards)])
    missing = 24 - 4 * len(shards)
    said = json.loads(files["data/manifest.json"])["report"]["left_out"]
    assert said == [PARTS["cards"].shorter[-1].says, PARTS["cards"].missing.format(missing)]


def test_short_lists_of_the_search_begin_as_the_whole_ones(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "FIRST_CONCEPTS", 2)
    for name in ("gene-concepts", "term-concepts"):
        room = sum(len(pack(tree.get(path))) for path in tree.paths() if path.startswith(f"data/{name}/"))
        squeezed(monkeypatch, name, room - 1)
    files = held(tree)
    for name, by in (("gene-concepts", 1), ("term-concepts", 2)):
        whole, short = (json.loads(one) for one in (tree.get(f"data/{name}/0.json"), files[f"data/{name}/0.json"]))
        assert list(whole) == list(short)
        for key, rows in whole.items():
            for group in {(*row[1 : 1 + by], row[1 + by] < 0) for row in rows}:
                first = [row for row in rows if (*row[1 : 1 + by], row[1 + by] < 0) == group][:2]
                assert [row for row in short[key] if (*row[1 : 1 + by], row[1 + by] < 0) == group] == first


def test_short_pairs_are_the_first(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    squeezed(monkeypatch, "pairs", 40_000)
    files = held(tree)
    kept = [path for path in files if path.startswith("data/pairs/")]
    assert kept
    for path in kept:
        whole = json.loads(tree.get(path))
        expected = [one | {"partners": one["partners"][:1]} for one in whole[:3]]
        assert json.loads(files[path]) == expected


def test_counts_are_held_of_the_genes_that_cards_show_first(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = tree.source.expression
    assert counts is not None
    monkeypatch.setattr(excerpt, "MAX_COUNTS", int(counts.sizes.sum() // 2))
    monkeypatch.setattr(excerpt, "MAX_ANSWERS", 700 * 5)
    files = held(tree)
    genes = {int(path.split("/")[2][:-4]) for path in files if path.startswith("data/expression/")}
    assert 0 < len(genes) < len(counts)
    first = {
        rows[0][0]
        for path in tree.paths()
        if path.startswith("data/cards/")
        for card in json.loads(tree.get(path)).values()
        for rows in card["genes"].values()
    }
    assert first <= genes
    assert sum(path.startswith("data/neurons/") for path in files) == 5
    said = json.loads(files["data/manifest.json"])["report"]["left_out"]
    assert any(f"the counts of {len(counts) - len(genes):,} of {len(counts):,} genes" in one for one in said)
    assert any("neurons" in one for one in said)


def test_labels_without_room_are_not_named(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpt, "LABEL_ROOM", 1000)
    manifest = json.loads(held(tree)["data/manifest.json"])
    assert [label["name"] for label in manifest["labels"]] == ["cell type", "phase"]
    assert manifest["bases"] == []
    left_out = ["the label n_counts", *(f"the label {base['name']}" for base in tree.bases.listed)]
    assert manifest["report"]["left_out"] == left_out


def test_the_same_atlas_gives_the_same_files(full_folder: Path) -> None:
    one, two = (list(Excerpt(Tree(open_atlas(full_folder)), 300).files()) for _ in range(2))
    assert one == two
