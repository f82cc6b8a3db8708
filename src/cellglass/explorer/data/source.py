"""What the tree is made from: an atlas, read piece by piece, so that memory does not grow with its activations.

`Atlas.concepts` holds the whole matrix; a server must not. The tables of cells and concepts, and the matrices by
column, are opened here; nothing is turned into files of the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellglass.atlas import schema
from cellglass.atlas.checks import check_concept_table
from cellglass.atlas.columns import Column, Columns
from cellglass.atlas.normalised import cell_scales, normalised
from cellglass.atlas.reading import reading
from cellglass.errors import DamagedError
from cellglass.explorer.data.cached import cached
from cellglass.explorer.data.rows import Rows

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas

Array = np.ndarray[Any, Any]

MAX_VALUES = 1000
"""Values of a label at most: of more it is a name of cells, and neither a legend nor a colour shows it."""


class Source:
    """The parts of an atlas.

    Parameters
    ----------
    atlas : Atlas
    """

    def __init__(self, atlas: Atlas):
        self.atlas = atlas
        self.place = atlas.path / schema.CONCEPTS
        self._naming = Lock()
        self._named: Any = None

    @cached_property
    def _group(self) -> Any:
        def read() -> Any:
            import zarr

            return zarr.open_group(str(self.place), mode="r")

        return reading(self.place, read)

    def _part(self, *names: str) -> Any:
        """Return an element of concepts.zarr as anndata reads it."""

        def read() -> Any:
            from anndata.io import read_elem

            return read_elem(self._group["/".join(names)])

        return reading(self.place / "/".join(names), read)

    @cached_property
    def var(self) -> pd.DataFrame:
        """The table of concepts."""
        table: pd.DataFrame = self._part("var")
        check_concept_table(table, str(self.place))
        return table

    @cached_property
    def uns(self) -> dict[str, Any]:
        """What the atlas says of site, model, dictionary and cells."""
        return dict(self._part("uns"))

    @cached_property
    def layout(self) -> Array:
        """Where each cell is drawn, float32 (n_cells, 2)."""
        xy = np.asarray(self._part("obsm", schema.LAYOUT))
        if xy.shape != (self.n_cells, 2) or not np.isfinite(xy).all():
            raise DamagedError(
                f"{self.place}: {schema.LAYOUT} is no layout of {self.n_cells} cells; write the atlas again"
            )
        return xy

    @cached_property
    def _names(self) -> Any:
        return reading(self.place / "obs", lambda: self._group["obs"][self._group["obs"].attrs["_index"]])

    @cached_property
    def n_cells(self) -> int:
        """The number of cells."""
        if hasattr(self._names, "shape"):
            return int(self._names.shape[0])
        return len(self._part("obs", str(self._group["obs"].attrs["_index"])))

    def cells_table(self) -> pd.DataFrame:
        """Return the table of cells, read anew."""
        table: pd.DataFrame = self._part("obs")
        return table

    def cell_names(self, first: int, last: int) -> list[str]:
        """Return the names of some cells.

        All are kept from the first question on, since they are packed so many together that a few take as long as all.
        """
        with self._naming:  # a lock of its own: nobody who asks for something else should wait
            if self._named is None:
                whole = hasattr(self._names, "shape")
                index = str(self._group["obs"].attrs["_index"])
                self._named = reading(self.place / "obs", lambda: self._names[:]) if whole else self._part("obs", index)
        return [str(name) for name in self._named[first:last]]

    @cached
    def labels(self) -> dict[str, pd.Series[Any]]:
        """Return the columns of the cells that can colour them: categories and numbers, in the atlas's order."""
        found = {}
        for name in reading(self.place / "obs", lambda: list(self._group["obs"].attrs["column-order"])):
            column = pd.Series(self._part("obs", str(name)))
            if len(column) != self.n_cells:
                raise DamagedError(f"{self.place}: obs column {name!r} has {len(column)} values; write the atlas again")
            if pd.api.types.is_bool_dtype(column):
                column = column.astype(object).map({True: "True", False: "False"}).astype("category")
            if isinstance(column.dtype, pd.CategoricalDtype):
                if 1 <= len(column.cat.categories) <= MAX_VALUES:
                    found[str(name)] = column
            elif pd.api.types.is_numeric_dtype(column):
                found[str(name)] = pd.Series(column.to_numpy(dtype=np.float32, na_value=np.nan))
        return found

    @cached
    def codes(self) -> dict[str, Array]:
        """Return the code of each cell in each label of categories: 0 for none, i + 1 for value i."""
        return {
            name: (column.cat.codes.to_numpy().astype(np.int32) + 1).astype(np.uint16)
            for name, column in self.labels.items()
            if isinstance(column.dtype, pd.CategoricalDtype)
        }

    @cached
    def totals(self) -> dict[str, Array]:
        """Return how many cells have each code of each label of categories."""
        return {
            name: np.bincount(codes, minlength=len(self.labels[name].cat.categories) + 1)
            for name, codes in self.codes.items()
        }

    @cached
    def label_sizes(self) -> dict[str, dict[str, int]]:
        """Return how many cells have each value of each label of categories."""
        return {
            name: dict(zip(map(str, self.labels[name].cat.categories), sizes[1:].tolist(), strict=True))
            for name, sizes in self.totals.items()
        }

    @cached
    def activations(self) -> Columns:
        """Return the activations of each concept."""
        return Columns(self.place, (self.n_cells, len(self.var)))

    @cached_property
    def latents(self) -> Array:
        """The latent number of each concept."""
        return self.var["latent"].to_numpy(dtype=np.int64)

    @cached_property
    def position(self) -> dict[int, int]:
        """The position of each latent number among the concepts."""
        return {int(latent): position for position, latent in enumerate(self.latents)}

    @cached
    def counted(self) -> pd.DataFrame | None:
        """Return the genes that expression.zarr has, with their ``symbol``; None where counts were left out."""
        place = self.atlas.path / schema.EXPRESSION
        if not place.exists():
            return None

        def read() -> pd.DataFrame:
            import zarr
            from anndata.io import read_elem

            table: pd.DataFrame = read_elem(zarr.open_group(str(place), mode="r")["var"])
            return table

        return reading(place, read)

    @cached
    def expression(self) -> Columns | None:
        """Return the counts of each gene, or None where they were left out."""
        if self.counted is None:
            return None
        return Columns(self.atlas.path / schema.EXPRESSION, (self.n_cells, len(self.counted)), zeros=True)

    @cached
    def scales(self) -> Array:
        """Return what a count of each cell is multiplied by to be normalised; see `cellglass.atlas.normalised`."""
        return np.zeros(self.n_cells, np.float32) if self.expression is None else cell_scales(self.expression)

    def expressed(self, genes: Iterable[int]) -> Iterator[tuple[int, Column]]:
        """Yield genes by number, ascending, with their normalised expression; none where counts were left out."""
        for gene, (rows, counts) in () if self.expression is None else self.expression.each(genes):
            yield gene, Column(rows, normalised(counts, self.scales[rows]))

    @cached
    def pairs(self) -> pd.DataFrame:
        """Return prototypes and partners: ``concept``, ``prototype``, ``partner``, ``kind``, ``difference``."""
        table = self.atlas.tables.rows(schema.PAIRS, columns=list(schema.PAIRS_COLUMNS))
        cells = table[["prototype", "partner"]].to_numpy()
        strange = cells[(cells < 0) | (cells >= self.n_cells)]
        if len(strange):
            raise DamagedError(
                f"{self.atlas.path / schema.PAIRS}: it names cell {strange[0]} of {self.n_cells}; write it again"
            )
        return table

    @cached
    def pair_rows(self) -> Rows:
        """Return the same as plain arrays."""
        return Rows(self.pairs)

    @cached_property
    def seed(self) -> int:
        """The seed of the atlas, on which every draw depends."""
        return int(self.atlas.manifest.get("seed") or 0)
