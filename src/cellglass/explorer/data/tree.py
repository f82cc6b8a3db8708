"""The tree of files that the page reads, live or exported: which there are, and what is in each.

A file is made when it is asked for, from the part of the atlas that it needs, and a few are kept. Nothing is written,
and a path is looked up, never opened: whatever is not exactly the path of a file is a KeyError.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from cellglass.atlas import schema
from cellglass.errors import DamagedError, InputError
from cellglass.explorer.data import cells_id, facts, gene_groups
from cellglass.explorer.data.all_genes import AllGenes
from cellglass.explorer.data.bases import Bases
from cellglass.explorer.data.cached import cached
from cellglass.explorer.data.cards import Cards
from cellglass.explorer.data.circuits import Circuits
from cellglass.explorer.data.columns import to_bytes
from cellglass.explorer.data.counterfactual import Counterfactual
from cellglass.explorer.data.heatmaps import Heatmaps
from cellglass.explorer.data.neighbours import Neighbours
from cellglass.explorer.data.neurons import Neurons
from cellglass.explorer.data.search_index import GENE_SHARD, TERM_SHARD, SearchIndex
from cellglass.explorer.data.source import Source

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas

KEPT_BYTES = 64 << 20
"""Bytes of finished files that are kept in memory."""
_OF_CIRCUITS = ("data/manifest.json", "data/circuit", "data/neuronpedia")
"""How paths begin whose files change when a circuit is written."""
_NUMBERED = re.compile(r"(data/[a-z-]+)/(0|[1-9][0-9]{0,9})(\.bin|\.json)")


class Family(NamedTuple):
    """Files that differ by a number: the ending of their names, their numbers, and what makes one."""

    suffix: str
    numbers: Callable[[], Iterable[int]]
    has: Callable[[int], bool]
    make: Callable[[int], bytes]


class Tree:
    """Every file of the page's data.

    Parameters
    ----------
    atlas : Atlas
        A finished atlas.
    live : bool
        What the manifest says: whether a server with notes stands behind the tree.

    Notes
    -----
    Memory is bounded by the number of cells and of concepts, not by that of activations or counts. Several threads may
    ask at once.
    """

    def __init__(self, atlas: Atlas, *, live: bool = False):
        self.live = live
        self.source = Source(atlas)
        self.search_index = SearchIndex(self.source)
        self.neighbours = Neighbours(self.source)
        self.neurons = Neurons(self.source, self.neighbours)
        self.counterfactual = Counterfactual(self.source)
        self.heatmaps = Heatmaps(self.source)
        self.circuits = Circuits(atlas.path / schema.CIRCUITS)
        self._circuits_of = self.circuits.stamp
        self.bases, self.all_genes = Bases(self.source), AllGenes(self.source, self.search_index)
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def paths(self) -> Iterator[str]:
        """Yield the path of every file, the small ones that the page needs first before the many."""
        yield from self._single
        for name, family in self._families.items():
            for number in family.numbers():
                yield f"{name}/{number}{family.suffix}"

    def get(self, path: str) -> bytes:
        """Return the file at `path`, such as ``data/cards/0.json``.

        Raises
        ------
        KeyError
            If there is no such file.
        DamagedError
            If the part of the atlas that it is made from is damaged.
        """
        self._renew()
        with self._lock:
            if path in self._kept:
                self._kept.move_to_end(path)
                return self._kept[path]
        try:
            content = self._maker(path)()
        except InputError as error:  # whatever was asked for, it is the atlas that is wrong
            raise DamagedError(str(error)) from error
        self._keep(path, content)
        return content

    def __contains__(self, path: object) -> bool:
        try:
            self._maker(str(path))
        except KeyError:
            return False
        return True

    def warm(self) -> None:
        """Make now what takes seconds in a large atlas and is shared by many files, so that no reader waits for it."""
        self.get("data/manifest.json")
        self.get("data/concepts.json")
        self.neighbours.coactive(0) if len(self.source.var) else None
        self.neighbours.nearest(0) if len(self.source.var) else None
        self.source.cell_names(0, 1)
        for place in self.heatmaps.shown[:1]:
            self.get(f"data/heatmaps/{place}.json")
        for place in self.circuits.shown[:1]:
            self.get(f"data/circuits/{place}.json")
        _ = self.source.scales
        _ = self.search_index.by_gene, self.search_index.members, self.counterfactual._counts, self.neurons.alike
        _ = self.source.scales

    def _renew(self) -> None:
        """Forget files of circuits when their folder's listing has changed since they were made."""
        stamp = self.circuits.stamp
        with self._lock:
            if stamp == self._circuits_of:
                return
            self._circuits_of = stamp
            for path in [path for path in self._kept if path.startswith(_OF_CIRCUITS)]:
                self._size -= len(self._kept.pop(path))

    def _maker(self, path: str) -> Callable[[], bytes]:
        if path in self._single:
            return self._single[path]
        match = _NUMBERED.fullmatch(path)
        family = self._families.get(match[1]) if match else None
        if match is None or family is None or match[3] != family.suffix or not family.has(int(match[2])):
            raise KeyError(path)
        make, number = family.make, int(match[2])
        return lambda: make(number)

    def _keep(self, path: str, content: bytes) -> None:
        with self._lock:
            if path in self._kept or len(content) > KEPT_BYTES // 4:
                return
            self._kept[path] = content
            self._size += len(content)
            while self._size > KEPT_BYTES:
                self._size -= len(self._kept.popitem(last=False)[1])

    @cached
    def _single(self) -> dict[str, Callable[[], bytes]]:
        source, index = self.source, self.search_index
        return {
            "data/manifest.json": lambda: facts.manifest(
                source,
                index,
                live=self.live,
                bases=self.bases.listed,
                all_genes=self.live or bool(self.all_genes.shown),
                coactive_cells=self.neighbours.n_cells,
                circuits=self.circuits.names,
                heatmaps=self.heatmaps.shown,
            ),
            "data/concepts.json": lambda: facts.concepts(source, index),
            "data/xy.bin": lambda: facts.layout(source),
            "data/cells-id.json": lambda: cells_id.file(source),
            "data/genes.json": index.gene_file,
            "data/terms.json": index.term_file,
            "data/neurons.json": self.neurons.file,
            "data/circuits.json": self.circuits.listing,
        }

    @cached
    def _families(self) -> dict[str, Family]:
        source, index, shown, neurons = self.source, self.search_index, self.counterfactual, self.neurons
        circuits, genes, bases = self.circuits, self.all_genes, self.bases
        cards = Cards(source, index, self.neighbours)
        return {
            "data/labels": _counted(".bin", lambda: len(source.labels), lambda i: facts.label(source, i)),
            "data/heatmaps": _some(".json", lambda: self.heatmaps.shown, self.heatmaps.file),
            "data/cells": _counted(".json", lambda: source.n_cells, lambda i: facts.cell_names(source, i), facts.CELLS),
            "data/activations": Family(
                ".bin",
                lambda: source.position,
                lambda i: i in source.position,
                lambda i: to_bytes(source.activations[source.position[i]]),
            ),
            "data/cards": Family(".json", lambda: self._shards, lambda i: i in self._shards, cards.shard),
            "data/neurons": Family(
                ".bin", lambda: neurons.shown, lambda i: i < neurons.n, lambda i: to_bytes(neurons.column(i))
            ),
            "data/pairs": _some(".json", lambda: shown.shown, shown.file),
            "data/expression": _counted(".bin", lambda: len(source.expression or ()), lambda i: _gene(source, i)),
            "data/gene-groups": _counted(
                ".json", lambda: len(source.expression or ()), lambda i: gene_groups.shard(source, i), GENE_SHARD
            ),
            "data/all-genes": Family(".json", lambda: genes.shown, lambda i: i in source.position, genes.file),
            "data/bases": _counted(".bin", lambda: len(bases.listed), bases.column),
            "data/gene-concepts": _counted(".json", lambda: len(index.genes.ids), index.gene_shard, GENE_SHARD),
            "data/term-concepts": _counted(".json", lambda: len(index.terms.names), index.term_shard, TERM_SHARD),
            "data/circuits": _some(".json", lambda: circuits.shown, circuits.view),
            "data/circuit-files": _some(".json", lambda: circuits.shown, circuits.own),
            "data/neuronpedia": _some(".json", lambda: circuits.shown, circuits.neuronpedia),
            "data/circuit-features": _some(".json", lambda: circuits.features, circuits.feature),
        }

    @cached
    def _shards(self) -> list[int]:
        """Return the numbers of the files of cards."""
        return sorted({latent // facts.CARD_SHARD for latent in self.source.position})


def _gene(source: Source, number: int) -> bytes:
    return to_bytes(next(source.expressed([number]))[1])


def _some(suffix: str, numbers: Callable[[], Collection[int]], make: Callable[[int], bytes]) -> Family:
    """Return a family of files of the numbers that are listed."""
    return Family(suffix, numbers, lambda i: i in numbers(), make)


def _counted(suffix: str, count: Callable[[], int], make: Callable[[int], bytes], size: int = 1) -> Family:
    """Return a family of files numbered from 0, each of `size` things.

    How many things there are is asked late, so that a part of the atlas that cannot be read spoils its own files alone.
    """
    return Family(suffix, lambda: range(-(-count() // size)), lambda i: i * size < count(), make)
