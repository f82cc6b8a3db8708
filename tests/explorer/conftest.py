"""Atlases for the explorer's tests: a full one of a consensus dictionary, one of a plain dictionary and other seeds,
one of gene tokens, one with hardly anything. None is a result.

Each is made once for all workers, so a test that writes into one copies it first.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from cellglass.activations import MemoryRows
from cellglass.atlas import open_atlas, write
from cellglass.atlas.read import Atlas
from cellglass.explorer import Tree
from once import once
from synthetic import make_atlas

FINDINGS = 18
"""Concepts of the full atlas; its latents from this one on are residual, and the last, 23, is silent."""


def add_pairs(folder: Path, n_cells: int, concepts: list[int], rng: np.random.Generator) -> None:
    rows = [
        {"concept": concept, "prototype": int(one), "partner": int(other), "kind": kind, "difference": rng.normal()}
        for concept in concepts
        for one in rng.choice(n_cells, 14, replace=False)
        for kind, others in (("real", rng.choice(n_cells, 3)), ("null", rng.choice(n_cells, 2)))
        for other in others
    ]
    write.write_pairs(folder, pd.DataFrame(rows))


def add_dictionary(folder: Path, n_latents: int) -> None:
    import torch

    from cellglass.dictionaries.baselines.random import RandomDirections

    axes = torch.randn(n_latents // 2, 16, generator=torch.Generator().manual_seed(3))
    RandomDirections(torch.zeros(16), axes, torch.linalg.pinv(axes).T).save(folder / "dictionaries" / "concepts")


def add_activations(folder: Path, n_cells: int, width: int = 16) -> None:
    """Add what the pipeline leaves in ``work/``, and the baselines that are fitted to it."""
    import torch

    from cellglass.activations import SiteBatch, Writer
    from cellglass.activations.manifest import StoredSite
    from cellglass.dictionaries.baselines.clusters import fit_clusters
    from cellglass.dictionaries.baselines.neurons import fit_neurons
    from cellglass.dictionaries.baselines.pca import fit_pca
    from cellglass.dictionaries.baselines.random import fit_random

    x = torch.randn(n_cells, width, generator=torch.Generator().manual_seed(4))
    writer = Writer(folder / "work" / "activations", n_cells, "synthetic", {"cell": StoredSite(width)}, 16_000)
    for start in range(0, n_cells, 200):
        stop = min(start + 200, n_cells)
        writer.add(stop, {"cell": SiteBatch(x[start:stop], np.arange(start, stop))})
    writer.close()
    rows = MemoryRows(x)
    fit_neurons(rows, np.arange(n_cells)).save(folder / "dictionaries" / "neurons")
    fit_random(rows, np.arange(n_cells)).save(folder / "dictionaries" / "random")
    fit_clusters(rows, np.arange(n_cells), 11).save(folder / "dictionaries" / "clusters")
    fit_pca(rows, np.arange(n_cells), 3).save(folder / "dictionaries" / "pca")


def add_tokens(folder: Path, atlas: Atlas, rng: np.random.Generator) -> None:
    genes = atlas.expression.var
    rows = pd.DataFrame(
        {
            "concept": np.repeat(atlas.concepts.var["latent"].to_numpy(), 70),
            "gene": np.tile(genes.index[:70], atlas.concepts.n_vars),
            "symbol": np.tile(genes["symbol"][:70], atlas.concepts.n_vars),
            "n": 9,
        }
    )
    for name in ("mean", "active", "part"):
        rows[name] = rng.random(len(rows))
    write.write_tokens(folder, rows)
    table = atlas.concepts
    var = table.var.assign(gene_identity=rng.random(table.n_vars).astype("float32"))
    shutil.rmtree(folder / "concepts.zarr")
    write.write_concepts(folder, table.X, table.obs, table.obsm["X_umap"], var, table.uns)


def add_foreign(folder: Path) -> None:
    """Add what another package may bring: a method, a test, and a basis that no part of cellglass knows."""
    atlas = open_atlas(folder)
    genes, pathways = atlas.genes(), atlas.pathways()
    more = genes[genes["method"] == "swap"].assign(method="a-new-one")
    write.write_genes(folder, [genes, more])
    tested = pathways[pathways["test"] == "gsea"].assign(test="fisher", ranking="a-new-one")
    write.write_pathways(folder, [pathways, tested])
    records = atlas.evaluation.reset_index().to_dict("records")
    known = {record["metric"]: record for record in records}
    for name, like in {
        "annotation.hallmark.fisher": "annotation.hallmark.gsea",
        "alignment.cell type.CD19+ B cells.a-new-one": "alignment.cell type.CD19+ B cells.pca",
    }.items():
        records.append({**known[like], "metric": name})
    write.write_evaluation(folder, records)


CIRCUIT = "B-cell_in_cell-0"
"""The circuit of the full atlas that carries everything; ``by-hand`` has little, ``un-readable`` cannot be read."""


CLASS_CIRCUIT = "classes/B-cell"


def add_circuits(folder: Path) -> None:
    """Add a graph of a drawn network with all that a graph may carry, a small one, one of a class, and no graph."""
    from cellglass.circuits.classes.files import write_class
    from cellglass.circuits.details import Example, feature_details, write_feature_details
    from cellglass.circuits.json import write_graph
    from cellglass.circuits.meanings import named
    from circuits.classes.made import circuit
    from circuits.graphs import by_hand, with_heads

    graph = with_heads("gpt_neox", tokens=10, answers=2)
    strongest = graph.nodes.iloc[int(np.argmax(graph.influence() * (graph.nodes["kind"] == "feature")))]
    graph = named(graph, {(int(strongest["layer"]), int(strongest["feature"])): "fires on CD79A, MS4A1"})
    rows = [{"of": "random transcoders", "replacement": 0.61, "replacement_sd": 0.02, "n": 5, "completeness": 0.7}]
    curve = [
        {"test": test, "run": run, "size": size, "share": size / 1100, "random": size / 4000, "random_low": 0.0}
        for test in ("kept", "lost")
        for run in ("live", "frozen")
        for size in (10, 100, 1000)
    ]
    graph.about.update(
        title="B cell against T cell in cell-0", cell="cell-0", target="B cell", against="T cell", answer=1.5,
        scores=graph.scores()._asdict(), bare=graph.bare().scores()._asdict(), controls=rows, faithfulness=curve,
        genes=[{"gene": "CD79A", "total": 0.5, "direct": 0.25, "deletion": None}],
    )  # fmt: skip
    write_graph(graph, folder / "circuits" / f"{CIRCUIT}.json")
    concept = replace(by_hand(), about={"target": "concept:3"})
    write_graph(concept, folder / "circuits" / "by-hand.json")
    write_class(circuit(), folder / "circuits" / f"{CLASS_CIRCUIT}.json")
    (folder / "circuits" / "un-readable.json").write_text('{"format": "cellglass-circuit", "version": 1}')
    layer, feature = map(int, graph.nodes.iloc[graph.of_kind("feature")[-1]][["layer", "feature"]])
    example = Example(["List", " CD79A", " <i>LYZ"], [0.0, 2.0, 1.0])
    details = feature_details(layer, feature, {"Top": [example]}, [1.0, 2.0], n_tokens=90, top=["B cell"])
    write_feature_details(details, folder / "circuits" / "features")


@pytest.fixture(scope="session")
def full_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        make_atlas(folder)
        add_pairs(folder, 700, list(range(FINDINGS)), np.random.default_rng(1))
        add_dictionary(folder, 24)
        add_activations(folder, 700)
        add_circuits(folder)

    return once(tmp_path_factory, "full atlas", make)


@pytest.fixture(scope="session")
def seeds_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain dictionary that was trained from five seeds."""
    return once(tmp_path_factory, "atlas of seeds", lambda folder: make_atlas(folder, n_cells=300, by="seeds"))


@pytest.fixture(scope="session")
def token_folder(full_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        shutil.copytree(full_folder, folder)
        add_tokens(folder, open_atlas(folder), np.random.default_rng(2))

    return once(tmp_path_factory, "atlas of tokens", make)


@pytest.fixture(scope="session")
def bare_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One seed, no counts, no genes, no gene sets, no pairs, no dictionary."""

    def make(folder: Path) -> None:
        make_atlas(folder, n_cells=90, hostile=True)
        shutil.rmtree(folder / "expression.zarr")
        for name in ("genes", "pathways"):
            (folder / f"{name}.parquet").unlink()
        manifest = json.loads((folder / "manifest.json").read_text())
        outputs = manifest["stages"]["all"]["outputs"]
        manifest["stages"]["all"]["outputs"] = {name: outputs[name] for name in ("concepts.zarr", "evaluation.json")}
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return once(tmp_path_factory, "bare atlas", make)


@pytest.fixture(scope="session")
def atlas(full_folder: Path) -> Atlas:
    return open_atlas(full_folder)


@pytest.fixture(scope="session")
def tree(atlas: Atlas) -> Tree:
    return Tree(atlas)


@pytest.fixture(scope="session")
def read(tree: Tree) -> Any:
    """Return a function that reads a JSON file of the tree."""
    return lambda path: json.loads(tree.get(path))


@pytest.fixture(scope="session")
def genes(read: Any) -> pd.DataFrame:
    """The table of genes that numbers refer to."""
    table = read("data/genes.json")
    return pd.DataFrame({"id": table["id"], "symbol": table["symbol"]})


class Tried(NamedTuple):
    """An atlas that keeps a small fitted Cell2Sentence and its cells, transcoders of it, and what was traced with them.

    Attributes
    ----------
    circuit, of_class : str
        Names of a circuit of one cell, and of one of a class.
    """

    folder: Path
    transcoders: Path
    circuit: str
    of_class: str


B, MONO = "CD19+ B cells", "CD14+ monocytes"


@pytest.fixture(scope="session")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    from cellglass.atlas import schema
    from cellglass.cells.store import write_cells
    from cellglass.circuits import class_circuit, trace, write_class, write_graph
    from cellglass.circuits.answers import frozen_cell, question
    from cellglass.circuits.transcoders import Transcoders, fingerprint_of
    from cellglass.models.cell2sentence.model import Cell2SentenceModel
    from circuits.networks import transcoders
    from synthetic import make_cells

    folder = tmp_path_factory.mktemp("tried")
    atlas = make_atlas(folder / "atlas", n_cells=60, n_concepts=8)
    cells = make_cells(60, np.random.default_rng(0))[0]
    model = Cell2SentenceModel.fit(
        cells, layers=2, width=16, heads=2, epochs=1, labels="cell type", n_genes=12, vocabulary=400
    )
    model.save(atlas / schema.MODEL)
    write_cells(cells, atlas / schema.CELLS)
    one = model.align(cells[:1])
    drawn = transcoders(frozen_cell(model, question(model, one, B, MONO).tokens), latents=32, k=4)
    made = Transcoders(model.kind, fingerprint_of(model), 2, tuple(drawn), labels="cell type")
    made.save(folder / "transcoders")
    graph = trace(model, cells, "cell-0", made, B, MONO, features=60, delete=False)
    (atlas / "circuits" / "classes").mkdir(parents=True)
    write_graph(graph, atlas / "circuits" / "B_in_cell-0.json")
    circuit = class_circuit(model, cells, B, made, labels="cell type", n_cells=2, features=60)
    write_class(circuit, atlas / "circuits" / "classes" / "B.json")
    return Tried(atlas, folder / "transcoders", "B_in_cell-0", "classes/B")
