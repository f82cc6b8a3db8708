"""The commands of circuits, from a model and a file to transcoders and a table; wrong use in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.cells.cells import Cells
from cellglass.circuits import load_transcoders
from cellglass.models.cell2sentence.model import Cell2SentenceModel
from cellglass.pipeline.workspace import MODEL


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
    assert "of another training" in err


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
