"""The manifest of a store: what its sites are, which shards are whole, and whether the capture is complete.

Plain data to and from ``manifest.json``; it reads and writes no activations. Format version 1::

    {"format": "cellglass.activations", "schema_version": 1, "complete": true, "n_cells": 3874, "source": "...",
     "sites": {"z": {"width": 20, "granularity": "cell", "dtype": "float32", "spread": true}},
     "shards": [{"cells": [0, 3874], "files": {"z": {"file": "z/00000.safetensors", "rows": 3874, "sha256": "..."}}}]}

A shard holds consecutive cells; in each of its files the rows are in the order of the cells.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cellglass.activations.shards import DTYPES
from cellglass.errors import InputError
from cellglass.files import atomic_path, read_json

FORMAT = "cellglass.activations"
SCHEMA_VERSION = 1
NAME = "manifest.json"


@dataclass(frozen=True)
class StoredSite:
    """How the rows of one site are kept.

    Attributes
    ----------
    width : int
        Length of one row.
    granularity : {"cell", "token"}
        One row for each cell, or one for each gene in a cell.
    dtype : {"float32", "float16", "bfloat16"}
        What rows are kept in.
    spread : bool
        Whether the posterior's standard deviation lies beside each row, in the tensor of that name.
    """

    width: int
    granularity: Literal["cell", "token"] = "cell"
    dtype: str = "float32"
    spread: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"dtype {self.dtype!r} is unknown; choose one of: {', '.join(DTYPES)}")
        if self.granularity not in ("cell", "token"):
            raise InputError(f"granularity {self.granularity!r} is unknown; choose cell or token")


@dataclass(frozen=True)
class ShardFile:
    """One file of a shard: where it lies in the store, its number of rows and its sha256."""

    file: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class ShardEntry:
    """The files, one for each site, that hold the cells from ``cells[0]`` to before ``cells[1]``."""

    cells: tuple[int, int]
    files: dict[str, ShardFile]


@dataclass
class Manifest:
    """What a store holds; see the module's docstring."""

    n_cells: int
    source: str
    sites: dict[str, StoredSite]
    shards: list[ShardEntry] = field(default_factory=list)
    complete: bool = False

    @property
    def next_cell(self) -> int:
        """The first cell that no whole shard holds yet."""
        return self.shards[-1].cells[1] if self.shards else 0

    def rows(self, site: str) -> int:
        """Return how many rows of `site` the whole shards hold."""
        return sum(shard.files[site].rows for shard in self.shards)

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` into `folder`."""
        content = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **asdict(self)}
        with atomic_path(folder / NAME) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the store in `folder`; InputError where there is none or it cannot be understood."""
    path = folder / NAME
    missing = f"{folder}: no store of activations is here (no {NAME}); capture them first"
    content = read_json(path, missing=missing, way_out="remove the store and capture again")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: is no manifest of a store of activations")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path}: has schema version {content.get('schema_version')}, this cellglass reads {SCHEMA_VERSION}; "
            "capture the activations again or use the cellglass that wrote it"
        )
    try:
        return _parse(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: is damaged ({error}); remove the store and capture again") from error


def _parse(content: dict[str, Any]) -> Manifest:
    shards = [
        ShardEntry(
            (int(entry["cells"][0]), int(entry["cells"][1])),
            {site: ShardFile(**file) for site, file in entry["files"].items()},
        )
        for entry in content["shards"]
    ]
    sites = {name: StoredSite(**site) for name, site in content["sites"].items()}
    return Manifest(int(content["n_cells"]), str(content["source"]), sites, shards, bool(content["complete"]))
