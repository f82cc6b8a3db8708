"""The report of a run."""

from __future__ import annotations

from cellglass.atlas import open_atlas
from cellglass.pipeline.run import Run


def test_the_report_shows_the_atlas(small_run: Run) -> None:
    text = small_run.path("report.html").read_text(encoding="utf-8")
    assert "http://" not in text.replace("http://www.w3.org", "")
    name = open_atlas(small_run.folder).concepts.var.index[0].split(" ")[0]
    assert name in text
