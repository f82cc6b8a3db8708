"""``benchmarks/class_circuits.py``: genes beside those read as often, contrasts, its page, and all of it, small."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

from cellglass.circuits.asked import ask
from cellglass.circuits.editing import Filling
from cellglass.circuits.genes import rank_genes
from circuits.classes.made import circuit, donor_cells, transcoders
from circuits.models import model_of

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def study() -> Iterator[Any]:
    """The modules of the study that measure and write."""
    sys.path.insert(0, str(BENCHMARKS))
    import class_circuits_genes
    import class_circuits_quality
    import class_circuits_report

    yield SimpleNamespace(genes=class_circuits_genes, quality=class_circuits_quality, report=class_circuits_report)
    sys.path.remove(str(BENCHMARKS))


def test_hits_are_held_against_genes_that_are_read_as_often(study: Any) -> None:
    names = [f"g{i}" for i in range(100)]
    reads = pd.Series(np.linspace(0.05, 1, 100), names)
    often = names[90:]  # one class: every list of its genes has as many hits
    assert study.genes.hits(often[:4], often, reads) == (4, 4.0, 1.0)
    some = [names[3], names[13], names[55]]
    found = study.genes.hits(some, [*some, names[14]], reads, draws=4000)
    assert found.own == 3
    assert found.null == pytest.approx(1 / 10 + 2 / 10 + 1 / 10, abs=0.04)
    assert found.p == pytest.approx(1 / 10 * 2 / 10 * 1 / 10, abs=0.002)
    assert study.genes.hits(["g1"], ["g2"], reads).p == 1.0


def test_first_genes_and_areas_are_of_genes_that_are_read(study: Any) -> None:
    reads = pd.Series(0.5, ["a", "b", "c", "d"])
    values = pd.Series({"z": 9.0, "b": 2.0, "a": -1.0, "c": 1.0})
    assert study.genes.first(values, reads, 2) == ["b", "c"]
    assert study.genes.area(values, {"b", "c", "z"}, reads) == 1.0  # d has 0
    assert study.genes.area(values, {"a"}, reads) == 0.0


def test_means_are_over_donors_first(study: Any) -> None:
    effects = pd.DataFrame({"a": [1.0, 3.0, 8.0], "b": [np.nan, 2.0, np.nan]})
    assert study.genes.unit_means(effects, ["x", "x", "y"]).to_dict() == {"a": 5.0, "b": 0.5}


def test_effects_of_cells_are_those_of_their_graphs_and_make_the_class_circuits(study: Any) -> None:
    cells, model = donor_cells(), model_of("gpt_neox")
    found = study.genes.gene_effects(model, cells[:2], transcoders().stand_ins, "B cell", "T cell", total=False)
    one = ask(model, cells[1:2], transcoders().stand_ins, "B cell", "T cell")
    own = rank_genes(one, columns=("direct",)).effects["direct"]
    np.testing.assert_allclose(found.iloc[1].dropna()[own.index], own, rtol=1e-9)
    names, other = (cells.obs.index.get_indexer(some) for some in circuit().about["cell_names"])
    both = [
        study.genes.unit_means(
            study.genes.gene_effects(model, cells[some], transcoders().stand_ins, "B cell", "T cell"), some
        )
        for some in (names, other)
    ]
    of_class = circuit().genes()
    np.testing.assert_allclose(both[0][of_class.index], of_class["effect"], rtol=1e-6)
    np.testing.assert_allclose((both[0] - both[1])[of_class.index], of_class["difference"], rtol=1e-6, atol=1e-9)


def test_differential_expression_is_welchs(study: Any) -> None:
    cells = donor_cells()
    one = (cells.obs["type"] == "B cell").to_numpy()
    counts = cells.counts.toarray().astype(float)
    logs = np.log1p(counts / counts.sum(1, keepdims=True) * 10_000)
    found = study.genes.expression(cells, one, ~one)
    np.testing.assert_allclose(found["t"], ttest_ind(logs[one], logs[~one], equal_var=False).statistic, rtol=1e-8)
    np.testing.assert_allclose(found["mean"], logs[one].mean(0), rtol=1e-8)


def test_a_circuit_of_all_features_keeps_all_of_the_contrast_and_one_of_none_what_attention_carries(study: Any) -> None:
    quality, model, own = study.quality, model_of("gpt_neox"), circuit()
    left = donor_cells()
    sides = quality.unseen(own, left, 2)
    made_it = {name for some in own.about["cell_names"] for name in some}
    assert [len(side) for side in sides] == [2, 2]
    assert not made_it & {cell.obs.index[0] for side in sides for cell in side}
    one = ask(model, sides[0][0], transcoders().stand_ins, "B cell", "T cell")
    every = quality.pooled([one])
    everything = np.arange(len(every))
    whole, none, kept, half = quality.answers(one, every, [everything, everything[::2]], Filling())
    assert whole == pytest.approx(kept, rel=1e-5)
    assert whole == pytest.approx(rank_genes(one, columns=("direct",)).answer, rel=1e-4)
    assert len({round(value, 5) for value in (whole, none, half)}) == 3
    how = {"n_cells": 2, "sizes": (3, 12), "draws": 2}
    figures = [*quality.contrasts(own, model, left, transcoders(), {"off": Filling()}, **how)]
    found = {(one.what, one.by, one.size): one.value for one in figures}
    whole = [
        [quality.answers(ask(model, cell, transcoders().stand_ins, "B cell", "T cell"), every, [], Filling())[0]
         for cell in side] for side in sides
    ]  # fmt: skip
    assert found["contrast", "", 0] == pytest.approx(np.mean(whole[0]) - np.mean(whole[1]), rel=1e-5)
    assert found["contrast kept", "effect", 12] == pytest.approx(found["contrast kept", "difference", 12])
    assert found["contrast kept, random", "effect", 3] <= found["contrast kept, random, most", "effect", 3]


def test_lists_and_the_page_tell_what_is_known(study: Any) -> None:
    names = [f"g{i}" for i in range(40)]
    report, steps = study.report, np.arange(40.0)
    table = pd.DataFrame({"reads": 0.5, report.CIRCUIT: -steps, report.DE: -steps, f"{report.RANDOM} 0": steps,
                          f"{report.RANDOM} 1": -steps}, index=names)  # fmt: skip
    rows = [*study.genes.listed("types, B", table, frozenset(names[:5]), frozenset(names[:5]))]
    found = report.Found(rows)
    assert found.values["known among first 10", f"types, B, {report.CIRCUIT}"] == 5
    assert found.values["known among first 10", f"types, B, {report.RANDOM}"] == 2.5
    assert ("known among first 10, p", f"types, B, {report.RANDOM}") not in found.values
    assert ("markers among first 10", f"types, B, {report.DE}") not in found.values
    assert found.values["AUROC of known", f"types, B, {report.RANDOM}"] == pytest.approx(0.5)
    assert "| B | **g0**, **g1**," in report.named(found, ["B"])
    assert f"| B: {report.RANDOM} | 2.5 (2.5) |" in report.known(found, ["B"], "")
    assert report.counts(found, ["B"]).endswith("few are known: 5 of 40 of B.")
    both = study.genes.merged({"a": table, "b": table.iloc[:20]})
    assert both.loc["g3", report.CIRCUIT] == -3
    assert both.loc["g30", "reads"] == 0.25


@pytest.mark.slow
def test_the_small_study_of_class_circuits_measures_resumes_and_writes_what_it_says(tmp_path: Path) -> None:
    page, file = tmp_path / "page.md", tmp_path / "rows.json"
    command = [sys.executable, BENCHMARKS / "class_circuits.py", "--quick", "--work", tmp_path / "work"]
    rows = []
    for _ in range(2):  # the second takes all from the first
        done = subprocess.run(
            [*command, "--json", file, "--markdown", page], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        rows.append(json.loads(file.read_text())["rows"])
    assert "minutes for this circuit" not in done.stdout
    assert rows[0] == rows[1]
    found = {(row["metric"], row["name"]): row["value"] for row in rows[0]}
    key = "types, CD19+ B"
    assert found["cells traced", key] == 5
    assert found["contrast kept, others off", f"{key}, no feature"] != 0
    assert 0 <= found["known among first 10", f"{key}, class circuit"] <= 10
    assert found["AUROC of known", "conditions, all types, differential expression"] >= 0
    assert ("contrast kept, others at their mean", f"{key}, difference, 5") in found
    text = page.read_text()
    assert "its figures say nothing" in text
    assert "| CD19+ B: class circuit |" in text
    assert "*Types*: CD19+ B from CD14+ Monocyte. *Conditions*: CD14+ Monocyte, S from CD14+ Monocyte, G1;" in " ".join(
        text.split()
    )
    missing = subprocess.run(
        [*command[:2], "--data", tmp_path, "--work", tmp_path], capture_output=True, text=True, check=False
    )
    assert missing.returncode == 1
    assert "lacks cells/zheng_facs_pbmc.h5ad" in missing.stderr
