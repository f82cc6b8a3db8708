"""Partners of a run: every concept is asked, beside the control; what cannot be is said in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from cellglass.atlas import open_atlas
from cellglass.pipeline.partners import examine_partners, suspects
from cellglass.pipeline.run import Run

Command = Callable[..., tuple[int, str, str]]


def test_every_concept_is_asked_and_the_command_says_so(small_run: Run, command: Command, tmp_path: Path) -> None:
    table = examine_partners(small_run.folder, match=["cell_type"], draws=5)
    names = open_atlas(small_run.folder).concepts.var_names
    assert set(table["name"]) <= set(names)
    counts = suspects(table)
    assert list(counts) == ["cell_type", "depth", "control"]
    assert {found["concepts"] for found in counts.values()} == {table["concept"].nunique()}
    out = tmp_path / "partners.csv"
    words = ("partners", str(small_run.folder), "--match", "cell_type", "--draws", "5", "--out", str(out))
    status, shown, _ = command(*words, "--json")
    assert status == 0
    assert json.loads(shown)["matchings"] == counts
    assert pd.read_csv(out)["jaccard"].round(6).tolist() == table["jaccard"].round(6).tolist()
    status, shown, _ = command(*words, "--quiet")
    assert status == 0
    assert f"control: {counts['control']['suspect']} of {counts['control']['concepts']} concepts are suspect" in shown


def test_what_cannot_be_is_one_line(small_run: Run, command: Command, tmp_path: Path) -> None:
    for words, message in (
        (("--match", "nothing"), "the cells have no obs column 'nothing'; there are: cell_type"),
        (("--draws", "0"), "0 draws say nothing of chance"),
        (("--out", str(tmp_path)), "is a folder"),
    ):
        status, _, error = command("partners", str(small_run.folder), *words, "--quiet")
        assert status == 2
        assert message in error
    atlas = shutil.copytree(small_run.folder, tmp_path / "atlas")
    shutil.rmtree(atlas / "work" / "cells")
    status, _, error = command("partners", str(atlas), "--quiet")
    assert status == 2
    assert "there are no counts to read" in error
