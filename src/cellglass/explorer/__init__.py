"""Serves an atlas to a browser, or writes it out as a static site: both are the same tree of files.

It knows nothing of how results were computed, and writes nothing into an atlas but its notes.

Each name is imported when it is first used:

    Tree    every file of the tree that the page reads, made when it is asked for
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellglass.explorer.tree import Tree

_WHERE = {"Tree": "cellglass.explorer.tree"}

__all__ = ["Tree"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'cellglass.explorer' has no attribute {name!r}")
