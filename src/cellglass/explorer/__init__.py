"""Serves an atlas to a browser, or writes it out as a static site or one HTML file: the same page and tree of files.

It knows nothing of how results were computed, and writes nothing into an atlas but its notes.

    Tree           every file of the tree that the page reads, made when it is asked for
    write_report   the page and all that it reads as one HTML file that opens offline
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.explorer.data.tree import Tree
    from cellglass.explorer.report import write_report

__all__ = ["Tree", "write_report"]

_WHERE = {"Tree": "cellglass.explorer.data.tree", "write_report": "cellglass.explorer.report"}
__getattr__, __dir__ = lazily(__name__, _WHERE)
