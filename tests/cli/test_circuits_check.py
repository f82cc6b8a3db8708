"""Circuits held against biology on the command line: tables, what is said, resumed, and wrong use in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from cellglass.circuits.transcoders import Transcoders, fingerprint_of
from circuits.models import NAMES, cells_of, model_of, transcoders_of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of cells, a model, its transcoders and known pairs."""
    folder = tmp_path_factory.mktemp("check")
    cells = cells_of(10)
    cells.obs["guide"] = ["control"] * 6 + ["LYZ", "CD3D", "FTL", "B2M"]
    cells.to_anndata().write_h5ad(folder / "my.h5ad")
    model = model_of("gpt_neox")
    model.save(folder / "model")
    made = Transcoders(model.kind, fingerprint_of(model), 2, tuple(transcoders_of("gpt_neox")), labels="type")
    made.save(folder / "traced")
    rows = [("cd79a", "LYZ", "Activation"), ("CD3D", "FTL", "Repression"), ("LYZ", "B2M", "Activation"),
            ("CD79A", "FTL", "Unknown"), ("SPI1", "CD14", "Activation")]  # fmt: skip
    (folder / "pairs.tsv").write_text("".join("\t".join([*row, "1"]) + "\n" for row in rows))
    return folder


def check(command, place, *more):
    options = ("--cells", place / "my.h5ad", "--transcoders", place / "traced", "--n-cells", "4", "--draws", "50")
    return command("circuits", "check", place / "model", *options, *more)


def test_pairs_become_a_table_of_scores_and_one_of_edges(command, place, tmp_path) -> None:
    out = tmp_path / "check.csv"
    more = ("--pairs", place / "pairs.tsv", "--target", "B cell", "--against", "T cell", "--perturbation", "guide")
    status, text, err = check(command, place, *more, "--out", out)
    assert status == 0, err
    table = pd.read_csv(out, index_col="of")
    assert table.index.tolist() == ["effect", "co-expression", "effect without co-expression"]
    flat = " ".join(text.split())
    assert f"4 known pairs beside {table['others'].iloc[0]} others of the same genes, over 4 cells" in flat
    assert "Left out: 1 pairs of 2 genes that model and cells do not both have, 0 that no cell reads together." in flat
    line = next(line.split() for line in text.splitlines() if line.startswith("effect "))
    assert f"{table.loc['effect', 'signs']:.3f} of 3" in flat
    assert line[1:3] == [f"{table.loc['effect', name]:.3f}" for name in ("auroc", "auroc_null")]
    assert "Knock-outs, B cell: Spearman's correlation of effect and deletion" in flat
    edges = pd.read_csv(tmp_path / "check.edges.csv")
    assert set(edges["source"]) == {"CD79A", "LYZ", "CD3D", "FTL", "B2M"}
    names = ["check.csv", "check.edges.csv", "check.knockouts.csv", "check.knockouts.scores.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert pd.read_csv(tmp_path / "check.knockouts.csv", index_col="gene").loc["LYZ", "perturbed"] == 1


def test_json_is_for_machines_and_genes_and_cells_may_be_named(command, place, tmp_path) -> None:
    more = ("--genes", "cd79a,LYZ,CD3D,FTL", "--class", "B cell", "--json", "--out", tmp_path / "check.csv")
    status, text, err = check(command, place, "--pairs", place / "pairs.tsv", *more)
    assert status == 0, err
    found = json.loads(text)
    assert found["scores"][0]["of"] == "effect"
    assert found["scores"][0]["pairs"] == 3
    assert (found["missing"], found["left_out"], found["cells"]) == (["B2M", "SPI1", "CD14"], 2, 4)
    assert "knockouts" not in found


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--out", "check.txt"), "end the file's name in .csv"),
        (("--out", "check.csv", "--perturbation", "guide"), "--perturbation: it goes with --target"),
        (("--out", "check.csv", "--pairs", "none.tsv"), "none.tsv cannot be read"),
        (("--out", "check.csv", "--genes", NAMES[0]), "none of its"),
        (("--out", "check.csv", "--class", "C cell"), "no cell has 'C cell'"),
        (("--out", "check.csv", "--target", "C cell"), "no cell has 'C cell'"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(more, named, command, place, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = () if "--pairs" in more else ("--pairs", place / "pairs.tsv")
    status, _, err = check(command, place, *pairs, *more)
    assert status == 2
    assert named in err
    assert err.splitlines()[-1].startswith("cellglass: ")
    assert not list(tmp_path.iterdir())
