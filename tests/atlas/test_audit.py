"""What an audit reads from an atlas, in Python and on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.audit import facts_of
from cellglass.cli.app import main
from cellglass.evaluation.audit import QUESTIONS
from synthetic import make_atlas


@pytest.fixture
def atlas(tmp_path: Path) -> Path:
    return make_atlas(tmp_path / "atlas", n_cells=200)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["cellglass", *words])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_facts_are_those_of_the_tables(atlas: Path) -> None:
    opened = open_atlas(atlas)
    facts = facts_of(opened)
    table = pd.read_parquet(atlas / "genes.parquet")
    assert set(facts.methods) == set(table["method"])
    assert "de" not in facts.asking
    assert facts.metrics is opened.evaluation
    assert set(facts.concepts.index) <= set(opened.concepts.var_names)


def test_the_command_prints_every_question_and_gives_json(
    atlas: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "audit", str(atlas)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(asks in shown for asks, _ in QUESTIONS.values())
    assert f"{len(QUESTIONS)} questions:" in shown
    assert run(monkeypatch, "audit", str(atlas), "--json") == 0
    assert [one["question"] for one in json.loads(capsys.readouterr().out)] == list(QUESTIONS)
    assert run(monkeypatch, "audit", str(atlas), "--control", str(shutil.copytree(atlas, tmp_path / "same"))) == 2
    assert "explains a model, no control of it; make one with --control untrained" in capsys.readouterr().err
    (atlas / "audit.json").write_text("{")
    assert run(monkeypatch, "audit", str(atlas)) == 2
    assert "audit.json" in capsys.readouterr().err
