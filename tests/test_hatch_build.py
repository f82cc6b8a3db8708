"""The page of the explorer is built with the package: what its lock file may name, and what a wheel holds."""

from __future__ import annotations

import gzip
import json
import os
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cellglass import vocabulary

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "src" / "cellglass" / "explorer" / "page"
LIMIT = 250 << 10
"""Bytes of the whole page, gzipped."""


def _packed(files: dict[str, bytes]) -> int:
    return sum(len(gzip.compress(content, 9)) for content in files.values())


def test_the_lock_file_names_no_registry_and_holds_every_file_to_its_hash() -> None:
    text = (ROOT / "web" / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    assert "resolved" not in text
    assert "http" not in json.dumps({name: {**p, "funding": None} for name, p in packages.items()})
    assert all(package["integrity"].startswith("sha512-") for name, package in packages.items() if name)


def test_the_page_is_small_and_asks_nothing_of_other_hosts() -> None:
    files = {path.name: path.read_bytes() for path in PAGE.rglob("*") if path.is_file()}
    assert "index.html" in files
    assert sorted(Path(name).suffix for name in files) == [".css", ".html", ".js", ".svg"], "a report needs one script"
    assert 20_000 < _packed(files) < LIMIT
    html = files["index.html"].decode()
    assert "http:" not in html
    assert "https:" not in html
    assert "<script>" not in html


def test_the_words_of_the_page_are_those_of_python(tmp_path: Path) -> None:
    (tmp_path / "src" / "cellglass").mkdir(parents=True)
    (tmp_path / "web" / "src" / "lib").mkdir(parents=True)
    shutil.copy(vocabulary.__file__, tmp_path / "src" / "cellglass")
    program = runpy.run_path(str(ROOT / "web" / "vocabulary.py"))
    made: Path = program["write"](tmp_path)
    assert made == tmp_path / "web" / "src" / "lib" / "vocabulary.gen.ts"
    constants = made.read_text(encoding="utf-8").split("export const ")[1:]
    found = {one.split(":")[0]: json.loads(one.split(" = ", 1)[1].strip().removesuffix(";")) for one in constants}
    assert set(found) == set(program["TYPES"])
    for name, words in found.items():
        assert json.dumps(words) == json.dumps(getattr(vocabulary, name))  # in the same order too
    before = made.stat().st_mtime_ns
    program["write"](tmp_path)
    assert made.stat().st_mtime_ns == before, "a page that is newer than its sources is not built again"
    made.write_text("old")
    assert "scVI" in program["write"](tmp_path).read_text(encoding="utf-8")


def test_the_page_was_built_with_the_words_of_today() -> None:
    program = "".join(path.read_text(encoding="utf-8") for path in (PAGE / "assets").glob("*.js"))
    for text in (*vocabulary.SAYS.values(), vocabulary.TITLES["matryoshka"], vocabulary.TITLES["counts"]):
        assert text in program, "the page is older than its words; build it: pip install -e ."


@pytest.mark.slow
def test_a_wheel_holds_the_page_and_no_sources_of_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    unwanted = shutil.ignore_patterns("node_modules", "page", "__pycache__", "tests")
    for name in ("src", "web"):
        shutil.copytree(ROOT / name, tree / name, ignore=unwanted)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        "-w",
        tmp_path,
        tree,
    ]
    without = {**os.environ, "CELLGLASS_SKIP_PAGE": "1"}
    done = subprocess.run(build, capture_output=True, text=True, check=False, env=without)
    assert done.returncode != 0
    assert "a package without it shows nothing" in done.stderr
    assert not list(tmp_path.glob("*.whl"))
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("cellglass-*.whl"))) as wheel:
        names = wheel.namelist()
        page = {name: wheel.read(name) for name in names if name.startswith("cellglass/explorer/page/")}
    assert "cellglass/explorer/page/index.html" in page
    assert 20_000 < _packed(page) < LIMIT
    assert not [name for name in names if name.endswith((".svelte", ".ts"))]
