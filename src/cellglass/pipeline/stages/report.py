"""The stage that writes the report."""

from __future__ import annotations

from pathlib import Path

from cellglass.pipeline.stage import Stage
from cellglass.pipeline.workspace import REPORT


class ReportStage(Stage):
    """Writes the atlas as one HTML file that opens offline."""

    name = "report"
    does = "write the report"
    outputs = (REPORT,)
    needs = ("dictionaries", "genes", "pathways", "evaluation", "atlas")
    revision = 2

    def do(self, name: str, folder: Path) -> None:  # noqa: ARG002 (there is one unit)
        """Write the file."""
        from cellglass.atlas import open_atlas
        from cellglass.explorer.report import write_report

        write_report(open_atlas(self.run.folder, unfinished=True), folder / REPORT)
