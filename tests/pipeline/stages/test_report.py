"""The report of a run is the one that is written of its atlas."""

from __future__ import annotations

import json
from pathlib import Path

from cellglass.atlas import open_atlas
from cellglass.explorer import write_report
from cellglass.pipeline.run import Run
from reported import held


def test_the_report_shows_the_atlas(small_run: Run, tmp_path: Path) -> None:
    atlas = open_atlas(small_run.folder)
    files = held(small_run.path("report.html"))
    assert json.loads(files["data/concepts.json"])["name"] == atlas.concepts.var_names.tolist()
    assert files == held(write_report(atlas, tmp_path)), "made within a run or after it, a report is the same"
