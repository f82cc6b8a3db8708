"""The circuits of an atlas as files of the tree: which there are, each as the page reads it, and each to be saved.

Graphs lie in the atlas's folder ``circuits``, one JSON file each; the circuits of classes of cells in
``circuits/classes``, of which the graph of the means is shown; and what features fire on in ``circuits/features``, as
`cellglass.circuits.write_feature_details` writes it. A file is known by its place in the list, or by a number, so that
no path comes from a reader. Links are left out. What a graph shows is made in
``circuit_view.py``.

Folders are looked at again when their listing has changed, which a folder's time tells. A circuit keeps its place as
long as this object lives: new ones come behind, and the place of one that is gone says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

from cellglass.atlas import schema
from cellglass.circuits.classes.files import read_class, read_class_about
from cellglass.circuits.graph import Graph
from cellglass.circuits.json import graph_bytes, read_about, read_graph
from cellglass.circuits.neuronpedia import feature_number, neuronpedia_document
from cellglass.errors import InputError
from cellglass.explorer.data.circuit_table import class_table, graph_table
from cellglass.explorer.data.circuit_view import asked, graph_view, numbers, scores, strongest
from cellglass.explorer.data.json import dumps, short
from cellglass.files import read_json

FEATURES, CLASSES = "features", Path(schema.CLASS_CIRCUITS).name
LARGEST = 100 << 20
"""Bytes of a graph's file; more is also more than Neuronpedia takes."""
MOST_PRUNED = 5000
"""Features and errors of a graph that is pruned for Neuronpedia; of a larger one, the strongest."""
MOST_EXAMPLES, MOST_TOKENS, MOST_WORDS = 10, 400, 20
_AGAIN = "write it again, or remove it"


Stamp = tuple[int, ...]


class _Listing(NamedTuple):
    """What lies in the folders at one time."""

    stamp: Stamp
    names: list[str]
    features: list[int]
    listed: list[dict[str, Any]]


class Circuits:
    """The graphs in a folder, by their places in the order of their names.

    Parameters
    ----------
    folder : pathlib.Path
        It need not be there.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._lock = RLock()
        self._now: _Listing | None = None
        self._names: list[str] = []

    @property
    def stamp(self) -> Stamp:
        """Return what changes when a file of the folder, of classes or of features comes, goes or is replaced."""
        return tuple(_time(self.folder / part) for part in ("", CLASSES, FEATURES))

    @property
    def names(self) -> list[str]:
        """Return the names of the graphs, those of classes last, each sorted; those that came later behind."""
        return self._listing.names

    @property
    def features(self) -> list[int]:
        """Return the numbers of the features of which it is known what they fire on, ascending."""
        return self._listing.features

    @property
    def listed(self) -> list[dict[str, Any]]:
        """Return of each graph its name, what was asked and its scores; ``wrong`` says why it cannot be shown."""
        return self._listing.listed

    @property
    def shown(self) -> list[int]:
        """Return the places of the graphs that can be shown."""
        return [place for place, one in enumerate(self.listed) if not one["wrong"]]

    @property
    def _listing(self) -> _Listing:
        with self._lock:
            stamp = self.stamp
            if self._now is None or self._now.stamp != stamp:
                there = sorted(path.stem for path in _files(self.folder))
                there += sorted(f"{CLASSES}/{path.stem}" for path in _files(self.folder / CLASSES))
                self._names += [name for name in there if name not in set(self._names)]
                stems = (path.stem for path in _files(self.folder / FEATURES))
                numbers = [int(stem) for stem in stems if re.fullmatch(r"0|[1-9][0-9]{0,9}", stem, re.ASCII)]
                listed = [_listed(self.folder / f"{name}.json", name) for name in self._names]
                self._now = _Listing(stamp, [*self._names], sorted(numbers), listed)
            return self._now

    def listing(self) -> bytes:
        """Return ``circuits.json``, what `listed` has."""
        return dumps(self.listed)

    def view(self, place: int) -> bytes:
        """Return a graph as the page reads it (see `graph_view`), its table, and the numbers of its features."""
        graph, table = self._graph(place)
        layer, feature = (graph.nodes[name].to_numpy()[graph.of_kind("feature")] for name in ("layer", "feature"))
        there = {feature_number(*one) for one in zip(layer.tolist(), feature.tolist(), strict=True)}
        return dumps({**graph_view(graph), "table": table(), "details": sorted(there.intersection(self.features))})

    def own(self, place: int) -> bytes:
        """Return a graph in cellglass's own format."""
        return graph_bytes(self._graph(place)[0])

    def neuronpedia(self, place: int) -> bytes:
        """Return a graph, pruned, in Neuronpedia's format."""
        graph, _ = self._graph(place)
        graph = graph.take(strongest(graph, MOST_PRUNED))
        slug = re.sub(r"[^A-Za-z0-9_-]+", "-", self.names[place])[:100].lstrip("-_") or "circuit"
        return dumps(neuronpedia_document(graph, slug))

    def feature(self, number: int) -> bytes:
        """Return what a feature fires on: its strongest examples, and what it makes likely."""
        path = self.folder / FEATURES / f"{number}.json"
        held = read_json(path, way_out=_AGAIN)
        try:
            return dumps(_details(held))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: these are no details of a feature; {_AGAIN}") from error

    def _graph(self, place: int) -> tuple[Graph, Callable[[], dict[str, Any]]]:
        """Return a graph and what makes its table."""
        name = self.names[place]
        path = self.folder / f"{name}.json"
        if _of_class(name):
            circuit = read_class(path)
            return circuit.graph(), partial(class_table, circuit)
        graph = read_graph(path)
        return graph, partial(graph_table, graph)


def _listed(path: Path, name: str) -> dict[str, Any]:
    about, wrong = dict[str, Any](), ""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: the file has more than {LARGEST >> 20} MiB; trace fewer features")
        about = read_class_about(path) if _of_class(name) else read_about(path)
    except (InputError, OSError) as error:
        wrong = str(error)
    return {"name": name, **asked(about), "is_class": _of_class(name), "scores": scores(about), "wrong": wrong}


def _time(folder: Path) -> int:
    """Return when the listing of a folder changed last; 0 where there is none."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _of_class(name: str) -> bool:
    return name.startswith(f"{CLASSES}/")


def _files(folder: Path) -> list[Path]:
    """Return the JSON files in a folder that are no links and no leftovers of writers."""
    if not folder.is_dir() or folder.is_symlink():
        return []
    return [
        path
        for path in folder.iterdir()
        if path.suffix == ".json" and not path.name.startswith(".") and path.is_file() and not path.is_symlink()
    ]


def _details(held: dict[str, Any]) -> dict[str, Any]:
    groups = [
        {
            "name": str(group["quantile_name"]),
            "examples": [_example(one) for one in group["examples"][:MOST_EXAMPLES]],
            "all": len(group["examples"]),
        }
        for group in held["examples_quantiles"]
    ]
    return {
        "groups": groups,
        "top": [str(text) for text in held.get("top_logits", [])[:MOST_WORDS]],
        "bottom": [str(text) for text in held.get("bottom_logits", [])[:MOST_WORDS]],
        "frequency": short(held.get("activation_frequency")),
        "max": short(held.get("act_max")),
    }


def _example(one: dict[str, Any]) -> dict[str, Any]:
    tokens, values = [str(text) for text in one["tokens"]], numbers(one["tokens_acts_list"])
    if len(tokens) != len(values):
        raise ValueError("tokens and activations of an example differ in number")
    peak = max(range(len(values)), key=lambda i: values[i] or 0, default=0)
    first = max(0, min(peak - MOST_TOKENS // 2, len(tokens) - MOST_TOKENS))
    return {"tokens": tokens[first : first + MOST_TOKENS], "values": values[first : first + MOST_TOKENS]}
