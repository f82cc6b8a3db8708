"""The package of the page on extending: installed by pip, it adds a model, a dictionary, a method and a test.

It is a real wheel in a folder of its own, and a real run of the command line in a process that sees that folder.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cellglass.cells import Simulated, simulate
from cellglass.enrichment import GeneSets, write_gmt

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
FILE = re.compile(r"^```python file=(\w+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _wheel(folder: Path) -> Path:
    """Write the page's package as a wheel."""
    page = PAGE.read_text(encoding="utf-8")
    groups = tomllib.loads(re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0])["project"]
    points = "\n".join(
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in entries.items())
        for group, entries in groups["entry-points"].items()
    )
    info = "elsewhere-1.0.dist-info"
    files = {f"elsewhere/{name}": text for name, text in FILE.findall(page)} | {
        "elsewhere/__init__.py": "",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": points,
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    wheel = folder / "elsewhere-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a process in which the package is installed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    target = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(target), str(_wheel(folder))], check=True)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), *filter(None, [os.environ.get("PYTHONPATH")])])}


def _command(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cellglass", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_an_atlas_is_made_with_a_model_a_dictionary_a_method_and_a_test_of_another_package(
    installed: dict[str, str], tmp_path: Path
) -> None:
    planted: Simulated = simulate(n_cells=200, n_genes=120, n_programs=4, genes_per_program=12, n_types=3, seed=1)
    planted.cells.to_anndata().write_h5ad(tmp_path / "my.h5ad")
    programs = planted.programs
    sets = {str(name): tuple(map(str, programs.index[programs[name] > 0])) for name in programs}
    write_gmt(GeneSets("planted", sets), tmp_path / "planted.gmt")
    words = ["run", str(tmp_path / "my.h5ad"), "--model", "totals", "--dictionary", "halves", "--latents", "16"]
    words += ["--k", "4", "--seeds", "1", "--method", "contrast", "--method", "de", "--test", "share"]
    words += ["--gene-sets", str(tmp_path / "planted.gmt"), "--out", str(tmp_path / "atlas"), "--json"]
    done = _command(installed, *words)
    assert done.returncode == 0, done.stderr
    assert "sums" in json.loads(done.stdout)["title"]
    # What was made with it is read with it: by the package's own words, by the report and the explorer's tree.
    code = (
        "import sys, json, cellglass; a = cellglass.open_atlas(sys.argv[1]); "
        "from cellglass.explorer import Tree; tree = Tree(a); card = tree.get('data/cards/0.json'); "
        "print(json.dumps({'kind': a.dictionary().kind, 'model': dict(a.concepts.uns['model'])['kind'], "
        "'methods': sorted(set(a.genes()['method'])), 'tests': sorted(set(a.pathways()['test'])), "
        "'rankings': sorted(set(a.pathways()['ranking'])), "
        "'metrics': [m for m in a.evaluation.index if m.startswith('annotation')], 'card': card.decode()}))"
    )
    read = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "atlas")], env=installed, capture_output=True, text=True, check=True
    )
    found = json.loads(read.stdout)
    assert (found["kind"], found["model"]) == ("halves", "totals")
    assert (found["methods"], found["tests"]) == (["contrast", "de"], ["share"])
    assert found["rankings"] == ["contrast", "de"]
    assert {"annotation.planted.share", "annotation.planted.share.calibrated"} <= set(found["metrics"]) | {
        name.removesuffix(".contrast") for name in found["metrics"]
    }
    assert "contrast" in found["card"]


def test_without_the_package_its_names_are_refused_with_those_there_are(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    simulate(n_cells=40, n_genes=60, n_programs=2, genes_per_program=10, seed=1).cells.to_anndata().write_h5ad(
        tmp_path / "my.h5ad"
    )
    for option, name in (("--dictionary", "halves"), ("--method", "contrast"), ("--test", "share")):
        status, _, error = command("run", tmp_path / "my.h5ad", option, name, "--out", tmp_path / "a")
        assert status == 2
        assert name in error
        assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "a").exists()
