"""``benchmarks/circuits.py``: what it is asked, the counts that a model reads, its page, and all of it, small."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from circuits.models import cells_of, model_of

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def study() -> Iterator[Any]:
    """The module of the study, under a name of its own: the tests of circuits have a package of its name."""
    sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("study_of_circuits", BENCHMARKS / "circuits.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def report(study: Any) -> Any:
    return sys.modules[study.page_of.__module__]


def options_of(**given: Any) -> argparse.Namespace:
    network = {"layers": None, "width": None, "genes": None, "dropped": None}
    return argparse.Namespace(**{"cells": None, "labels": None, "types": None, "quick": True} | network | given)


def test_cells_of_a_file_are_studied_by_their_own_types(study: Any, tmp_path: Path) -> None:
    file = tmp_path / "my.h5ad"
    cells_of().to_anndata().write_h5ad(file)
    asked = options_of(cells=file, labels="type", types=[["B cell", "T cell"]])
    found = study.study_of(asked)
    assert (found.label, found.types, found.size) == ("type", {"B cell": "T cell"}, study.QUICK)
    assert study.study_of(options_of(**{**vars(asked), "quick": False})).size == study.OWN
    assert study.told(asked) == ("--cells my.h5ad --labels type ", "cells of my.h5ad")
    larger = options_of(**{**vars(asked), "layers": 3, "dropped": 0.5})
    assert study.study_of(larger).size == study.QUICK._replace(layers=3, dropped=0.5)
    assert study.told(larger)[0] == "--cells my.h5ad --labels type --layers 3 --dropped 0.5 "
    with pytest.raises(SystemExit, match=r"no cell's type is CD14\+ Monocyte, CD19\+ B, CD56\+ NK; say with --types"):
        study.study_of(options_of(cells=file, labels="type"))


def test_counts_that_are_read_are_those_of_the_first_genes(study: Any) -> None:
    cells, model = cells_of(), model_of("gpt_neox").with_settings(n_genes=4)
    found = study.read_counts(model, cells).toarray()
    for own, counts in zip(found, cells.counts.toarray(), strict=True):
        kept = own > 0
        assert kept.sum() == min(4, (counts > 0).sum())
        assert np.array_equal(own[kept], counts[kept])
        assert counts[~kept].max(initial=0) <= own[kept].min()


def test_parts_that_are_finished_are_read_and_those_of_other_code_or_studies_not(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = study.Study(cells_of(), "type", {"B cell": "T cell"}, study.QUICK)
    made: list[str] = []

    def part(name: str) -> Iterator[Any]:
        made.append(name)
        yield study.Row("share", name, 0.5, "")

    def parts(_work: Path, _study: Any) -> list[tuple[str, Any]]:
        return [(name, lambda name=name: part(name)) for name in ("first", "second")]

    monkeypatch.setattr(study, "parts", parts)
    rows = list(study.measured(tmp_path, asked))
    (tmp_path / "second.json").unlink()  # as if killed there
    assert list(study.measured(tmp_path, asked)) == rows
    assert made == ["first", "second", "second"]
    monkeypatch.setattr(study, "code_key", lambda: "another")
    assert list(study.measured(tmp_path, asked)) == rows
    assert made == ["first", "second", "second", "first", "second"]
    with pytest.raises(SystemExit, match="is of other cells or sizes"):
        list(study.measured(tmp_path, asked._replace(size=study.FULL)))


def test_the_page_tells_genes_types_and_kinds(report: Any) -> None:
    row = SimpleNamespace
    figures = {
        ("first genes of circuits, B"): {"CD79A": 2.0, "LYZ": 1.0},
        ("first markers, B"): {"MS4A1": 3.0, "CD79A": 2.5},
        ("share kept by total effect, 10"): {"B": 0.8},
        ("random kept by total effect, 10"): {"B": 0.05},
        ("random_high kept by total effect, 10"): {"B": 0.1},
        ("original of label, cross-layer"): {"1": 0.5, "1+": 0.4},
        ("kept of label, cross-layer"): {"1": 0.7, "1+": 0.93},
        ("steps 2: kept of label, cross-layer"): {"1+": 0.95},
        ("steps 2: error of label, cross-layer"): {"1+": 0.01},
        ("steps"): {"cross-layer, 1": 100, "cross-layer, 2": 200},
    }
    found = report.Found(
        [row(metric=metric, name=name, value=v) for metric, some in figures.items() for name, v in some.items()]
    )
    assert "| B | **CD79A**, LYZ | MS4A1, **CD79A** | 1 |" in report.named(found, {"B": "T"})
    assert report.wrapped("word " * 60).count("\n") == 2
    assert report.wrapped(f"| {'word ' * 60}|").count("\n") == 0
    assert "| B: total effect | 0.80 (0.05, 0.10) |" in report.by_type(found, {"B": "T"})
    assert "| cross-layer | label | 0.400 |  |  | 0.930 |  |  |" in report.kinds(found)
    steps = report.by_steps(found, 100)
    assert "| transcoders | loss | 100 steps | 200 steps |" in steps
    assert "| cross-layer | label | 0.930 () | 0.950 (0.010) |" in steps


@pytest.mark.slow
def test_the_small_study_of_circuits_measures_and_writes_what_it_says(tmp_path: Path) -> None:
    page, file = tmp_path / "circuits.md", tmp_path / "circuits.json"
    command = [sys.executable, BENCHMARKS / "circuits.py", "--quick", "--work", tmp_path / "work"]
    options = ["--json", file, "--markdown", page]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {(row["metric"], row["name"]): row["value"] for row in json.loads(file.read_text())["rows"]}
    assert found["completeness", "graph"] > found["completeness", "bare"] > found["completeness", "random transcoders"]
    assert found["cells", "traced"] == found["cells", "scored"] == 3
    for name in ("Cell2Sentence", "logistic regression, the genes that it reads", "logistic regression, all counts"):
        assert 0 <= found["accuracy on unseen cells", name] <= 1
    for name in ("total", "direct", "removal", "integrated", "occlusion", "differential expression"):
        assert -1 <= found["genes against deletion, spearman", name] <= 1
    for kind in ("per layer", "per layer, with skip", "cross-layer"):
        assert found[f"l0 of genes, {kind}", "1+"] == pytest.approx(8)
    text = page.read_text()
    assert f"| total effect | {found['share kept, live', 'total effect, 10']:.2f} |" in text
    assert f"| graph | {found['replacement', 'graph']:.2f} " in text
