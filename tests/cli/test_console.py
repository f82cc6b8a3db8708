"""What a terminal and a pipe are shown; text from files is never read as markup."""

from typing import Any

import pytest
from rich.console import Console

from cellglass.cli.console import _Lines, listening, show_comparison, show_sources, show_summary
from cellglass.progress import silent

SUMMARY = {
    "title": "3 concepts of [red]my[/red].h5ad",
    "alive": 3,
    "reproducibility": {"by": "seeds", "n": 4, "least": 0.75, "correlation": 0.7},
    "evaluation": [
        {
            "metric": "stability.concepts.coactivation",
            "value": 0.61,
            "spread": 0.1,
            "null": 0.04,
            "n": 3,
            "definition": "",
        },
        {"metric": "stability.random.above_0.7", "value": 0.5, "spread": None, "null": None, "n": 3, "definition": ""},
        {"metric": "fidelity.l0", "value": 7.5, "spread": None, "null": 0.25, "n": 10, "definition": "d"},
        {"metric": "alignment.x.B.pca", "value": 0.5, "spread": None, "null": None, "n": 10, "definition": "d"},
    ],
    "concepts": [
        {
            "name": "[bold]B[/bold]",
            "density": 0.25,
            "best_label": "B",
            "best_label_f1": 0.9,
            "best_label_null": 0.18,
            "best_label_q": 0.004,
            "best_label_n": 1234,
            "best_label_threshold": 1.25,
            "reproducibility": 0.75,
            "depth_correlation": -0.62,
            "genes": [
                {"symbol": "CD79A", "score": 0.1, "q": 0.001},
                {"symbol": "STAT1", "score": -0.2, "q": 0.001},
                {"symbol": "MS4A1", "score": 0.1, "q": 0.2},
                {"symbol": "LYZ", "score": -0.1, "q": None},
            ],
        }
    ],
}


def test_a_summary_shows_names_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    show_summary(SUMMARY)
    shown = capsys.readouterr().out
    assert "[red]my[/red].h5ad" in shown
    assert "[bold]B[/bold]" in shown
    assert "7.500" in shown
    assert "alignment.x.B.pca" not in shown
    assert "stability.concepts.coactivation" in shown
    assert "stability.random.above_0.7" not in shown
    assert "1 of 1 concepts are found in most of the 4 other seeds' dictionaries." in shown
    words = " ".join(shown.split())
    assert "B: 0.90 / 0.18, n 1,234, from 1.25, q 0.004" in words
    assert "CD79A, -STAT1, (MS4A1), (-LYZ)" in words
    assert "25.0% 75% B: 0.90" in words
    assert "may be an accident of one training" in words
    assert (
        "1 of 1 concepts follow sequencing depth (correlation with log total counts): [bold]B[/bold] (-0.62)" in words
    )
    even = {**SUMMARY, "concepts": [{**SUMMARY["concepts"][0], "depth_correlation": 0.4}]}
    show_summary(even)
    assert "follow sequencing depth" not in capsys.readouterr().out


def said(capsys: pytest.CaptureFixture[str], **facts: Any) -> str:
    """Return what is shown of the summary with other facts, in one line."""
    show_summary({**SUMMARY, **facts})
    return " ".join(capsys.readouterr().out.split())


def test_what_comes_back_is_said_by_its_rule(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    halves = {"by": "halves", "n": 16, "least": 0.8, "correlation": 0.7}
    many = said(capsys, reproducibility=halves)
    assert "1 concepts come back: each is found in both halves of at least 80% of 16 pairs" in many
    assert "2 residual latents help to reconstruct and are no findings" in many
    assert "comes back" in many
    assert "other seeds" not in many
    alone = said(capsys, reproducibility=None)
    assert "one dictionary was fitted: nothing says which come back" in alone
    assert "75%" not in alone
    assert "other seeds" not in alone


def test_where_no_concept_comes_back_it_is_said_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    halves = {"by": "halves", "n": 16, "least": 0.8, "correlation": 0.7}
    none = said(capsys, reproducibility=halves, concepts=[])
    assert "No concept comes back: nothing is found in both halves of at least 80% of 16 pairs" in none
    assert "3 residual latents" in none
    assert "More cells, or another model or site, may show some; --dictionary topk shows all latents" in none
    assert "its strongest genes" not in none


def test_how_many_genes_meet_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    plain: dict[str, Any] = {"title": "t", "evaluation": [], "concepts": [], "reproducibility": None}
    show_summary(plain | {"coverage": {"found": 1200, "missing": 300, "unknown": 40, "counts": 0.876}})
    shown = " ".join(capsys.readouterr().out.split())
    assert "in the cells: 1,200 of 1,500 (80%); 88% of the cells' counts lie in them; 40 genes of the cells" in shown
    show_summary(plain | {"coverage": {"found": 5, "missing": 0, "unknown": 0}})  # of an older atlas
    assert "in the cells: 5 of 5 (100%)." in capsys.readouterr().out
    show_summary(plain | {"coverage": None})
    assert "in the cells" not in capsys.readouterr().out


def test_a_comparison_shows_each_way_beside_chance_and_what_is_left_over(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"alive": 5, "findings": 2, "dictionary": "topk (latents 2)", "cells": 1200, "path": "[b]one[/b]"}
    told = [("activations", "matched", 0.625, 0.125), ("activations", "above_0.7", 0.5, 0.0)]
    told += [("directions", "matched", 0.875, 0.375), ("directions", "above_0.7", 1.0, 0.25)]
    names = ("a_latent", "a_concept", "b_latent", "b_concept", "coactivation", "cosine", "partner")
    pairs = [(0, "[i]B[/i]", 1, "B cells", 0.953, 0.9, True), (1, "lonely", None, "", None, None, False)]
    show_comparison(
        {
            "a": facts,
            "b": {**facts, "path": "two"},
            "site": "site z",
            "cells": "900 cells by name",
            "notes": ["a note"],
            "threshold": 0.7,
            "measures": [dict(zip(("way", "measure", "value", "control"), row, strict=True)) for row in told],
            "pairs": [dict(zip(names, pair, strict=True)) for pair in pairs],
        }
    )
    lines = capsys.readouterr().out.splitlines()
    assert any("[b]one[/b]" in line and "2 concepts, topk" in line and "1,200 cells" in line for line in lines)
    assert ["pairs", "with", "at", "least", "0.7", "0.500", "0.000", "1.000", "0.250"] in [
        line.split() for line in lines
    ]
    assert any(line.split() == ["0.953", "[i]B[/i]", "B", "cells"] for line in lines)
    assert "1 concepts of A have no partner in B: lonely" in lines
    assert not any("concepts of B have no partner" in line for line in lines)


def test_on_a_pipe_each_thing_begins_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with listening() as progress:
        for done in range(3):
            progress("[i]epochs[/i]", done, 3)
        progress("swaps", 0, 9)
    captured = capsys.readouterr()
    assert captured.err.split("\n") == ["[0:00] [i]epochs[/i] ...", "[0:00] swaps ...", ""]
    assert captured.out == ""


def test_lines_tell_what_went_by_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = _Lines(Console(stderr=True), clock=lambda: now[0])
    for second, done in ((5, 0), (20, 5), (36, 10), (50, 12), (3700, 40), (3800, 100), (3900, 100)):
        now[0] = second
        lines("epochs", done, 100)
    lines("epochs", 4, 100)  # the next one of that name: the time that is left is its own
    now[0] = 3932
    lines("epochs", 36, 100)
    lines("genes", 0, 0)
    now[0] = 3972
    lines("genes", 7, 0)
    assert capsys.readouterr().err.splitlines() == [
        "[0:05] epochs ...",
        "[0:36] epochs: 10 of 100, about 4:39 left",
        "[1:01:40] epochs: 40 of 100, about 1:32:22 left",
        "[1:03:20] epochs: done in 1:03:15",
        "[1:05:32] epochs: 36 of 100, about 1:04 left",
        "[1:05:32] genes ...",
        "[1:06:12] genes: 7",
    ]


def test_quiet_listens_to_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with listening(quiet=True) as progress:
        assert progress is silent
        progress("epochs", 1, 2)
    assert capsys.readouterr().err == ""


def test_sources_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    show_sources([{"name": "bundled", "sets": 90, "where": "in the package", "what": "blood"}])
    assert "bundled" in capsys.readouterr().out
