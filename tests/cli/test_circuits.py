"""The commands of circuits, from a model and a file to transcoders and a table; wrong use in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from cellglass.atlas import open_atlas, schema
from cellglass.atlas.write import write_concepts, write_evaluation
from cellglass.cells import read_cells
from cellglass.cells.cells import Cells
from cellglass.circuits import groups_of, load_transcoders, read_graph
from cellglass.dictionaries import TopK, TopKConfig
from cellglass.models.cell2sentence.model import Cell2SentenceModel
from cellglass.pipeline.workspace import MODEL
from short import few_steps


@pytest.fixture(scope="module", autouse=True)
def short_training() -> Iterator[None]:
    """Train for a moment: what is looked at here is what is written and said."""
    with few_steps(100):
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of cells, a model, an atlas with that model, and one without."""
    folder = tmp_path_factory.mktemp("circuits")
    rng = np.random.default_rng(0)
    kind = np.arange(30) % 2
    counts = rng.poisson(np.where(np.arange(12) % 2 == kind[:, None], 2.0, 0.3)).astype(np.float32)
    counts[:, 0] += 1
    genes = pd.DataFrame({"symbol": [f"GENE{i}" for i in range(12)]}, index=[f"GENE{i}" for i in range(12)])
    obs = pd.DataFrame({"type": np.where(kind, "B cell", "T cell")}, index=[f"cell{i}" for i in range(30)])
    cells = Cells(sp.csr_matrix(counts), genes, obs)
    cells.to_anndata().write_h5ad(folder / "my.h5ad")
    model = Cell2SentenceModel.fit(
        cells, layers=2, width=16, heads=2, epochs=1, labels="type", n_genes=8, vocabulary=300
    )
    model.save(folder / "model")
    for atlas in ("atlas", "bare"):
        (folder / atlas).mkdir()
        (folder / atlas / "manifest.json").write_text(json.dumps({"schema_version": 1, "stages": {}}))
    model.save(folder / "atlas" / MODEL)
    return folder


def train(command, place, out, *more, model="model"):
    options = ("--cells", place / "my.h5ad", "--out", out, "--latents", "16", "--k", "2", "--rows", "300")
    return command("circuits", "train", place / model, *options, *more)


def test_a_model_and_a_file_become_transcoders_and_a_table(command, place) -> None:
    status, out, err = train(command, place, place / "t", "--labels", "type")
    assert status == 0, err
    made = load_transcoders(place / "t")
    assert (made.k, made.n_latents, made.labels) == (2, 16, "type")
    lines = out.splitlines()
    heads = [line.split() for line in lines if "share kept" in line and "replaced" in line and "L0" in line]
    assert heads == 2 * [["layers", "as", "is", "replaced", "removed", "share", "kept", "L0", "dead", "error"]]
    rows = [line.split()[0] for line in lines if line[:3] in ("0  ", "1  ", "1+ ", "all")]
    assert rows == 2 * ["0", "1", "1+", "all"]
    assert "the sentence's genes (nats a token), 3 cells held out" in out
    assert "the label (nats a cell)" in out
    assert lines[-1] == f"Wrote {place / 't'}"
    assert "read the MLPs" in err
    assert "transcoder of layer 1" in err
    # The same again, with the model that an atlas keeps, has nothing left to do.
    status, again, err = train(command, place, place / "t", "--labels", "type", "--json", model="atlas")
    table = pd.read_csv(place / "t" / "loss.csv")
    found = json.loads(again)
    assert (status, err) == (0, "")
    assert [row["replaced"] for row in found["losses"]] == pytest.approx(table["replaced"].tolist())
    assert [row["kept"] is None for row in found["losses"]] == table["kept"].isna().tolist()
    status, out, err = train(command, place, place / "t", "--labels", "type", "--seed", "1")
    assert (status, out) == (2, "")
    assert "holds transcoders of other cells, another model" in err


def test_training_needs_no_disk(command, place, tmp_path) -> None:
    status, out, err = train(command, place, tmp_path / "t", "--labels", "type", "--stream")
    assert status == 0, err
    assert "transcoders of all layers" in err
    assert "the label (nats a cell)" in out
    assert load_transcoders(tmp_path / "t").labels == "type"


@pytest.mark.parametrize(
    ("more", "model", "named"),
    [
        ((), "bare", "no longer keeps its model"),
        ((), "nowhere", "nowhere"),
        (("--labels", "celltypo"), "model", "celltypo"),
        (("--kind", "gated"), "model", "topk, batchtopk, jumprelu"),
        (("--cross-layer", "--skip"), "model", "has no skip"),
        (("--k", "99"), "model", "k is 99"),
        (("--rows", "0"), "model", "n_rows is 0"),
        (("--rows", "many"), "model", "--rows"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(more, model, named, command, place, tmp_path) -> None:
    status, out, err = train(command, place, tmp_path / "t", *more, model=model)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("cellglass: ")
    assert named in err
    assert not (tmp_path / "t").exists()


def test_a_model_without_mlps_and_a_full_folder_are_refused(command, place, tmp_path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "thesis.txt").write_text("precious")
    status, _, err = train(command, place, tmp_path / "t")
    assert status == 2
    assert "holds other files (thesis.txt" in err
    from cellglass.models.embedding import EmbeddingModel

    EmbeddingModel(pd.DataFrame({"symbol": ["A"]}, index=["A"]), {"X": 2}).save(tmp_path / "embedding")
    status, _, err = train(command, place, tmp_path / "u", model=tmp_path / "embedding")
    assert status == 2
    assert "has no MLPs" in err


def test_help_teaches(command) -> None:
    status, out, _ = command("circuits", "train", "--help")
    assert status == 0
    assert "Example" in out
    assert "--cross-layer" in out
    assert "circuits" in command("--help")[1]


def trace(command, place, *more, model="model", cell="cell0", target="B cell"):
    options = ("--cells", place / "my.h5ad", "--transcoders", place / "traced", "--features", "15", "--target", target)
    return command("trace", place / model, *options, "--cell", cell, *more)


@pytest.fixture(scope="module")
def traced(place: Path) -> Path:
    """Transcoders of the model."""
    from cellglass.circuits import train_transcoders

    model = Cell2SentenceModel.load(place / "model")
    cells = read_cells(place / "my.h5ad", columns=["type"])
    train_transcoders(model, cells, place / "traced", latents=16, k=2, labels="type", n_rows=300)
    return place / "traced"


@pytest.mark.usefixtures("traced")
def test_a_cell_and_a_question_become_a_graph_a_picture_and_genes(command, place, tmp_path) -> None:
    more = ("--against", "T cell", "--out", tmp_path / "g.json", "--controls", "1", "--neuronpedia", tmp_path / "np")
    status, out, err = trace(command, place, *more)
    assert status == 0, err
    graph = read_graph(tmp_path / "g.json")
    assert graph.about["title"] == "B cell against T cell in cell0"
    assert len(graph.of_kind("feature")) == 15
    first = out.splitlines()[0]
    assert "features are active on this cell; effects on 16 nodes in about 2 walks back" in first
    assert f"B cell against T cell in cell0: {graph.about['answer']:+.3f}" in out
    gene = graph.about["genes"][0]
    row = next(line.split() for line in out.splitlines() if line.startswith(gene["gene"] + " "))
    assert row[1:3] == [f"{gene['total']:+.3f}", f"{gene['direct']:+.3f}"]
    assert "Strongest paths:" in out
    for of in ("graph", "no feature at all", "random transcoders", "rewired"):
        assert of in out.replace("\n", " ")
    assert {row["of"] for row in graph.about["controls"]} >= {"graph", "bare", "random transcoders", "rewired"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.csv", "g.json", "g.svg", "np"]
    assert (tmp_path / "np" / "cell0.json").is_file()


@pytest.mark.usefixtures("traced")
def test_what_changes_without_a_gene_is_a_table_beside_the_graph(command, place, tmp_path) -> None:
    to = ("--against", "T cell", "--no-delete", "--out", tmp_path / "g.json")
    status, out, err = trace(command, place, *to, "--without", "all")
    assert status == 0, err
    genes = pd.read_csv(tmp_path / "g.without-all.csv", index_col="gene")
    parts = genes[["features", "errors", "tokens", "rest"]].sum(axis=1)
    np.testing.assert_allclose(parts, genes["deletion"], atol=1e-5)
    status, out, err = trace(command, place, *to, "--without", genes.index[0])
    assert status == 0, err
    assert f"Without {genes.index[0]} the answer loses {genes['deletion'].iloc[0]:+.3f}" in out
    features = pd.read_csv(tmp_path / f"g.without-{genes.index[0]}.csv")
    assert features["effect"].sum() == pytest.approx(genes["features"].iloc[0], abs=1e-5)
    status, _, err = trace(command, place, *to, "--without", "NOBODY")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "the model does not read NOBODY of this cell" in err


@pytest.mark.usefixtures("traced")
def test_json_is_for_machines_and_an_atlas_keeps_its_graphs(command, place) -> None:
    status, out, err = trace(command, place, "--no-delete", "--json", model="atlas", target="gene:GENE1")
    assert status == 0, err
    found = json.loads(out)
    (kept,) = open_atlas(place / "atlas", unfinished=True).circuits.items()
    assert kept[0].startswith("cell0_gene-GENE1_")
    assert found["files"][0] == str(place / "atlas" / "circuits" / f"{kept[0]}.json")
    assert kept[1].about["answer"] == found["answer"]
    assert list(found["genes"][0]) == ["gene", "total", "direct"]


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--out", "g.txt"), "end the file's name in .json"),
        (("--out", "g.json", "--against", "C cell"), "no cell has 'C cell' in column 'type'"),
        (("--out", "g.json", "--cell", "nobody"), "there is no cell 'nobody'"),
        ((), "is a model and no atlas; say with --out where"),
        (("--out", "g.json", "--labels", "type"), "--labels: it goes with --class; leave it out"),
        (("--out", "g.json", "--faithfulness", "2"), "--faithfulness: it goes with --class"),
        (("--out", "g.json", "--groups", "nowhere.json"), "nowhere.json: there is no such file; say auto, or write it"),
        (("--out", "g.json", "--transcoders", "nowhere"), "nowhere"),
        (("--out", "g.json", "--cells", "nowhere.h5ad"), "nowhere.h5ad"),
    ],
)
def test_wrong_questions_are_one_line(more, named, command, place, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = trace(command, place, *more)
    assert status == 2
    assert named in err
    assert err.splitlines()[-1].startswith("cellglass: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("traced")
def test_a_direction_of_a_file_is_asked_at_a_site(command, place, tmp_path) -> None:
    np.savetxt(tmp_path / "probe.csv", np.linspace(-1, 1, 16))
    asked = {"target": f"direction:{tmp_path / 'probe.csv'}"}
    more = ("--no-delete", "--out", tmp_path / "g.json", "--patterns", "linear", "--site", "layers.0.resid")
    status, out, err = trace(command, place, *more, "--at", "GENE0", **asked)
    assert status == 0, err
    about = read_graph(tmp_path / "g.json").about
    assert (about["target"], about["patterns"]) == ("direction probe at layers.0.resid of GENE0", "linear")
    assert "Attention patterns are linearised" in out
    for options, words in [
        (more[:5], "say with --site where in the model the direction is"),
        ((*more, "--at", "GENE99"), "has no gene 'GENE99'"),
    ]:
        status, out, err = trace(command, place, *options, **asked)
        assert (status, out) == (2, "")
        assert words in err
    status, _, err = trace(command, place, *more, target="concept:1")
    assert status == 2
    assert "no atlas, so it has no concepts" in err


@pytest.mark.usefixtures("traced")
def test_a_concept_of_an_atlas_is_traced_into_the_atlas(command, place, tmp_path) -> None:
    folder = tmp_path / "atlas"
    shutil.copytree(place / "atlas", folder, ignore=shutil.ignore_patterns("circuits"))
    dictionary = TopK(TopKConfig(16, 4, 2)).freeze()
    dictionary.encoder.copy_(torch.randn(4, 16, generator=torch.Generator().manual_seed(0)))
    dictionary.save(folder / schema.DICTIONARIES / "concepts")
    blank = {name: [""] * 4 if kind == "str" else np.zeros(4) for name, kind in schema.CONCEPT_COLUMNS.items()}
    var = pd.DataFrame({**blank, "latent": np.arange(4)}, index=["a", "b", "c", "d"])
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(30)])
    write_concepts(folder, sp.csc_matrix((30, 4)), obs, np.zeros((30, 2)), var, {schema.UNS_SITE: "cell"})
    write_evaluation(folder, [])
    status, out, err = trace(command, place, "--no-delete", "--against", "concept:d", model=folder, target="concept:2")
    assert status == 0, err
    ((name, graph),) = open_atlas(folder).circuits.items()
    assert f"Wrote {folder / 'circuits' / name}.json" in out
    assert name.startswith("cell0_concept-2-at-cell_concept-3-at-cell_")
    model = Cell2SentenceModel.load(place / "model")
    x = model.activations(model.align(read_cells(place / "my.h5ad")[:1]), ["cell"])["cell"]
    own = dictionary.preactivations(x)[0]
    assert graph.about["answer"] == pytest.approx(float(own[2] - own[3]), rel=1e-3, abs=1e-3)


@pytest.mark.usefixtures("traced")
def test_a_model_alone_holds_no_cells(command, place, tmp_path) -> None:
    options = ("--transcoders", place / "traced", "--cell", "cell0", "--target", "B cell", "--out", tmp_path / "g.json")
    status, _, err = command("trace", place / "model", *options)
    assert (status, err.count("\n")) == (2, 1)
    assert "is no atlas, so it holds no cells; give --cells" in err
    status, _, err = command("trace", place / "atlas", *options)
    assert "no longer keeps its cells" in err


@pytest.mark.usefixtures("traced")
def test_groups_are_kept_with_the_graph_of_a_cell(command, place, tmp_path) -> None:
    status, _, err = trace(command, place, "--out", tmp_path / "g.json", "--no-delete", "--groups", "auto")
    assert status == 0, err
    found = groups_of(read_graph(tmp_path / "g.json").about)
    assert all(len(one.members) > 1 for one in found)
    assert "groups" in read_graph(tmp_path / "g.json").about


@pytest.mark.usefixtures("traced")
def test_neither_a_cell_nor_a_class_is_one_line(command, place, tmp_path) -> None:
    options = ("--cells", place / "my.h5ad", "--transcoders", place / "traced", "--out", tmp_path / "g.json")
    status, _, err = command("trace", place / "model", *options)
    assert (status, err.count("\n")) == (2, 1)
    assert "say with --cell and --target which cell is asked what, or with --class which cells" in err
