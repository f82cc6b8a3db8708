"""What comes back: of a plain dictionary in other seeds, of the default in other cells; and what goes on from there."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import linear_sum_assignment

import cellglass.dictionaries.consensus.fit as fit_module
from cellglass.atlas import open_atlas
from cellglass.atlas.evidence import comes_back
from cellglass.atlas.summary import rule_of, summarize
from cellglass.cells import Cells, Simulated
from cellglass.dictionaries import Consensus
from cellglass.pipeline import workspace
from cellglass.pipeline.config import DictionaryConfig, make_config
from cellglass.pipeline.explain import STAGES, run_pipeline
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.stages.reproducibility import ReproducibilityStage


def test_a_plain_latent_comes_back_if_the_other_seed_has_it_too(small_run: Run) -> None:
    atlas = open_atlas(small_run.folder)
    store, site = workspace.open_activations(small_run)
    x = store.read(site, np.arange(400))
    first, other = (one.encode(x).to_csr().toarray() for one in workspace.open_dictionaries(small_run, "concepts"))
    live, there = first.any(axis=0), other.any(axis=0)
    both = np.corrcoef(first[:, live].T, other[:, there].T)[: live.sum(), live.sum() :]
    rows, columns = linear_sum_assignment(-both)
    partner = np.zeros(live.sum())
    partner[rows] = both[rows, columns]
    var = atlas.concepts.var
    np.testing.assert_array_equal(var["reproducibility"][live], partner >= 0.7)
    assert not var["reproducibility"][~live].any()
    assert not var["residual"].any()
    assert "cluster_correlation" not in var
    assert rule_of(atlas.concepts.uns) == {"by": "seeds", "n": 1, "least": 1, "correlation": 0.7}
    share = atlas.evaluation.loc["stability.concepts.consensus", "value"]
    assert share == pytest.approx((partner >= 0.7).mean())


def test_the_default_says_of_each_latent_what_its_dictionary_says(default_run: Run) -> None:
    atlas, shown = open_atlas(default_run.folder), workspace.open_concepts(default_run)
    assert isinstance(shown, Consensus)
    var, n = atlas.concepts.var, shown.config.n_concepts
    assert n >= 3
    for name in ("reproducibility", "cluster_correlation", "agreement"):
        np.testing.assert_array_equal(var[name], getattr(shown, name).numpy())
    np.testing.assert_array_equal(var["residual"], np.arange(shown.n_latents) >= n)
    alive = (var["density"] > 0).to_numpy()
    np.testing.assert_allclose(var["threshold"][alive], shown.bar().numpy()[alive], rtol=1e-6)
    rule = rule_of(atlas.concepts.uns)
    assert rule == {"by": "halves", "n": default_run.config.dictionary.pairs, "least": 0.8, "correlation": 0.7}
    np.testing.assert_array_equal(comes_back(var, rule), ~var["residual"])
    assert atlas.summary()["findings"] == (alive & ~var["residual"]).sum()


def test_density_is_the_share_of_cells_above_the_latents_own_threshold(default_run: Run) -> None:
    var, codes = open_atlas(default_run.folder).concepts.var, workspace.open_codes(default_run)
    np.testing.assert_allclose(var["density"], np.diff(codes.indptr) / codes.shape[0], rtol=1e-6)


def test_findings_alone_are_attributed_and_named(default_run: Run) -> None:
    atlas = open_atlas(default_run.folder)
    findings = workspace.open_findings(default_run)
    codes = workspace.open_codes(default_run)
    alive = np.flatnonzero(np.diff(codes.indptr))
    assert len(np.setdiff1d(alive, findings)) > 5
    attributed = set(atlas.genes()["concept"])
    assert attributed <= set(findings)
    assert set(pd.read_parquet(atlas.path / "pathways.parquet")["concept"]) <= set(findings)
    assert len(attributed) >= 3
    var = atlas.concepts.var
    assert [name for name, rest in zip(var.index, var["residual"], strict=True) if rest] == [
        f"c{i} residual" for i in var["latent"][var["residual"]]
    ]


def test_residual_latents_are_attributed_if_that_is_asked_for(default_run: Run, tmp_path: Path) -> None:
    shutil.copytree(default_run.folder, tmp_path / "atlas")
    attribution = replace(default_run.config.attribution, residual=True, methods=("de",))
    run = Run(tmp_path / "atlas", replace(default_run.config, attribution=attribution), default_run.inputs)
    run_stages(run, STAGES)
    attributed = set(open_atlas(run.folder).genes()["concept"])
    assert attributed - set(workspace.open_findings(run))


def test_each_half_has_all_bases_and_learnt_from_its_own_cells_alone(default_run: Run) -> None:
    stage = ReproducibilityStage(default_run)
    store, site = workspace.open_activations(default_run)
    seen, test, valid = workspace.held_out_rows(default_run, store, site)
    sides = stage._sides(0, seen)
    assert abs(int(sides.sum()) * 2 - len(seen)) < 60
    assert not set(seen) & {*test, *valid}
    for basis in ("concepts", *workspace.RIVALS):
        pair = workspace.open_halves(default_run, 0, basis)
        assert len(pair) == 2
        for side, half in enumerate(pair):
            if basis == "concepts":
                mean = store.read(site, seen[sides == side]).double().mean(0)
                assert torch.allclose(half.centre.double(), mean, atol=1e-4)
                assert half.n_latents == half.config.n_core  # without residual latents


def test_halves_give_metrics_with_a_hard_null(default_run: Run) -> None:
    table = open_atlas(default_run.folder).evaluation
    for basis in ("concepts", *workspace.RIVALS):
        record = table.loc[f"reproducibility.{basis}"]
        assert 0 <= record["value"] <= 1
        assert table.loc[f"reproducibility.{basis}.count", "value"] >= 0
    ours = table.loc["reproducibility.concepts"]
    assert ours["value"] > 0.5
    assert ours["null"] < ours["value"] - 0.2


def test_no_donor_is_on_both_sides_where_there_are_enough(default_run: Run, planted: Simulated, tmp_path: Path) -> None:
    donors = np.array([f"d{i}" for i in np.random.default_rng(0).integers(0, 6, 400)])
    for number, by_donor in ((6, True), (3, False)):
        some = np.where(np.isin(donors, [f"d{i}" for i in range(number)]), donors, "d0")
        cells = replace(planted.cells, obs=planted.cells.obs.assign(donor=pd.Categorical(some)))
        config = replace(default_run.config, cells=replace(default_run.config.cells, batch="donor"))
        run = Run(tmp_path / f"{number}", config, {"cells": cells})
        run_stages(run, STAGES[:1])
        shutil.copytree(run.path(workspace.CELLS), run.path(workspace.EXPLAINED), dirs_exist_ok=True)
        for split in range(3):
            sides = ReproducibilityStage(run)._sides(split, np.arange(400))
            both = sum(len(set(sides[some == donor])) == 2 for donor in np.unique(some))
            assert both == (0 if by_donor else number)
            assert set(sides) == {0, 1}
            if by_donor:
                assert sum(sides[some == donor][0] for donor in np.unique(some)) == 3
        groups = workspace.groups_of_rows(run, *workspace.open_activations(default_run))
        if by_donor:
            assert [set(groups[some == donor]) for donor in np.unique(some)] == [{i} for i in range(6)]
        else:
            assert groups is None


def test_where_there_are_donors_every_fit_halves_by_them_and_the_atlas_says_so(
    gmt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = small_embedding(160)
    donor = np.array([f"d{i % 4}" for i in range(160)])
    cells = replace(cells, obs=cells.obs.assign(donor=pd.Categorical(donor)))
    config = make_config(
        {
            "cells": {"labels": ["cell_type"], "batch": "donor"},
            "model": {"path": "obsm:X_noise"},
            "dictionary": {"seeds": 1, "pairs": 2},
            "enrichment": {"gene_sets": [str(gmt)]},
        }
    )
    given, real = [], fit_module.fit_consensus

    def watched(rows, *args, **options):
        given.append(options["groups"])
        return real(rows, *args, **options)

    monkeypatch.setattr(fit_module, "fit_consensus", watched)
    run = Run(tmp_path / "atlas", config, {"cells": cells})
    run_stages(run, STAGES[: 1 + [stage.name for stage in STAGES].index("reproducibility")])
    assert len(given) == 3  # the dictionary, and that of each half
    for groups in given:
        np.testing.assert_array_equal(groups, np.arange(160) % 4)
    assert set(workspace.open_reproducibility(run)["by"]) == {"donors"}


def test_one_plain_dictionary_tells_nothing(small_run: Run, planted: Simulated, tmp_path: Path) -> None:
    config = replace(small_run.config, dictionary=DictionaryConfig("topk", 12, 3, seeds=1, splits=0))
    config = replace(config, attribution=replace(config.attribution, methods=("de",)))
    folder = shutil.copytree(small_run.folder, tmp_path / "atlas")  # whose model need not be fitted again
    atlas = run_pipeline(planted.cells, config, folder, report=True)
    assert not {"reproducibility", "residual", "cluster_correlation", "agreement"} & set(atlas.concepts.var)
    assert "threshold" in atlas.concepts.var
    summary = summarize(atlas)
    assert summary["reproducibility"] is None
    assert len(summary["concepts"]) == summary["alive"]
    assert not [name for name in atlas.evaluation.index if name.startswith("reproducibility.")]
    assert len(set(atlas.genes()["concept"])) == summary["alive"]
    assert (tmp_path / "atlas" / "report.html").exists()


def small_embedding(n: int, seed: int = 0) -> Cells:
    """Cells without counts, which an embedding says nothing of: standard normal values."""
    from cellglass.cells import simulate

    cells = simulate(n_cells=n, n_genes=60, n_programs=2, genes_per_program=8, n_types=2, seed=seed).cells
    return replace(cells, obsm={"X_noise": np.random.default_rng(seed).normal(size=(n, 12)).astype(np.float32)})


@pytest.mark.parametrize("n", [30, 100])
def test_cells_in_which_nothing_comes_back_have_an_atlas_that_says_so(n: int, gmt: Path, tmp_path: Path) -> None:
    config = make_config(
        {
            "cells": {"labels": ["cell_type"]},
            "model": {"path": "obsm:X_noise"},
            "dictionary": {"seeds": 1, "pairs": 5},
            "attribution": {"prototypes": 4, "partners": 2},
            "enrichment": {"gene_sets": [str(gmt)], "permutations": 100, "tests": ["ora"]},
        }
    )
    atlas = run_pipeline(small_embedding(n), config, tmp_path / "atlas", report=True)
    var = atlas.concepts.var
    assert var["residual"].all()
    summary = summarize(atlas)
    assert summary["findings"] == 0
    assert summary["concepts"] == []
    assert summary["alive"] > 0
    assert atlas.evaluation.loc["fidelity.variance_explained", "value"] == pytest.approx(0, abs=2)
    assert (tmp_path / "atlas" / "report.html").stat().st_size > 100_000
    again = run_pipeline(small_embedding(n), config, tmp_path / "atlas", report=True)
    assert again.manifest["stages"] == atlas.manifest["stages"]
