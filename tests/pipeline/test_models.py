"""Every model goes through the whole pipeline: fitted transformers, published folders, and networks of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cellglass import models
from cellglass.atlas.summary import summarize
from cellglass.cells import Simulated, demo_cells
from cellglass.errors import InputError
from cellglass.models import ModuleModel
from cellglass.models.registry import fittable
from cellglass.pipeline.config import make_config
from cellglass.pipeline.explain import STAGES, run_pipeline
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.workspace import open_explained, open_model

FEW = {"prototypes": 4, "partners": 2, "genes": 5}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [name for name in fittable() if name != "scvi"])
def test_a_fitted_transformer_gets_the_evaluation_of_the_main_job(kind: str, tmp_path: Path) -> None:
    config = make_config({
        "cells": {"labels": ["bulk_labels"]},
        "model": {"path": kind, "layers": 2, "width": 32, "epochs": 2},
        "dictionary": {"seeds": 2, "pairs": 3},
        "attribution": FEW,
        "enrichment": {"permutations": 100},
    })  # fmt: skip
    atlas = run_pipeline(demo_cells()[:300], config, tmp_path / "atlas", report=True)
    names = set(atlas.evaluation.index)
    assert {"fidelity.variance_explained", "fidelity.l0", "fidelity.dead_share"} <= names
    assert {f"probe.bulk_labels.{of}" for of in ("concepts", "site", "counts")} <= names
    assert {f"alignment.bulk_labels.Dendritic.{basis}" for basis in ("concepts", "neurons", "pca", "ica")} <= names
    assert {"reproducibility.concepts", "reproducibility.clusters", "stability.random"} <= names
    assert {"annotation.bundled.gsea", "annotation.bundled.ora"} <= names
    assert set(atlas.genes()["method"]) == {"path", "swap", "knockout", "de"}
    assert 0.0 <= atlas.evaluation.loc["attribution.path.gap", "value"] < 0.05
    assert {"attribution.screen.recall", "attribution.screen.share"} <= names
    assert atlas.evaluation.loc["attribution.screen.share", "value"] <= 0.1
    assert atlas.genes(method="swap", on="activation").groupby("concept").size().max() <= 5
    coverage = summarize(atlas)["coverage"]
    assert coverage["missing"] == 0
    assert coverage["unknown"] == (1 if kind == "geneformer" else 0)  # of a gene that no cell counts it has no median
    assert coverage["found"] + coverage["unknown"] == 765
    assert (tmp_path / "atlas" / "report.html").stat().st_size > 100_000
    # What was fitted is in the published layout: it is a folder like any other.
    again = models.load(tmp_path / "atlas" / "work" / "model")
    assert again.kind == kind
    same = make_config({"model": {"path": str(tmp_path / "atlas" / "work" / "model")}})
    run = Run(tmp_path / "other", same, {"cells": demo_cells()[:50]})
    run_stages(run, STAGES[:2])
    assert open_model(run).fingerprint() == again.for_cells(demo_cells()[:50]).fingerprint()


class Autoencoder(nn.Module):
    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_genes, 24), nn.ReLU(), nn.Linear(24, 6))
        self.decoder = nn.Linear(6, n_genes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x))


def test_a_network_of_ones_own_is_explained_with_path_effects(planted: Simulated, gmt: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    cells = planted.cells[:200]
    model = ModuleModel(Autoencoder(cells.n_genes), list(cells.genes.index), {"z": "encoder", "hidden": "encoder.1"})
    config = make_config({
        "dictionary": {"kind": "matryoshka", "seeds": 1, "splits": 0, "latents": 12, "k": 3},
        "attribution": FEW | {"steps": 4, "methods": ["path", "swap"]},
        "enrichment": {"gene_sets": [str(gmt)], "permutations": 100, "tests": ["ora"]},
    })  # fmt: skip
    out = tmp_path / "atlas"
    atlas = run_pipeline(cells, config, out, model=model, report=False)
    assert set(atlas.genes()["method"]) == {"path", "swap"}
    assert atlas.evaluation.loc["attribution.path.gap", "value"] < 0.5
    assert 0 <= atlas.evaluation.loc["attribution.screen.recall", "value"] <= 1
    np.testing.assert_allclose(
        model.activations(cells, ["z"])["z"],
        open_model(Run(out, config, {"model": model})).activations(open_explained(Run(out, config)), ["z"])["z"],
    )
    before = atlas.manifest["stages"]
    assert (
        run_pipeline(cells, config, out, model=model, report=False).manifest["stages"] == before
    )  # nothing runs again
    with pytest.raises(InputError, match="and not its code"):
        models.load(out / "work" / "model")


def test_what_a_transformer_cannot_have_is_refused_before_it_is_fitted(planted: Simulated, tmp_path: Path) -> None:
    for tables, message in (
        ({"model": {"path": "scgpt", "site": "z"}}, r"the scgpt model has no site 'z'; its sites are: cell, cell.raw"),
        ({"model": {"path": "geneformer", "layers": 2, "site": "layers.2.resid"}}, "no site 'layers.2.resid'"),
        ({"model": {"path": "cell2sentence"}, "cells": {"batch": "cell_type"}}, "takes no covariate"),
        ({"model": {"path": "scbert"}}, r"there is no folder scbert with a model; .* a kind to fit: scvi, scgpt"),
    ):
        with pytest.raises(InputError, match=message):
            run_pipeline(planted.cells, make_config(tables), tmp_path / "atlas")
        assert not (tmp_path / "atlas").exists()
