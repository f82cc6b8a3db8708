"""The circuit of a class on the command line: what is written and said, resumed, and wrong use in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cellglass.circuits import read_class
from cellglass.pipeline.workspace import MODEL
from circuits.classes.made import donor_cells, transcoders
from circuits.models import model_of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of cells of three donors, a model, its transcoders, and an atlas with the model."""
    folder = tmp_path_factory.mktemp("classes")
    donor_cells().to_anndata().write_h5ad(folder / "my.h5ad")
    model = model_of("gpt_neox")
    model.save(folder / "model")
    (folder / "atlas").mkdir()
    (folder / "atlas" / "manifest.json").write_text(json.dumps({"schema_version": 1, "stages": {}}))
    model.save(folder / "atlas" / MODEL)
    transcoders().save(folder / "traced")
    return folder


def traced(command, place, *more, model="model", label="B cell"):
    options = ("--cells", place / "my.h5ad", "--transcoders", place / "traced", "--features", "15", "--n-cells", "4")
    return command("trace", place / model, *options, "--class", label, *more)


def test_a_class_becomes_a_circuit_tables_and_a_picture(command, place, tmp_path) -> None:
    (tmp_path / "groups.json").write_text(json.dumps({}))
    out = tmp_path / "b.json"
    more = ("--against", "T cell", "--labels", "type", "--batch", "donor", "--out", out, "--faithfulness", "2")
    status, text, err = traced(command, place, *more, "--groups", "auto", "--neuronpedia", tmp_path / "np")
    assert status == 0, err
    found = read_class(out)
    about = found.about
    assert text.splitlines()[0].startswith("8 cells, about 2 walks back each and ")
    assert "for 7 others." in text.splitlines()[0]
    assert "B cell against T cell in 4 cells of B cell: " in text
    assert "over 3 donors" in text
    assert "differences are within donors" in " ".join(text.split())
    assert (about["class"], about["other"], about["batch"], about["units"]) == ("B cell", "T cell", "donor", [3, 3])
    head = next(line.split() for line in text.splitlines() if line.startswith("gene "))
    assert head == ["gene", "share", "effect", "±", "sd", "T", "cell", "difference", "±", "se"]
    gene = found.genes("difference").iloc[0]
    row = next(line.split() for line in text.splitlines() if line.startswith(gene.name + " "))
    assert row[1:3] == [f"{gene['share']:.2f}", f"{gene['effect']:+.3f}"]
    flat = " ".join(text.split())
    for said in (
        "Strongest paths of the mean graph:",
        "Share kept in 2 other cells of what features do to the answer",
        "groups of",
    ):
        assert said in flat or (said == "groups of" and not about["groups"])
    assert {row["run"] for row in about["faithfulness"]} == {"live", "frozen"}
    names = ["b.edges.csv", "b.json", "b.nodes.csv", "b.svg", "groups.json", "np"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    held = json.loads((tmp_path / "np" / "B-cell.json").read_text())
    assert len(held["qParams"]["supernodes"]) <= len(about["groups"])


def test_json_is_for_machines_and_an_atlas_keeps_its_classes(command, place) -> None:
    more = ("--json", "--target", "gene:LYZ", "--without", "all")
    status, out, err = traced(command, place, *more, model="atlas", label="T cell")
    assert status == 0, err
    found = json.loads(out)
    assert found["files"][0] == str(place / "atlas" / "circuits" / "classes" / "T-cell.json")
    circuit = read_class(found["files"][0])
    assert (circuit.has_other, circuit.about["target"]) == (False, "gene:LYZ")
    assert [one["gene"] for one in found["genes"]] == circuit.genes().index.tolist()
    assert [row["of"] for row in found["stability"]] == [row["of"] for row in circuit.about["stability"]]
    assert [row["gene"] for row in found["without"]] == circuit.without["gene"].tolist()
    assert found["genes"][0]["lost"] == circuit.genes()["lost"].iloc[0]


def test_groups_by_hand_are_kept(command, place, tmp_path) -> None:
    status, _, err = traced(command, place, "--out", tmp_path / "a.json")
    assert status == 0, err
    some = [f"L{layer}/{number}" for layer, number in read_class(tmp_path / "a.json").features()[:2]]
    (tmp_path / "groups.json").write_text(json.dumps({"mine": some}))
    more = ("--groups", tmp_path / "groups.json", "--without", "all")
    status, out, err = traced(command, place, "--out", tmp_path / "b.json", *more)
    assert status == 0, err
    found = read_class(tmp_path / "b.json").without
    lines = out.splitlines()
    passes = next(line for line in lines if line.startswith("Each gene of 4 cells is deleted in turn: "))
    assert f"{round(found['read'].sum() * 4)} runs of the model, there and back" in passes
    first = lines[next(i for i, line in enumerate(lines) if line.startswith("gene, deleted ")) + 1].split()
    assert first[:3] == [found["gene"][0], f"{found['share'][0]:.2f}", f"{found['features'][0]:+.3f}"]
    assert "1 groups of features: mine (2)." in out
    assert "mine" in (tmp_path / "b.svg").read_text()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--out", "g.txt"), "end the file's name in .json"),
        (("--out", "g.json", "--cell", "c0"), "--cell: a class circuit is of many cells"),
        (("--out", "g.json", "--controls", "1"), "--controls: a class circuit is of many cells"),
        (("--out", "g.json", "--no-delete"), "--no-delete: a class circuit is of many cells"),
        (("--out", "g.json", "--without", "LYZ"), "--without LYZ: of a class each gene is deleted in turn; say --wi"),
        (("--out", "g.json", "--against", "C cell"), "no cell has 'C cell' in column 'type'"),
        (("--out", "g.json", "--batch", "donors"), "donors"),
        ((), "is a model and no atlas; say with --out where"),
    ],
)
def test_wrong_questions_are_one_line(more, named, command, place, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = traced(command, place, *more)
    assert status == 2
    assert named in err
    assert err.splitlines()[-1].startswith("cellglass: ")
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".json"]
