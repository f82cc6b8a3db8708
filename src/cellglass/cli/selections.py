"""The command of selections: lists, exports and merges what people selected, and writes it into their AnnData file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellglass.cli.explorer import AtlasPath, Json, NotesPath

if TYPE_CHECKING:
    from cellglass.explorer.data.source import Source
    from cellglass.explorer.selections.store import Selections


def add(app: typer.Typer) -> None:
    """Put the command on `app`."""
    app.command()(selections)


def selections(
    atlas: AtlasPath,
    into: Annotated[
        Path | None, typer.Option("--into", help="An .h5ad file of these cells: a bool column of obs for each.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="With --into: the new file to write.")] = None,
    in_place: Annotated[
        bool,
        typer.Option("--in-place", help="With --into: let the new file take the old one's place when it is whole."),
    ] = False,
    export: Annotated[
        Path | None, typer.Option("--export", help="File to write: .json for all of it, .csv for a table of cells.")
    ] = None,
    merge: Annotated[
        list[Path] | None, typer.Option("--merge", help="File of selections to add: JSON, or SQLite. May be repeated.")
    ] = None,
    notes: NotesPath = None,
    as_json: Json = False,
) -> None:
    """List the selections of cells that are kept in an atlas; export them, merge others', or write them into an .h5ad.

    Selections are made on the cells in `cellglass explore`. With --merge, those of a file are added first; the same
    file twice adds nothing.

    Example: cellglass selections demo-atlas/ --into my.h5ad --out selected.h5ad
    """
    from cellglass.atlas import open_atlas
    from cellglass.errors import InputError
    from cellglass.explorer.data.source import Source
    from cellglass.explorer.notes.place import open_notes
    from cellglass.explorer.selections.store import selections_of

    if into is None and (out is not None or in_place):
        raise InputError("--out and --in-place need --into, the .h5ad file to write the selections into")
    if into is not None and (out is None) == (not in_place):
        raise InputError(f"--into {into}: say where to write: --out with a new file, or --in-place")
    opened = open_atlas(atlas)
    source = Source(opened)
    with open_notes(opened, notes, make=bool(merge)) as file:
        kept = selections_of(file, source)
        done = _done(kept, source, into, out, export, merge or [])
    if as_json:
        typer.echo(json.dumps(done, ensure_ascii=False, indent=1))
    else:
        _show(done)


def _done(
    kept: Selections, source: Source, into: Path | None, out: Path | None, export: Path | None, merge: list[Path]
) -> dict[str, Any]:
    """Do what was asked, and return it in plain values."""
    from cellglass.explorer.selections import exchange
    from cellglass.explorer.selections.into import write_into

    done: dict[str, Any] = {}
    if merge:
        done["merged"] = exchange.merge_selections(kept, merge)
    states = kept.states()
    done["selections"] = list(states.values())
    done["strangers"] = kept.strangers()
    if export is not None:
        every = source.cell_names(0, source.n_cells) if export.suffix.lower() == ".csv" else []
        done["exported"] = str(exchange.export_selections(kept, export, every.__getitem__))
    if into is not None:
        rows = {state["name"]: kept.rows(key) for key, state in states.items()}
        names = source.cell_names(0, source.n_cells)
        written = write_into(into, into if out is None else out, rows, names, in_place=out is None)
        done["written"] = {**written._asdict(), "path": str(written.path)}
    return done


def _show(done: dict[str, Any]) -> None:
    from cellglass.errors import listed

    if "merged" in done:
        typer.echo(f"{done['merged']} new changes of selections")
    if not done["selections"]:
        typer.echo("No selections are kept; make some on the cells in: cellglass explore")
    for state in done["selections"]:
        how = f"  {state['how']}" if state["how"] else ""
        typer.echo(f"{state['n']:>9,} cells  {state['name']}  ({state['who']}, {state['when'][:10]}){how}")
    if done["strangers"]:
        typer.echo(f"{done['strangers']} more are of other cells than this atlas has")
    if "exported" in done:
        typer.echo(f"Wrote {done['exported']}")
    if "written" in done:
        told = done["written"]
        columns = (f"{name} ({count:,} cells)" for name, count in told["columns"].items())
        typer.echo(f"Wrote {told['path']}, obs columns: {listed(columns)}")
        if told["missing"]:
            typer.echo(f"{len(told['missing']):,} selected cells are not in the file: {listed(told['missing'], 5)}")
        if told["others"]:
            typer.echo(f"{told['others']:,} cells of the file are not in the atlas; they are False")
