"""The one result on disk: its schema, writing it and reading it.

open_atlas, Atlas      read an atlas
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas, open_atlas

__all__ = ["Atlas", "open_atlas"]

_WHERE = {
    "Atlas": "cellglass.atlas.read",
    "open_atlas": "cellglass.atlas.read",
}
__getattr__, __dir__ = lazily(__name__, _WHERE)
