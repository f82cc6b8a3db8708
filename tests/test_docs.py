"""What the README and the guide tell people to type works.

Blocks marked ``sh`` and ``python`` are run, in order, in a fresh folder; in all command lines every option must exist.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData, read_h5ad

from cellglass.atlas import open_atlas
from cellglass.circuits import gene_table, read_class, read_graph
from cellglass.explorer.data.source import Source
from cellglass.explorer.notes.place import open_notes
from cellglass.explorer.selections.bits import pack, to_text
from cellglass.explorer.selections.store import selections_of
from synthetic import make_atlas

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = (
    "run",
    "demo",
    "report",
    "info",
    "audit",
    "cav",
    "partners",
    "attribute",
    "pathway-swaps",
    "perturbations",
    "steer",
    "compare",
    "genesets",
    "explore",
    "export",
    "selections",
    "trace",
)
NOTES = ("merge", "export", "agreement")
Command = Callable[..., tuple[int, str, str]]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def _run(command: Command, line: str) -> str:
    """Run a line as the shell would, but in this process; return what it printed."""
    program, *words = shlex.split(line)
    assert program == "cellglass"
    status, shown, error = command(*words)
    assert status == 0, f"{line}\n{error}"
    return shown


@pytest.mark.slow
def test_the_commands_and_the_python_of_readme_and_guide_run(
    command: Command, demo_atlas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo begins where it has ended before, in a copy: the same command has little left to do."""
    shutil.copytree(demo_atlas, tmp_path / "demo-atlas")
    monkeypatch.chdir(tmp_path)
    commands = [c for page in (PAGES[0], ROOT / "docs" / "guide.md") for c in _blocks(page, "sh")]
    lines = [line for block in commands for line in block.splitlines() if line.startswith("cellglass ")]
    pages = ("audit.md", "methods.md", "methods-evaluation.md", "interventions.md")
    others = [c for name in pages for c in _blocks(ROOT / "docs" / name, "sh")]
    more = [line for block in others for line in block.splitlines() if " demo-atlas" in line]
    assert len(lines) >= 3
    assert len(more) == 5
    lines += more
    for line in lines:
        _run(command, line)
    for page in (ROOT / "README.md", ROOT / "docs" / "guide.md"):
        script = "\n".join(_blocks(page, "python"))
        assert "cellglass" in script
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{page.name}\n{script}\n{done.stderr}"


@pytest.mark.slow
def test_the_python_of_the_page_on_dictionaries_runs(tmp_path: Path) -> None:
    script = "\n".join(_blocks(ROOT / "docs" / "dictionaries.md", "python"))
    assert script.count("dictionaries.fit(") >= 4
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_python_of_the_page_on_models_runs(tmp_path: Path) -> None:
    script = "\n".join(_blocks(ROOT / "docs" / "models.md", "python"))
    assert "ModuleModel(" in script
    assert "(TransformerModel)" in script
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_commands_of_the_page_on_the_explorer_run(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas = open_atlas(make_atlas(tmp_path / "demo-atlas", n_cells=120))
    with open_notes(atlas) as notes:
        notes.write({"latent": 0, "who": "Ada", "base": None, "label": "plasma cells"})
        kept = selections_of(notes, Source(atlas))
        bits = to_text(pack(np.arange(9), 120))
        kept.add({"name": "some", "who": "Ada", "cells": kept.cells, "bits": bits})
    AnnData(np.ones((120, 2)), atlas.concepts.obs[[]]).write_h5ad(tmp_path / "my.h5ad")
    lines = [line for block in _blocks(ROOT / "docs" / "explorer.md", "sh") for line in block.splitlines()]
    assert len(lines) >= 4
    monkeypatch.chdir(tmp_path)
    for line in lines:
        _run(command, line)
    assert (tmp_path / "site" / "index.html").is_file()
    assert "plasma cells" in (tmp_path / "notes.csv").read_text(encoding="utf-8")
    assert read_h5ad(tmp_path / "selected.h5ad").obs["some"].sum() == 9


@pytest.mark.slow
def test_the_commands_of_the_page_on_circuits_run(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line for block in _blocks(ROOT / "docs" / "circuits.md", "sh") for line in block.splitlines()]
    assert len(lines) == 5
    said = {"circuits features": "20 features, drawn at random", "circuits check": "known pairs beside"}
    monkeypatch.chdir(tmp_path)
    for line in lines:
        shown = _run(command, line)
        assert next((words for name, words in said.items() if name in line), "Strongest paths") in shown
    for name in ("demo-circuits/graph", "dendritic"):
        graph = read_graph(tmp_path / f"{name}.json")
        assert graph.about["scores"]["completeness"] > graph.about["bare"]["completeness"]
        assert len(graph.of_kind("feature")) == 1000
        assert (tmp_path / f"{name}.svg").stat().st_size > 5000
    assert {path.name for path in tmp_path.glob("check*")} == {"check.csv", "check.edges.csv"}
    found = read_class(tmp_path / "class.json")
    assert found.about["units"] == [6, 6]
    assert {row["of"]: row["mean"] > row["null"] for row in found.about["stability"]} == dict.fromkeys(
        ("features", "genes", "edges", "weights"), True
    )
    effects = gene_table(read_graph(tmp_path / "demo-circuits" / "graph.json"))
    assert {"PPIB", "IGJ", "MZB1", "CD52", "CD74", "CD79A"} & set(effects.index[:10])


def test_every_option_that_the_pages_name_exists(command: Command) -> None:
    known: set[str] = set()
    circuits = (["circuits", name] for name in ("train", "features", "check"))
    for names in ([], *([name] for name in COMMANDS), *(["notes", name] for name in NOTES), *circuits):
        status, shown, _ = command(*names, "--help")
        assert status == 0
        known |= set(re.findall(r"--[a-z][a-z-]+", shown))
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("cellglass "):
                assert set(re.findall(r"--[a-z][a-z-]+", line)) <= known, f"{page.name}: {line}"


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
