from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas import open_atlas, write
from cellglass.atlas.read import Atlas
from cellglass.explorer import Tree
from cellglass.explorer.data import facts
from explorer.conftest import FINDINGS, add_foreign


def test_the_manifest_says_what_the_atlas_is(read: Any, atlas: Atlas) -> None:
    manifest = read("data/manifest.json")
    assert (manifest["n_cells"], manifest["n_concepts"], manifest["n_alive"], manifest["n_genes"]) == (700, 24, 23, 124)
    assert manifest["atlas"]["model"] == "scvi"
    assert manifest["atlas"]["site"] == "z"
    assert manifest["live"] is False
    assert (manifest["n_findings"], manifest["title"]) == (FINDINGS, "18 concepts of scvi, site z, in 700 cells")
    assert manifest["reproducibility"] == {
        "by": "halves", "n": 16, "least": 0.8, "correlation": 0.7, "concepts": FINDINGS,
    }  # fmt: skip
    assert [(label["name"], label["kind"]) for label in manifest["labels"]] == [
        ("cell type", "category"), ("phase", "category"), ("n_counts", "number"),
    ]  # fmt: skip
    assert manifest["methods"] == [
        ["path", "preactivation"], ["swap", "activation"], ["knockout", "activation"], ["de", "expression"],
    ]  # fmt: skip
    assert manifest["titles"] == {
        "path": "Path", "swap": "Swap", "knockout": "Knock-out", "de": "Expression",
        "activation": "activation", "preactivation": "pre-activation", "expression": "expression",
        "gsea": "GSEA", "ulm": "ULM", "ora": "ORA",
    }  # fmt: skip
    assert len(manifest["metrics"]) == len(atlas.evaluation)
    assert str(atlas.path) not in json.dumps(manifest)


def test_names_of_other_packages_come_after_ours_and_are_their_own_titles(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    add_foreign(folder)
    manifest = json.loads(Tree(open_atlas(folder)).get("data/manifest.json"))
    assert manifest["methods"][-1] == ["a-new-one", "activation"]
    assert (manifest["tests"][-1], manifest["rankings"][-1]) == ("fisher", "a-new-one")
    assert {name: manifest["titles"][name] for name in ("a-new-one", "fisher")} == {
        "a-new-one": "a-new-one",
        "fisher": "fisher",
    }


def test_a_live_tree_says_so(atlas: Atlas) -> None:
    assert json.loads(Tree(atlas, live=True).get("data/manifest.json"))["live"] is True


def test_label_files_hold_the_label_of_each_cell(tree: Tree, read: Any, atlas: Atlas) -> None:
    for label in read("data/manifest.json")["labels"]:
        codes = np.frombuffer(tree.get(label["file"]), dtype=label["type"])
        column = atlas.concepts.obs[label["name"]]
        if label["kind"] == "number":
            np.testing.assert_allclose(codes, column)
        else:
            assert [None, *label["values"]][codes[5]] == column.iloc[5]
            assert [[None, *label["values"]][code] for code in codes] == column.astype(object).tolist()


def test_the_layout_keeps_its_proportions(tree: Tree, read: Any, atlas: Atlas) -> None:
    xy = np.frombuffer(tree.get("data/xy.bin"), dtype="<u2").reshape(-1, 2)
    x0, x1, y0, y1 = read("data/manifest.json")["xy_bounds"]
    assert x1 - x0 == pytest.approx(y1 - y0, rel=1e-4)
    found = np.array([x0, y0]) + xy / 65535 * np.array([x1 - x0, y1 - y0])
    np.testing.assert_allclose(found, atlas.concepts.obsm["X_umap"], atol=2e-3)


def test_a_layout_is_centred_and_fills_the_longer_side() -> None:
    xy = np.random.default_rng(0).normal(size=(500, 2)) * [8, 2] + [100, -3]
    x, y = facts.quantised(xy).astype(float).T
    scale = (xy[:, 0].max() - xy[:, 0].min()) / (x.max() - x.min())
    np.testing.assert_allclose((x - x[0]) * scale, xy[:, 0] - xy[0, 0], atol=2 * scale)
    np.testing.assert_allclose((y - y[0]) * scale, xy[:, 1] - xy[0, 1], atol=2 * scale)
    assert (x.min(), x.max()) == (0, 65535)
    assert abs((y.min() + y.max()) / 2 - 32767.5) <= 1
    assert len(np.unique(facts.quantised(np.ones((3, 2))))) == 1


def test_concepts_by_column(read: Any, atlas: Atlas) -> None:
    columns, var = read("data/concepts.json"), atlas.concepts.var
    assert columns["name"] == var.index.tolist()
    assert columns["latent"] == var["latent"].tolist()
    assert columns["residual"] == var["residual"].tolist() == [latent >= FINDINGS for latent in range(24)]
    assert columns["beyond_clusters"] == (var["cluster_correlation"] < 0.7).tolist()
    assert len(set(columns["beyond_clusters"])) == 2
    assert columns["n_active"] == np.asarray((atlas.concepts.X > 0).sum(axis=0)).ravel().tolist()
    assert columns["identity"] is None
    for name, of in {
        "density": "density",
        "mean": "mean_activation",
        "f1": "best_label_f1",
        "reproducibility": "reproducibility",
        "threshold": "threshold",
        "label_threshold": "threshold",
        "label_null": "best_label_null",
        "label_q": "best_label_q",
    }.items():
        np.testing.assert_allclose(pd.to_numeric(pd.Series(columns[name])), var[of], rtol=1e-4)
    np.testing.assert_allclose(
        pd.to_numeric(pd.Series(columns["term_statistic"])), var["best_term_statistic"], rtol=1e-4
    )
    for gene, score, q, row in zip(
        columns["gene"], columns["gene_score"], columns["gene_q"], var.itertuples(), strict=True
    ):
        stronger = row.absent_gene_q < 0.05 and (
            not row.top_gene_q < 0.05 or -row.absent_gene_score > abs(row.top_gene_score)
        )
        end = "absent" if stronger else "top"
        assert gene == getattr(row, f"{end}_gene")
        assert score == pytest.approx(getattr(row, f"{end}_gene_score"), rel=1e-4) or score is None
        assert q == pytest.approx(getattr(row, f"{end}_gene_q"), rel=1e-4) or q is None
    assert any(score is not None and score < 0 for score in columns["gene_score"])
    for place, label in enumerate(columns["label"]):
        told = [columns[f"label_{name}"][place] for name in ("of", "n", "every")]
        assert told == (["cell type", var["best_label_n"].iloc[place], False] if label else ["", 0, True])
    table = atlas.pathways()
    for latent, term, q in zip(columns["latent"], columns["term"], columns["term_q"], strict=True):
        rows = table[(table["concept"] == latent) & (table["term"] == term) & (table["ranking"] == "path")]
        rows = rows[rows["statistic"] > 0]
        assert (q is None) == rows.empty
        if q is not None:
            assert q == pytest.approx(rows[["q", "null_q"]].max(axis=1).min(), rel=1e-4)


def test_the_q_value_of_a_naming_gene_set_is_what_the_atlas_states(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    table = open_atlas(folder).concepts
    q = np.linspace(0, 1, table.n_vars)
    q[3] = np.nan
    shutil.rmtree(folder / "concepts.zarr")
    var = table.var.assign(best_term_q=q)
    write.write_concepts(folder, table.X, table.obs, table.obsm["X_umap"], var, table.uns)
    told = json.loads(Tree(open_atlas(folder)).get("data/concepts.json"))["term_q"]
    np.testing.assert_allclose(pd.to_numeric(pd.Series(told)), q, rtol=1e-4)


def test_names_of_cells_come_in_parts(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "CELLS", 300)
    tree = Tree(atlas)
    paths = [path for path in tree.paths() if path.startswith("data/cells/")]
    parts = [json.loads(tree.get(path)) for path in paths]
    assert [len(part) for part in parts] == [300, 300, 100]
    assert [name for part in parts for name in part] == atlas.concepts.obs_names.tolist()


def test_one_seed_and_no_tables_are_said_to_be_unknown(bare_folder: Path) -> None:
    tree = Tree(open_atlas(bare_folder))
    manifest, columns = (json.loads(tree.get(f"data/{name}.json")) for name in ("manifest", "concepts"))
    assert manifest["reproducibility"] is None
    assert (manifest["n_findings"], manifest["n_alive"]) == (23, 23)
    assert manifest["has_expression"] is manifest["has_pairs"] is False
    assert manifest["n_genes"] == manifest["n_terms"] == 0
    assert columns["reproducibility"] is columns["beyond_clusters"] is columns["threshold"] is None
    assert columns["residual"] == [False] * 24
    assert columns["name"] == open_atlas(bare_folder).concepts.var_names.tolist()  # markup stays text


def test_the_null_of_a_label_that_the_atlas_does_not_state_is_calling_every_cell(bare_folder: Path) -> None:
    atlas = open_atlas(bare_folder)
    columns = json.loads(Tree(atlas).get("data/concepts.json"))
    cells = atlas.concepts.obs["cell type"].value_counts()
    known = 0
    for place, label in enumerate(columns["label"]):
        share = cells[label] / cells.sum() if label in cells else 0
        told = [columns[f"label_{name}"][place] for name in ("of", "n", "null", "every")]
        assert told[:2] == (["cell type", cells[label]] if share else ["", None])
        assert told[2] == (pytest.approx(2 * share / (1 + share), rel=1e-4) if share else None)
        assert told[3], "the atlas states no null of its own"
        known += share > 0
    assert known


def test_a_plain_dictionary_comes_back_by_seeds_and_has_no_residual_latents(seeds_folder: Path) -> None:
    atlas = open_atlas(seeds_folder)
    tree, var = Tree(atlas), atlas.concepts.var
    manifest, columns = (json.loads(tree.get(f"data/{name}.json")) for name in ("manifest", "concepts"))
    back = int(((var["reproducibility"] >= 0.75) & (var["density"] > 0)).sum())
    assert 0 < back < 23
    assert manifest["reproducibility"] == {"by": "seeds", "n": 4, "least": 0.75, "correlation": 0.7, "concepts": back}
    assert (manifest["n_findings"], manifest["n_alive"]) == (23, 23)
    assert columns["residual"] == [False] * 24
    assert columns["beyond_clusters"] is None
    np.testing.assert_allclose(columns["reproducibility"], var["reproducibility"], rtol=1e-4)


def test_the_manifest_says_how_genes_meet_and_which_sets_were_tested(read: Any) -> None:
    manifest = read("data/manifest.json")
    assert (manifest["coverage"], manifest["gene_sets"]) == (None, None)  # nothing was said of this atlas
    held = {"found": 90, "missing": 10, "unknown": 3, "counts": 0.123456}
    found = facts.coverage(SimpleNamespace(uns={"model": {"kind": "scvi", "coverage": held}}))  # type: ignore[arg-type]
    assert found == {**held, "counts": 0.1235}
