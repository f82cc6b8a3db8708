"""Concept -> genes: swaps, knock-outs, path effects, and differential expression as the comparison; one file a method.

Each name is imported when it is first used. Another package adds a method by an entry point (``registry.py``).
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.attribution.config import AttributionConfig
    from cellglass.attribution.method import Method
    from cellglass.attribution.registry import METHODS
    from cellglass.attribution.run import AttributionResult, attribute
    from cellglass.attribution.work import Block, Work

__all__ = ["METHODS", "AttributionConfig", "AttributionResult", "Block", "Method", "Work", "attribute"]

_WHERE = {
    "METHODS": "cellglass.attribution.registry",
    "AttributionConfig": "cellglass.attribution.config",
    "AttributionResult": "cellglass.attribution.run",
    "Block": "cellglass.attribution.work",
    "Method": "cellglass.attribution.method",
    "Work": "cellglass.attribution.work",
    "attribute": "cellglass.attribution.run",
}
__getattr__, __dir__ = lazily(__name__, _WHERE)
