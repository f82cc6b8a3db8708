"""The study of circuits runs at its small size, and its page holds what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_small_study_of_circuits_measures_and_writes_what_it_says(tmp_path: Path) -> None:
    page, file = tmp_path / "circuits.md", tmp_path / "circuits.json"
    command = [sys.executable, ROOT / "benchmarks" / "circuits.py", "--quick", "--work", tmp_path / "work"]
    options = ["--json", file, "--markdown", page]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {(row["metric"], row["name"]): row["value"] for row in json.loads(file.read_text())["rows"]}
    assert found["completeness", "graph"] > found["completeness", "bare"] > found["completeness", "random transcoders"]
    assert found["cells", "traced"] == 3
    assert 0 <= found["accuracy on unseen cells", "Cell2Sentence"] <= 1
    for name in ("total", "direct", "integrated", "occlusion", "differential expression"):
        assert -1 <= found["genes against deletion, spearman", name] <= 1
    text = page.read_text()
    assert f"| total effect | {found['share kept, live', 'total effect, 10']:.2f} |" in text
    assert f"| graph | {found['replacement', 'graph']:.2f} " in text
