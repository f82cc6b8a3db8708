"""The model, transcoders and cells that changes are tried with: checked at the start, opened at the first try.

`check` reads names and small files alone. What opening finds wrong later, such as transcoders of other weights, is told
to whoever tries. Opened once, they stay in memory; cells that an atlas keeps stay on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cellglass.atlas import schema
from cellglass.circuits.classes.files import read_class_about
from cellglass.circuits.json import read_about
from cellglass.errors import InputError
from cellglass.explorer.data.cached import cached
from cellglass.explorer.data.circuits import CLASSES, LARGEST, Circuits

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas
    from cellglass.cells.cells import Cells
    from cellglass.circuits.transcoders import Transcoders
    from cellglass.models.transformer.model import TransformerModel

COMMAND = "cellglass explore ATLAS --transcoders DIR"
"""How the explorer is started so that changes can be tried."""


class Given(NamedTuple):
    """What the command line names; what is None is taken from the atlas, and transcoders are then not there.

    Attributes
    ----------
    model : pathlib.Path or None
        Folder of a model, or of an atlas that keeps one.
    transcoders : pathlib.Path or None
    cells : pathlib.Path or None
        File with raw counts.
    """

    model: Path | None = None
    transcoders: Path | None = None
    cells: Path | None = None


class Opened(NamedTuple):
    """The model, the transcoders where there are some, and the cells."""

    model: TransformerModel
    transcoders: Transcoders | None
    cells: Cells


class Bench:
    """What changes are tried with.

    Parameters
    ----------
    atlas : Atlas
    given : Given
    """

    def __init__(self, atlas: Atlas, given: Given) -> None:
        self.atlas, self.given = atlas, given
        self.circuits = Circuits(atlas.path / schema.CIRCUITS)

    def check(self) -> None:
        """Raise InputError, in one line, for what is not there or does not fit by what its files say.

        Weights are not read, so that transcoders of another model of the same kind are only found out where the
        atlas's circuits name the model that they are of.
        """
        from cellglass.circuits.objectives import OBJECTIVES
        from cellglass.models.registry import kind_of

        folder = self._model_folder
        if not folder.is_dir():
            keeps = f"{self.atlas.path} no longer keeps its model ({schema.MODEL} is gone); give --model, its folder"
            missing = f"--model {folder}: there is no such folder; give the folder of a trained model"
            raise InputError(keeps if self.given.model is None else missing)
        kind = kind_of(folder)
        if kind not in OBJECTIVES:
            raise InputError(
                f"{folder}: holds a model of kind {kind}; circuits are of {', '.join(OBJECTIVES)}, so give --model, "
                "one of these"
            )
        if self.given.transcoders is not None:
            self._check_transcoders(self.given.transcoders, kind)
        if self.given.cells is not None and not self.given.cells.exists():
            raise InputError(f"--cells {self.given.cells}: there is no such file; give a file with raw counts")
        if self.given.cells is None and not (self.atlas.path / schema.CELLS).is_dir():
            raise InputError(
                f"{self.atlas.path} no longer keeps its cells ({schema.CELLS} is gone); give --cells, a file with raw "
                "counts"
            )

    def _check_transcoders(self, folder: Path, kind: str) -> None:
        from cellglass.circuits.transcoders import read_index

        held = read_index(folder)["model"]
        if held["kind"] != kind:
            raise InputError(
                f"--transcoders {folder}: they are of a {held['kind']}, and the model is a {kind}; give those of the "
                "model"
            )
        others = {one["fingerprint"] for one in self.circuits.listed if not one["wrong"] and one["fingerprint"]}
        if others and held["fingerprint"] not in others:
            raise InputError(
                f"--transcoders {folder}: they are of another model than every circuit of {self.atlas.path}; give "
                "those that the circuits were traced with"
            )

    def about(self, name: str) -> dict[str, Any]:
        """Return what the circuit called `name` says of itself; InputError where there is none that can be read."""
        if name not in self.circuits.names:
            raise InputError(f"this atlas has no circuit {name!r}; open one from the list of circuits")
        path = self.circuits.folder / f"{name}.json"
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise InputError(f"{path}: there is no such file any more, or it is too large; trace it again")
        return read_class_about(path) if name.startswith(f"{CLASSES}/") else read_about(path)

    @property
    def column(self) -> str | None:
        """The column of labels that the transcoders were trained with, where they are given and say one."""
        if self.given.transcoders is None:
            return None
        from cellglass.circuits.transcoders import read_index

        found = read_index(self.given.transcoders).get("labels")
        return None if found is None else str(found)

    @cached
    def opened(self) -> Opened:
        """Return model, transcoders and cells; InputError where they do not belong together."""
        from cellglass import models
        from cellglass.atlas.circuits import kept_cells
        from cellglass.cells import read_cells
        from cellglass.circuits.objectives import ready
        from cellglass.circuits.transcoders import load_transcoders

        cells = kept_cells(self.atlas.path) if self.given.cells is None else read_cells(self.given.cells)
        transcoders = None if self.given.transcoders is None else load_transcoders(self.given.transcoders)
        model = models.load(self._model_folder)
        if transcoders is not None:
            transcoders.check(model)
        found = ready(model, cells)
        for one in () if transcoders is None else transcoders.dictionaries:
            one.to(found.device)
        return Opened(found, transcoders, cells)

    @property
    def _model_folder(self) -> Path:
        given = self.given.model
        if given is None or (given / schema.MANIFEST).is_file():
            return (self.atlas.path if given is None else given) / schema.MODEL
        return given


def label_of(about: Mapping[str, Any], column: str | None) -> tuple[str | None, str]:
    """Return the column of labels and the label of the cells that a circuit is about, as far as it says so."""
    own = about.get("labels")
    return (str(own) if isinstance(own, str) else column), str(about.get("class") or about.get("target") or "")
