"""Circuits: transcoders in the place of a transformer's MLPs, and what of its work they keep."""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.circuits.training import train_transcoders
    from cellglass.circuits.transcoders import Transcoders, load_transcoders

__all__ = ["Transcoders", "load_transcoders", "train_transcoders"]

_WHERE = {
    "Transcoders": "cellglass.circuits.transcoders",
    "load_transcoders": "cellglass.circuits.transcoders",
    "train_transcoders": "cellglass.circuits.training",
}
__getattr__, __dir__ = lazily(__name__, _WHERE)
