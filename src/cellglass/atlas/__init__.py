"""The one result on disk: its schema, writing it, reading it, and the report.

It knows nothing of how results were computed.

Each name is imported when it is first used:

    open_atlas, Atlas      read an atlas
    write_report           the whole atlas as one HTML file that opens offline
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas, open_atlas
    from cellglass.atlas.report import write_report

_WHERE = {
    "Atlas": "cellglass.atlas.read",
    "open_atlas": "cellglass.atlas.read",
    "write_report": "cellglass.atlas.report",
}

__all__ = ["Atlas", "open_atlas", "write_report"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'cellglass.atlas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
