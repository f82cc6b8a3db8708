"""The option --groups of circuits: `auto`, or a file of groups by hand. Parses and calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.errors import InputError

if TYPE_CHECKING:
    from cellglass.circuits.graph import Graph

Wanted = Mapping[str, Iterable[str]] | None


def wanted_groups(groups: str | None) -> Wanted:
    """Return the groups of a file by name, an empty mapping for `auto`, or None; InputError for another file."""
    from cellglass.files import read_json

    if groups is None or groups == "auto":
        return None if groups is None else {}
    way_out = 'write it as {"name": ["L1/7", "L1/153"], ...}'
    held = read_json(Path(groups), way_out=way_out, missing=f"{groups}: there is no such file; say auto, or {way_out}")
    if not isinstance(held, dict) or not held:
        raise InputError(f"{groups}: this holds no groups; {way_out}")
    for name, some in held.items():
        if not isinstance(some, list) or not all(isinstance(one, str) for one in some):
            raise InputError(f"{groups}: the group {name!r} is no list of names of features; {way_out}")
    return held


def grouped(graph: Graph, wanted: Wanted) -> Graph:
    """Return the graph with the groups that are wanted."""
    from cellglass.circuits.groups import find_groups, given_groups, with_groups

    if wanted is None:
        return graph
    return with_groups(graph, given_groups(graph, wanted) if wanted else find_groups(graph))
