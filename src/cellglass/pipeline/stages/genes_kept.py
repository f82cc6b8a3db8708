"""What an earlier run of the stage of genes left that still holds, so that a further method is all that is run.

The stage notes what its tables depend on: its settings but for the list of methods, what the stages before
it made, and what a prototype must be read at to count (which the methods decide together). Where that is as it was and
the tables are whole, rows of methods that are asked for again are taken from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cellglass.atlas.manifest import artefact_digest, read_manifest
from cellglass.atlas.schema import GENES, PAIRS
from cellglass.files import atomic_path
from cellglass.pipeline.run import Run

_NOTE = "work/attribution_methods.json"


def basis(run: Run, needs: Sequence[str], revision: int, settings: Mapping[str, Any], readouts: Sequence[str]) -> str:
    """Return the digest of all that rows of a method depend on, beside the method."""
    stages = read_manifest(run.folder)["stages"]
    others = {name: value for name, value in settings.items() if name != "methods"}
    before = {need: stages[need]["outputs"] for need in needs}
    text = json.dumps([revision, others, before, list(readouts)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def kept_methods(run: Run, on: str) -> tuple[str, ...]:
    """Return the methods whose rows hold, where they depend on what the digest `on` says; none if tables changed."""
    try:
        note = json.loads(run.path(_NOTE).read_text())
    except FileNotFoundError:
        return ()
    tables = {name: run.path(name) for name in (GENES, PAIRS)}
    if note["basis"] != on or not all(path.exists() for path in tables.values()):
        return ()
    same = all(artefact_digest(path) == note["tables"][name] for name, path in tables.items())
    return tuple(note["methods"]) if same else ()


def write_note(run: Run, on: str, methods: Sequence[str]) -> None:
    """Note whose rows the tables hold, and what they depend on; it is no output, so nothing depends on it."""
    tables = {name: artefact_digest(run.path(name)) for name in (GENES, PAIRS)}
    with atomic_path(run.path(_NOTE)) as temporary:
        temporary.write_text(json.dumps({"basis": on, "methods": sorted(methods), "tables": tables}, indent=1))


def rows_kept(run: Run, methods: Sequence[str], concepts: Sequence[int]) -> pd.DataFrame:
    """Return the rows of some methods and concepts from the table that stands."""
    import pyarrow.parquet as pq

    wanted = [("method", "in", list(methods)), ("concept", "in", [int(c) for c in concepts])]
    rows: pd.DataFrame = pq.read_table(run.path(GENES), filters=wanted).to_pandas().drop(columns="symbol")
    for name in ("method", "on", "gene"):
        rows[name] = rows[name].astype(object)
    return rows
