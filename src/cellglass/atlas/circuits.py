"""The circuits of an atlas: what is traced from the cells and the model that it keeps, and the graphs in its folder.

    circuits/NAME.json            a graph, as `cellglass.circuits.write_graph` writes it
    circuits/NAME.svg             its picture, pruned
    circuits/NAME.csv             its genes
    circuits/classes/NAME.json    the circuit of a class of cells, with its picture and tables beside it

A name is made of the cell and of what was asked, or of the label. No stage writes here, and an atlas is whole without
any.
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
    from cellglass.circuits.classes.circuit import ClassCircuit
    from cellglass.circuits.graph import Graph
    from cellglass.models.base import CellModel


CLASSES = schema.CLASS_CIRCUITS.removeprefix(f"{schema.CIRCUITS}/") + "/"
"""How the names of circuits of classes begin."""


class Circuits(Mapping[str, "Graph | ClassCircuit"]):
    """The circuits that an atlas keeps, by name; each is read from disk when it is asked for.

    Those of single cells are graphs. Those of classes of cells, named ``classes/LABEL``, are class circuits.

    Attributes
    ----------
    folder : pathlib.Path
        Where they lie; it need not be there.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def __getitem__(self, name: str) -> Graph | ClassCircuit:
        """Return a circuit; InputError where there is none of that name, or it is damaged."""
        if name not in list(self):
            raise InputError(f"{self.folder}: there is no circuit {name!r}; there are: {listed(self)}")
        path = self.folder / f"{name}.json"
        if name.startswith(CLASSES):
            from cellglass.circuits.classes.files import read_class

            return read_class(path)
        from cellglass.circuits.json import read_graph

        return read_graph(path)

    def __iter__(self) -> Iterator[str]:
        yield from sorted(path.stem for path in self.folder.glob("*.json"))
        yield from sorted(f"{CLASSES}{path.stem}" for path in (self.folder / CLASSES).glob("*.json"))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __repr__(self) -> str:
        return f"Circuits({str(self.folder)!r}: {listed(self)})"

    def keep(self, circuit: Graph | ClassCircuit) -> list[Path]:
        """Write a traced graph, or the circuit of a class, with its picture and its tables; return their paths.

        The same question about the same cell, or the same label, takes the place of the one before.
        """
        from cellglass.circuits.classes.circuit import ClassCircuit
        from cellglass.circuits.classes.files import write_class
        from cellglass.circuits.names import file_name, file_word
        from cellglass.circuits.tracing import write_trace

        if isinstance(circuit, ClassCircuit):
            return write_class(circuit, self.folder / CLASSES / f"{file_word(circuit.about['class'])}.json")
        return write_trace(circuit, self.folder / f"{file_name(circuit.about)}.json")


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
