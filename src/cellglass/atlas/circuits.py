"""The circuits of an atlas: what is traced from the cells and the model that it keeps, and the graphs in its folder.

    circuits/NAME.json    a graph, as `cellglass.circuits.write_graph` writes it
    circuits/NAME.svg     its picture, pruned
    circuits/NAME.csv     its genes

A name is made of the cell and of what was asked. No stage writes here, and an atlas is whole without any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellglass.atlas import schema
from cellglass.errors import InputError, listed

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas
    from cellglass.cells.cells import Cells
    from cellglass.circuits.answers import Target
    from cellglass.circuits.graph import Graph
    from cellglass.models.base import CellModel


class Circuits(Mapping[str, "Graph"]):
    """The graphs that an atlas keeps, by name; each is read from disk when it is asked for.

    Attributes
    ----------
    folder : pathlib.Path
        Where they lie; it need not be there.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def __getitem__(self, name: str) -> Graph:
        """Return a graph; InputError where there is none of that name, or it is damaged."""
        if name not in list(self):
            raise InputError(f"{self.folder}: there is no circuit {name!r}; there are: {listed(self)}")
        from cellglass.circuits.json import read_graph

        return read_graph(self.folder / f"{name}.json")

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.stem for path in self.folder.glob("*.json")))

    def __len__(self) -> int:
        return len(list(self.folder.glob("*.json")))

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __repr__(self) -> str:
        return f"Circuits({str(self.folder)!r}: {listed(self)})"

    def keep(self, graph: Graph) -> list[Path]:
        """Write a traced graph, its picture and its genes; return their paths.

        The same question about the same cell takes the place of the graph before.
        """
        from cellglass.circuits.names import file_name
        from cellglass.circuits.tracing import write_trace

        return write_trace(graph, self.folder / f"{file_name(graph.about)}.json")


CONCEPT = "concept:"
"""How a target begins that is a concept of the atlas, by latent number or by name."""


def target_of(atlas: Atlas, target: Target, at: str | None = None) -> Target:
    """Return what is asked, a concept of the atlas as its pre-activation at the atlas's site.

    Parameters
    ----------
    atlas
    target
        ``concept:12``, ``concept:NAME``, or whatever `cellglass.trace` takes, which is given back.
    at
        Gene at whose token a concept of a token site is asked; where it is strongest by default.

    Raises
    ------
    InputError
        No such concept, or an atlas without its dictionary.
    """
    if not isinstance(target, str) or not target.startswith(CONCEPT):
        return target
    from cellglass.circuits.directions import Direction

    text = target.removeprefix(CONCEPT)
    latent = atlas.latent(int(text) if text.isdecimal() else text)
    site: Any = atlas.concepts.uns.get(schema.UNS_SITE)
    name = str(site["name"] if isinstance(site, Mapping) else site)
    return Direction.of_latent(atlas.dictionary(), latent, name, gene=at, name=f"{CONCEPT}{latent}")


def kept_cells(folder: Path) -> Cells:
    """Return the cells that an atlas keeps, their counts on disk; InputError where it keeps none."""
    from cellglass.cells.store import open_cells

    if not (folder / schema.CELLS).is_dir():
        raise InputError(
            f"{folder} is an atlas that no longer keeps its cells ({schema.CELLS} is gone); give cells (--cells) with "
            "raw counts"
        )
    return open_cells(folder / schema.CELLS)


def kept_model(folder: Path) -> CellModel:
    """Return the model that an atlas keeps; InputError where it keeps none."""
    from cellglass import models

    if not (folder / schema.MODEL).is_dir():
        raise InputError(
            f"{folder} is an atlas that no longer keeps its model ({schema.MODEL} is gone); give the model, "
            "or run the command that made the atlas again"
        )
    return models.load(folder / schema.MODEL)
