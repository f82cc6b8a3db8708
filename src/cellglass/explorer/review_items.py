"""What a rater sees of an item of a blind review: the same, made in the same way, of whatever kind it is.

An item is the cells in which it is most active, each with its rank among them; how many cells of each label these are;
and the genes that mark them (`marks.Marker.genes`). Ranks instead of activations, since the scale of a neuron's would
give it away. Neurons and random directions are read from the activations that the pipeline left in the atlas's
``work/``; where they are gone a review can hold concepts alone. It writes nothing.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cellglass.atlas import schema
from cellglass.errors import InputError
from cellglass.explorer.marks import FEWEST, Marker, strongest
from cellglass.explorer.marks_blocks import Array
from cellglass.explorer.review import Item

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas

FOLDERS = {"neuron": "neurons", "random": "random"}
ACTIVATIONS = "work/activations"
BATCH = 8192
REMEMBERED = 1200
GENES = 40


class _Files(Protocol):
    def get(self, path: str) -> bytes: ...


class Evidence:
    """Makes what is shown of items; any number of threads may ask it."""

    def __init__(self, atlas: Atlas, tree: _Files, marker: Marker) -> None:
        self._atlas, self._tree, self._marker = atlas, tree, marker
        self._lock = threading.Lock()
        self._shown: OrderedDict[Item, tuple[Array, Array]] = OrderedDict()
        self._told: OrderedDict[Item, dict[str, Any]] = OrderedDict()

    def concepts(self) -> dict[int, int]:
        """Return in how many cells each concept is active; those that cannot be told from the rest are left out."""
        table = json.loads(self._tree.get("data/concepts.json"))
        n = self._marker.n_cells
        pairs = zip(table["latent"], table["n_active"], strict=True)
        return {int(latent): int(active) for latent, active in pairs if FEWEST <= active <= n - FEWEST}

    def has(self, kind: str) -> bool:
        """Return whether the atlas holds what items of `kind` need."""
        if kind == "concept":
            return True
        folder = self._atlas.path / schema.DICTIONARIES / FOLDERS[kind]
        return folder.is_dir() and (self._atlas.path / ACTIVATIONS).is_dir()

    def n_latents(self) -> dict[str, int]:
        """Return how many neurons and random directions there are to draw from."""
        return {kind: self._atlas.dictionary(FOLDERS[kind]).n_latents for kind in FOLDERS if self.has(kind)}

    def prepare(self, items: Iterable[Item]) -> None:
        """Work out the cells of all `items` that are not known yet; those of one dictionary in one pass."""
        with self._lock:
            missing = [item for item in dict.fromkeys(items) if item not in self._shown]
            for kind in FOLDERS:
                of_kind = [item for item in missing if item.kind == kind]
                if of_kind:
                    self._keep(zip(of_kind, self._respond(kind, of_kind), strict=True))
            self._keep((item, self._concept(item)) for item in missing if item.kind == "concept")

    def cells(self, item: Item) -> tuple[Array, Array]:
        """Return the item's cells, uint32 ascending, and their ranks, float32: 1 is the most active one, 0 none."""
        self.prepare([item])
        with self._lock:
            if item in self._shown:
                return self._shown[item]
        return self.cells(item)

    def activation(self, item: Item) -> bytes:
        """Return the cells and ranks as ``data/activations`` has them."""
        cells, ranks = self.cells(item)
        head = np.array([len(cells)], dtype="<u4").tobytes()
        return head + cells.astype("<u4").tobytes() + ranks.astype("<f4").tobytes()

    def facts(self, item: Item) -> dict[str, Any]:
        """Return ``n`` cells, ``labels`` ({name: [[value, cells of the item, all]]}) and ``genes`` (as in marks)."""
        with self._lock:
            if item in self._told:
                return self._told[item]
        cells, _ = self.cells(item)
        genes = self._marker.genes(cells.astype(np.int64))
        rows = None if genes is None else strongest(genes, limit=GENES)
        told = {"n": len(cells), "labels": self._labels(cells), "genes": rows}
        with self._lock:
            self._told[item] = told
            while len(self._told) > REMEMBERED:
                self._told.popitem(last=False)
        return told

    def _labels(self, cells: Array) -> dict[str, list[list[Any]]]:
        found = {}
        for label in json.loads(self._tree.get("data/manifest.json"))["labels"]:
            if label["kind"] != "category":
                continue
            codes = np.frombuffer(self._tree.get(label["file"]), dtype=np.dtype(label["type"]).newbyteorder("<"))
            width = len(label["values"]) + 1
            inside, total = np.bincount(codes[cells], minlength=width), np.bincount(codes, minlength=width)
            numbers = zip(label["values"], inside[1:].tolist(), total[1:].tolist(), strict=True)
            found[label["name"]] = [list(row) for row in numbers]
        return found

    def _keep(self, pairs: Iterable[tuple[Item, tuple[Array, Array]]]) -> None:
        for item, shown in pairs:
            self._shown[item] = shown
        while len(self._shown) > REMEMBERED:
            self._shown.popitem(last=False)

    def _concept(self, item: Item) -> tuple[Array, Array]:
        content = self._tree.get(f"data/activations/{item.number}.bin")
        n = int(np.frombuffer(content, dtype="<u4", count=1)[0])
        cells = np.frombuffer(content, dtype="<u4", count=n, offset=4)
        return most_active(cells, np.frombuffer(content, dtype="<f4", count=n, offset=4 + 4 * n), item.size)

    def _respond(self, kind: str, items: list[Item]) -> list[tuple[Array, Array]]:
        """Return cells and ranks of latents of a baseline: of tokens the largest response over a cell's genes."""
        import torch

        from cellglass.activations import open_store

        if not self.has(kind):
            raise InputError(
                f"{self._atlas.path}: {ACTIVATIONS} is gone, which the items of this session are made of; "
                "run the same command again, which makes it anew"
            )
        store, dictionary = open_store(self._atlas.path / ACTIVATIONS), self._atlas.dictionary(FOLDERS[kind])
        rows = store.rows(next(iter(store.sites)))
        if store.n_cells != self._marker.n_cells or rows.width != dictionary.d_in:
            raise InputError(f"{self._atlas.path / ACTIVATIONS}: it is not of the cells of this atlas")
        latents = torch.tensor([item.number for item in items])
        response = np.zeros((len(items), store.n_cells), dtype=np.float32)
        for start in range(0, rows.n_rows, BATCH):
            chosen = np.arange(start, min(start + BATCH, rows.n_rows))
            with torch.no_grad():
                values = dictionary.preactivations(rows.read(chosen))[:, latents].relu().T.numpy()
            cells = rows.cells(chosen)
            for latent, of_latent in enumerate(values):
                np.maximum.at(response[latent], cells, of_latent)
        everyone = np.arange(store.n_cells, dtype=np.uint32)
        pairs = zip(items, response, strict=True)
        return [most_active(everyone[row > 0], row[row > 0], item.size) for item, row in pairs]


def most_active(cells: Array, values: Array, size: int) -> tuple[Array, Array]:
    """Return the `size` cells with the largest values, ascending, and their ranks from 1 down to 1 / size."""
    order = np.lexsort((cells, -values))[:size]
    ranks = 1 - np.arange(len(order), dtype=np.float32) / max(len(order), 1)
    by_cell = np.argsort(cells[order])
    return cells[order][by_cell].astype(np.uint32), ranks[by_cell]
