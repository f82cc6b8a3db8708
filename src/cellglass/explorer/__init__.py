"""Serves an atlas to a browser, or writes it out as a static site: both are the same tree of files.

It knows nothing of how results were computed, and writes nothing into an atlas but its notes.

    Tree    every file of the tree that the page reads, made when it is asked for
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.explorer.data.tree import Tree

__all__ = ["Tree"]

__getattr__, __dir__ = lazily(__name__, {"Tree": "cellglass.explorer.data.tree"})
