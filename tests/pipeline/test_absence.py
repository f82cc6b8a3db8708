"""A concept that means the loss of a pathway is named by what is absent: its genes, and their set, below 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.atlas.summary import summarize
from cellglass.cells import Cells
from cellglass.enrichment import GeneSets, write_gmt
from cellglass.pipeline.config import make_config
from cellglass.pipeline.explain import run_pipeline


@pytest.fixture(scope="module", autouse=True)
def short_training() -> None:
    """Train as long as by default: what is found is what is looked at."""


@pytest.mark.slow
def test_the_loss_of_a_pathway_is_told_by_its_absent_genes(tmp_path: Path) -> None:
    rng, n, n_genes = np.random.default_rng(0), 700, 200
    lost = rng.random(n) < 0.35
    pathway = np.arange(20)
    rate = np.repeat(rng.lognormal(0, 0.7, n_genes)[None], n, axis=0)
    rate[:, pathway] = np.where(lost[:, None], 0.05, 4.0)
    counts = sp.csr_matrix(rng.poisson(rate * rng.lognormal(0, 0.2, (n, 1))).astype(np.float32))
    names = [f"G{i}" for i in range(n_genes)]
    genes = pd.DataFrame({"symbol": names}, index=names)
    obs = pd.DataFrame({"screen": pd.Categorical(np.where(lost, "lost", "whole"))}, index=[f"c{i}" for i in range(n)])
    cells = Cells(counts, genes, obs, source="screen")
    others = {f"other {i}": tuple(names[i : i + 20]) for i in range(20, 200, 20)}
    write_gmt(GeneSets("sets", {"interferon response": tuple(names[:20]), **others}), tmp_path / "sets.gmt")
    config = make_config(
        {
            "cells": {"labels": ["screen"]},
            "model": {"epochs": 30, "latent": 5, "width": 32},
            "dictionary": {"kind": "matryoshka", "seeds": 1, "latents": 12, "k": 3},
            "attribution": {"prototypes": 40, "methods": ["path"]},
            "enrichment": {"gene_sets": [str(tmp_path / "sets.gmt")], "permutations": 200},
        }
    )
    atlas = run_pipeline(cells, config, tmp_path / "atlas", report=False)
    var = atlas.concepts.var
    loss = var[var["best_label"] == "lost"].sort_values("best_label_f1").iloc[-1]
    assert loss["best_label_f1"] > 0.8 > loss["best_label_null"]
    assert loss["best_label_q"] < 0.01
    assert loss["best_term"] == "interferon response"
    assert loss["best_term_statistic"] < 0
    assert loss["best_term_q"] < 0.05
    assert loss["absent_gene"] in names[:20]
    assert loss["absent_gene_score"] < -abs(loss["top_gene_score"])
    assert loss["absent_gene_q"] < 0.05
    assert loss.name.endswith(f"lost | low interferon response | low {loss['absent_gene']}")
    told = next(one for one in summarize(atlas)["concepts"] if one["latent"] == loss["latent"])
    absent = [gene["symbol"] for gene in told["genes"] if gene["score"] < 0]
    assert len(absent) >= 3
    assert np.mean([gene in names[:20] for gene in absent]) > 0.8
    assert told["best_term_statistic"] < 0
