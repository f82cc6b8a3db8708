"""Activations on disk: capture them from a model, open them again, read them as shuffled batches in bounded memory."""

from cellglass.activations.capture import capture
from cellglass.activations.rows import MemoryRows, Rows, SideBySide, as_rows
from cellglass.activations.store import Store, StoreRows, open_store
from cellglass.activations.stream import stream
from cellglass.activations.writer import SiteBatch, Writer

__all__ = [
    "MemoryRows",
    "Rows",
    "SideBySide",
    "SiteBatch",
    "Store",
    "StoreRows",
    "Writer",
    "as_rows",
    "capture",
    "open_store",
    "stream",
]
