"""Comparing planted atlases: a permutation comes back, figures equal a plain loop, and what is not shared says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from scipy.optimize import linear_sum_assignment

import cellglass
from cellglass.atlas import manifest as manifests
from cellglass.atlas import open_atlas, write
from cellglass.atlas.comparison.compare import compare
from cellglass.cli import app as cli
from cellglass.dictionaries.kinds.topk import TopK, TopKConfig
from cellglass.errors import InputError
from cellglass.files import sha256

N, D, M = 300, 12, 20
SITE = {"site": {"name": "z", "width": D}, "model": {"kind": "scvi", "fingerprint": "aa"}}


def _codes(m: int, seed: int, n: int = N) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((n, m)) < 0.2) * rng.uniform(0.5, 2, (n, m))


def _write(folder: Path, codes: np.ndarray, directions: np.ndarray | None, uns: dict[str, Any], **more: Any) -> Path:
    """Write an atlas of given codes and decoder directions; `more` may name its cells and its seed."""
    names = more.get("names", [f"cell{i}" for i in range(len(codes))])
    active = (codes > 0).mean(axis=0)
    var = pd.DataFrame(
        {
            "latent": np.arange(codes.shape[1]),
            "density": active,
            "mean_activation": 1.0,
            "max_activation": codes.max(axis=0),
            "best_label": [f"type {i % 3}" for i in range(codes.shape[1])],
            "best_label_f1": 0.5,
            "best_term": "",
            "top_gene": "",
            "name_by": "machine",
        },
        index=[f"{folder.name} {i}" for i in range(codes.shape[1])],
    )
    folder.mkdir()
    layout = np.random.default_rng(0).normal(size=(len(codes), 2))
    uns = {"cells": "planted", "dictionary": {"kind": "topk", "latents": codes.shape[1]}, **uns}
    write.write_concepts(folder, sp.csc_matrix(codes), pd.DataFrame(index=names), layout, var, uns)
    write.write_evaluation(folder, [])
    manifests.write_manifest(folder, manifests.new_manifest(more.get("seed", 0), {}))
    if directions is not None:
        dictionary = TopK(TopKConfig(directions.shape[1], len(directions), 4))
        dictionary.decoder.data = torch.as_tensor(directions, dtype=torch.float32)
        dictionary.save(folder / "dictionaries" / "concepts")
    return folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return folders: A; B, which has A's first 15 latents in another order with noise, and 9 of its own; strangers."""
    root, rng = tmp_path_factory.mktemp("compare"), np.random.default_rng(1)
    codes, directions = _codes(M, 0), rng.normal(size=(M, D))
    codes[:, M - 1] = 0  # a silent one
    own_codes, own = _codes(24, 2), rng.normal(size=(24, D))
    order = rng.permutation(24)
    mixed = np.hstack([codes[:, :15], own_codes[:, :9]]) * rng.uniform(0.9, 1.1, (N, 24))
    turned = np.vstack([directions[:15], own[:9]]) + 0.05 * rng.normal(size=(24, D))
    rows = rng.permutation(N)
    names = [f"cell{i}" for i in rows]
    wide = {"site": {"name": "wide", "width": 3}, "model": {"kind": "embedding"}}
    return {
        "order": order,
        "codes": (codes, mixed[:, order]),
        "directions": (directions, turned[order]),
        "a": _write(root / "a", codes, directions, SITE),
        "b": _write(root / "b", mixed[np.ix_(rows, order)], turned[order], SITE, names=names, seed=1),
        "elsewhere": _write(root / "elsewhere", own_codes, turned, SITE, names=[f"far{i}" for i in range(N)], seed=1),
        "embedded": _write(root / "embedded", mixed, own[:, :3], wide),
        "bare": _write(root / "bare", mixed, None, SITE),
        "stranger": _write(root / "stranger", own_codes, own[:, :3], wide, names=[f"odd{i}" for i in range(N)]),
    }


Open = Callable[[str], Any]


@pytest.fixture
def opened(planted: dict[str, Any]) -> Open:
    return lambda name: open_atlas(planted[name])


def _figures(found: Any, way: str) -> pd.DataFrame:
    return found.measures[found.measures["way"] == way].set_index("measure")


def test_a_planted_permutation_comes_back_by_both_ways(planted: dict[str, Any], opened: Open) -> None:
    found = compare(opened("a"), opened("b"))
    partners = found.pairs[found.pairs["partner"]]
    assert len(partners) == 15
    at = {int(latent): int(np.flatnonzero(planted["order"] == latent)[0]) for latent in range(15)}
    assert dict(zip(partners["a_latent"].astype(int), partners["b_latent"].astype(int), strict=True)) == at
    assert (partners[["coactivation", "cosine"]] > 0.95).all(axis=None)
    assert partners["a_concept"].iloc[0] == f"a {partners['a_latent'].iloc[0]}"
    assert partners["b_label"].iloc[0] == f"type {partners['b_latent'].iloc[0] % 3}"
    assert found.site == "site z of the same scvi model"
    assert found.cells.startswith("300 cells by name")
    assert found.notes == ["1 concepts of A are active in none of its cells and left out"]


def test_figures_equal_a_plain_loop(planted: dict[str, Any], opened: Open) -> None:
    found = compare(opened("a"), opened("b"), threshold=0.8)
    (x, y), (p, q) = planted["codes"], planted["directions"]
    x, p = x[:, : M - 1], p[: M - 1]
    correlation = np.corrcoef(x.T, y.T)[: M - 1, M - 1 :]
    cosine = (p / np.linalg.norm(p, axis=1)[:, None]) @ (q / np.linalg.norm(q, axis=1)[:, None]).T
    for way, similarity in (("activations", correlation), ("directions", cosine)):
        rows, columns = linear_sum_assignment(-similarity)
        pairs = similarity[rows, columns]
        good = pairs >= 0.8
        active_a, active_b = (x > 0).sum(axis=0), (y > 0).sum(axis=0)
        table = _figures(found, way)["value"]
        expected = {
            "matched": pairs.mean(),
            "best": (similarity.max(axis=0).mean() + similarity.max(axis=1).mean()) / 2,
            "above_0.7": (pairs >= 0.7).mean(),
            "above_0.8": good.mean(),
            "above_0.9": (pairs >= 0.9).mean(),
            "found_a": good.sum() / 19,
            "found_b": good.sum() / 24,
            "carried_a": active_a[rows[good]].sum() / active_a.sum(),
            "carried_b": active_b[columns[good]].sum() / active_b.sum(),
        }
        assert table.to_dict() == pytest.approx(expected, abs=1e-6)


def test_controls_are_what_chance_gives(opened: Open) -> None:
    found = compare(opened("a"), opened("b"))
    activations, directions = _figures(found, "activations"), _figures(found, "directions")
    assert activations.loc["matched", "control"] < 0.2
    assert activations.loc["above_0.7", "control"] == 0
    # random directions in 12 dimensions, 19 against 24, drawn here by the plain way; the shuffled dictionaries agree a
    # little more, since A and B share 15 latents and so their principal axes
    rng, drawn = np.random.default_rng(0), []
    for _ in range(20):
        p, q = rng.normal(size=(19, D)), rng.normal(size=(24, D))
        cosine = (p / np.linalg.norm(p, axis=1)[:, None]) @ (q / np.linalg.norm(q, axis=1)[:, None]).T
        drawn.append(cosine[linear_sum_assignment(-cosine)].mean())
    assert np.mean(drawn) - 0.03 < directions.loc["matched", "control"] < np.mean(drawn) + 0.12
    assert directions.loc["found_a", "control"] < 0.5 * directions.loc["found_a", "value"]
    assert found.measures["definition"].str.contains("control: ").all()


def test_data_sets_that_share_a_site_compare_by_directions(opened: Open) -> None:
    found = compare(opened("a"), opened("elsewhere"))
    assert set(found.measures["way"]) == {"directions"}
    assert found.pairs["coactivation"].isna().all()
    assert found.pairs["partner"].sum() >= 15
    assert found.cells == "no cell has a name in both"


def test_models_of_any_width_compare_by_the_cells_they_share(opened: Open) -> None:
    found = compare(opened("a"), opened("embedded"))
    assert set(found.measures["way"]) == {"activations"}
    assert found.pairs["cosine"].isna().all()
    assert found.pairs["partner"].sum() == 15
    assert found.site == "the sites have 12 and 3 dimensions"


def test_an_atlas_without_its_dictionary_compares_by_activations_and_says_so(opened: Open) -> None:
    found = compare(opened("a"), opened("bare"))
    assert set(found.measures["way"]) == {"activations"}
    assert "directions were not compared" in found.notes[0]
    assert "both dictionaries were trained from seed 0" in found.notes[1]


def test_every_live_concept_stands_once_in_the_table(planted: dict[str, Any], opened: Open) -> None:
    for name in ("b", "elsewhere", "embedded"):
        pairs = compare(opened("a"), opened(name)).pairs
        assert sorted(pairs["a_latent"].dropna()) == list(range(M - 1))
        assert sorted(pairs["b_latent"].dropna()) == list(range(24))
        similarity = pairs["coactivation"].fillna(pairs["cosine"]).dropna()
        assert similarity.is_monotonic_decreasing
        assert not pairs["partner"][pairs["a_latent"].isna() | pairs["b_latent"].isna()].any()


def test_an_atlas_agrees_with_itself(opened: Open) -> None:
    found = compare(opened("a"), opened("a"))
    assert found.pairs["partner"].all()
    assert (found.pairs["a_latent"] == found.pairs["b_latent"]).all()
    np.testing.assert_allclose(found.measures["value"], 1)


def test_the_same_seed_gives_the_same_figures(opened: Open) -> None:
    one, two = (compare(opened("a"), opened("b"), seed=3).to_dict() for _ in range(2))
    assert one == two


def test_what_cannot_be_compared_is_one_line(opened: Open) -> None:
    with pytest.raises(InputError, match="dimensions; for activations, 50 cells are needed in both, and no cell"):
        compare(opened("a"), opened("stranger"))
    with pytest.raises(InputError, match="--same-site cannot be: the sites have 12 and 3"):
        compare(opened("a"), opened("embedded"), same_site=True)
    for threshold in (0, -1, 1.5, float("nan")):
        with pytest.raises(InputError, match="threshold is"):
            compare(opened("a"), opened("b"), threshold=threshold)


def test_two_embeddings_compare_by_directions_if_told_so(planted: dict[str, Any], tmp_path: Path) -> None:
    uns = {"site": {"name": "X_uce", "width": D}, "model": {"kind": "embedding", "fingerprint": "aa"}}
    directions = planted["directions"][0]
    folders = [
        _write(tmp_path / name, _codes(M, seed), directions, uns, names=[f"{name}{i}" for i in range(N)])
        for seed, name in enumerate(("x", "y"))
    ]
    x, y = map(open_atlas, folders)
    with pytest.raises(InputError, match=r"nothing shows that one model made both.*--same-site"):
        compare(x, y)
    found = compare(x, y, same_site=True)
    assert found.pairs["partner"].all()
    assert "as told" in found.site


def test_the_command_prints_writes_and_changes_nothing(
    planted: dict[str, Any], command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [sha256(planted[name]) for name in "ab"]
    monkeypatch.chdir(tmp_path)
    status, shown, error = command(planted["a"], planted["b"], "--out", "pairs.csv")
    assert status == 0, error
    shown = shown.replace("\n", " ")
    for words in (
        "Site: site z of the same scvi model",
        "one-to-one pairs",
        "15 pairs with at least 0.7",
        "no partner",
    ):
        assert words in shown
    table = pd.read_csv(tmp_path / "pairs.csv", dtype={"a_latent": "Int32", "b_latent": "Int32"})
    expected = cellglass.compare(open_atlas(planted["a"]), open_atlas(planted["b"])).pairs
    assert table.columns.tolist() == expected.columns.tolist()
    np.testing.assert_allclose(table["coactivation"], expected["coactivation"])
    assert table["partner"].tolist() == expected["partner"].tolist()
    assert [sha256(planted[name]) for name in "ab"] == before


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the command in this process; return exit status, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cellglass", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


def test_the_command_gives_json(planted: dict[str, Any], command: Callable[..., Any]) -> None:
    status, out, _ = command(planted["a"], planted["b"], "--threshold", "0.5", "--json")
    told = json.loads(out)
    assert (status, told["threshold"]) == (0, 0.5)
    assert {record["measure"] for record in told["measures"]} >= {"matched", "above_0.5", "above_0.7", "found_a"}
    assert any(pair["a_latent"] is None for pair in told["pairs"])


def test_the_command_says_in_one_line_what_is_wrong(planted: dict[str, Any], command: Callable[..., Any]) -> None:
    for wrong, words in (("stranger", "cannot be compared"), ("b", "threshold is 7")):
        options = ["--threshold", "7"] if wrong == "b" else []
        status, out, err = command(planted["a"], planted[wrong], *options)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert words in err
