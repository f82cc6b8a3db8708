"""The one result on disk: its schema, writing it, reading it, and the report.

open_atlas, Atlas      read an atlas
write_report           the whole atlas as one HTML file that opens offline
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas, open_atlas
    from cellglass.atlas.report import write_report

__all__ = ["Atlas", "open_atlas", "write_report"]

_WHERE = {
    "Atlas": "cellglass.atlas.read",
    "open_atlas": "cellglass.atlas.read",
    "write_report": "cellglass.atlas.report",
}
__getattr__, __dir__ = lazily(__name__, _WHERE)
