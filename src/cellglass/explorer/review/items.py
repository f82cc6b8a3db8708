"""What a rater sees of an item of a blind review: the same, made in the same way, of whatever kind it is.

An item is the cells in which it is most active, each with its rank among them; how many cells of each label these are;
and the genes that mark them (`atlas.markers.rank_sum.Marker.genes`). Ranks instead of activations, since the scale
of a neuron's would give it away; ties are broken by lot. Where the atlas no longer has the model's activations (see
``data/responses.py``) a review can hold concepts alone. It writes nothing.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cellglass.atlas.columns import Array
from cellglass.atlas.markers.rank_sum import FEWEST, Marker, top_k
from cellglass.explorer.data.responses import Responses
from cellglass.explorer.data.source import Source
from cellglass.explorer.review.session import Item
from cellglass.seeds import generator

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas

FOLDERS = {"neuron": "neurons", "random": "random"}
REMEMBERED = 1200
MOST_SHOWN, MOST_OF_ALL = 30_000, 0.25
"""Cells of an item at most, and their share of all cells: of a concept that is active in more, as nearly all are where
a cell counts by the largest activation of its genes, the ones in which it is most active."""
ROOM = 1 << 26
"""Responses that are held at once while latents are read: 256 MiB. Of more, the activations are read again."""
GENES = 40


class _Files(Protocol):
    def get(self, path: str) -> bytes: ...


class Evidence:
    """Makes what is shown of items; any number of threads may ask it."""

    def __init__(self, atlas: Atlas, tree: _Files, marker: Marker) -> None:
        self._tree, self._marker = tree, marker
        source = Source(atlas)
        self._responses = {kind: Responses(source, name) for kind, name in FOLDERS.items()}
        self._lock = threading.Lock()
        self._shown: OrderedDict[Item, tuple[Array, Array]] = OrderedDict()
        self._told: OrderedDict[Item, dict[str, Any]] = OrderedDict()

    def concepts(self) -> dict[int, int]:
        """Return in how many cells each concept is shown; those that are active in fewer than `FEWEST` are left out.

        Residual latents are no findings, so nobody is asked what they are.
        """
        table = json.loads(self._tree.get("data/concepts.json"))
        most = min(MOST_SHOWN, int(MOST_OF_ALL * self._marker.n_cells))
        rows = zip(table["latent"], table["n_active"], table["residual"], strict=True)
        sizes = {int(latent): int(min(n, most)) for latent, n, residual in rows if not residual}
        return {latent: size for latent, size in sizes.items() if size >= FEWEST}

    def has(self, kind: str) -> bool:
        """Return whether the atlas holds what items of `kind` need."""
        return kind == "concept" or self._responses[kind].there

    def n_latents(self) -> dict[str, int]:
        """Return how many neurons and random directions there are to draw from."""
        return {kind: found.dictionary.n_latents for kind, found in self._responses.items() if found.there}

    def prepare(self, items: Iterable[Item]) -> None:
        """Work out the cells of all `items` that are not known yet; those of one dictionary in one pass."""
        with self._lock:
            missing = [item for item in dict.fromkeys(items) if item not in self._shown]
            for kind in FOLDERS:
                of_kind = [item for item in missing if item.kind == kind]
                step = max(1, ROOM // max(self._marker.n_cells, 1))
                for first in range(0, len(of_kind), step):
                    some = of_kind[first : first + step]
                    self._keep(zip(some, self._respond(kind, some), strict=True))
            self._keep((item, self._concept(item)) for item in missing if item.kind == "concept")

    def cells(self, item: Item) -> tuple[Array, Array]:
        """Return the item's cells, uint32 ascending, and their ranks, float32: 1 is the most active one, 0 none."""
        while True:
            self.prepare([item])
            with self._lock:
                if item in self._shown:  # unless many others were asked for in between
                    return self._shown[item]

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
        rows = None if genes is None else top_k(genes, limit=GENES)
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
        values = np.frombuffer(content, dtype="<f4", count=n, offset=4 + 4 * n)
        return most_active(cells, values, item.size, self._lots)

    @cached_property
    def _lots(self) -> Array:
        """A number for each cell, by which ties are broken."""
        return generator(0, "review ties").permutation(self._marker.n_cells)

    def _respond(self, kind: str, items: list[Item]) -> list[tuple[Array, Array]]:
        """Return cells and ranks of latents of a baseline: of tokens the largest response over a cell's genes.

        A response below zero is one too, so that each item has as many cells as it should.
        """
        numbers = np.array([item.number for item in items], dtype=np.int64)
        response = np.full((len(items), self._marker.n_cells), -np.inf, dtype=np.float32)
        for cells, values in self._responses[kind].blocks(numbers):
            response[:, cells] = values.T
        read = np.flatnonzero(np.isfinite(response[0])).astype(np.uint32)
        return [most_active(read, row[read], item.size, self._lots) for item, row in zip(items, response, strict=True)]


def most_active(cells: Array, values: Array, size: int, lots: Array) -> tuple[Array, Array]:
    """Return the `size` cells with the largest values, ascending, and their ranks from 1 down to 1 / size.

    Equal values are ordered by the `lots` of their cells.
    """
    order = np.lexsort((lots[cells], -values))[:size]
    ranks = (1 - np.arange(len(order)) / max(len(order), 1)).astype(np.float32)
    by_cell = np.argsort(cells[order])
    return cells[order][by_cell].astype(np.uint32), ranks[by_cell]
