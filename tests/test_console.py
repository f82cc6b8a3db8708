"""What a terminal and a pipe are shown; text from files is never read as markup."""

import pytest

from cellglass.console import listening, show_sources, show_summary
from cellglass.progress import silent

SUMMARY = {
    "title": "3 concepts of [red]my[/red].h5ad",
    "evaluation": [
        {"metric": "fidelity.l0", "value": 7.5, "spread": None, "null": 0.25, "n": 10, "definition": "d"},
        {"metric": "alignment.x.B.pca", "value": 0.5, "spread": None, "null": None, "n": 10, "definition": "d"},
    ],
    "concepts": [
        {
            "name": "[bold]B[/bold]",
            "density": 0.25,
            "best_label": "B",
            "best_label_f1": 0.9,
            "genes": ["CD79A", "MS4A1"],
        }
    ],
}


def test_a_summary_shows_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show_summary(SUMMARY)
    shown = capsys.readouterr().out
    assert "[red]my[/red].h5ad" in shown
    assert "[bold]B[/bold]" in shown
    assert "7.500" in shown
    assert "alignment.x.B.pca" not in shown


def test_on_a_pipe_each_thing_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with listening() as progress:
        for done in range(3):
            progress("[i]epochs[/i]", done, 3)
        progress("swaps", 0, 9)
    captured = capsys.readouterr()
    assert captured.err.split("\n") == ["... [i]epochs[/i]", "... swaps", ""]
    assert captured.out == ""


def test_quiet_listens_to_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with listening(quiet=True) as progress:
        assert progress is silent
        progress("epochs", 1, 2)
    assert capsys.readouterr().err == ""


def test_sources_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    show_sources([{"name": "bundled", "sets": 90, "where": "in the package", "what": "blood"}])
    assert "bundled" in capsys.readouterr().out
